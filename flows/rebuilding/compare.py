"""How a rebuilt run differs from what was recorded: hash by hash, metric by metric, number by number."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pandas
import pyarrow.parquet

from flows.rebuilding.runs import StageRun
from flows.rebuilding.verdict import Difference
from runtime.execution.hashes import Hasher
from runtime.params import read_yaml

NAMED = 3  # files of a folder that are named
TABLES: Mapping[str, Callable[[Path], object]] = {
    ".json": lambda path: json.loads(path.read_text()),
    ".csv": lambda path: pandas.read_csv(path).to_dict("list"),
    ".parquet": lambda path: pyarrow.parquet.read_table(path).to_pydict(),
}


def all_differences(run: StageRun, fresh: StageRun, folder: Path, kept: Path) -> list[Difference]:
    """What the execution in `folder`, which MLflow has as `fresh`, read and made otherwise than `run`.

    Args:
        kept: the artifacts of `run`.
    """
    entry = read_yaml(folder / "dvc.lock")["stages"][run.stage]
    # Data were compared before the stage ran.
    other = [dep["path"] for dep in entry["deps"] if dep["md5"] != run.recorded("dep", dep["path"])]
    outs = [out["path"] for out in entry["outs"] if out["md5"] != run.recorded("out", out["path"])]
    return [
        *(Difference(f"code {path}", None, "not what the run read") for path in other),
        *(output_difference(path, folder, kept) for path in outs),
        *metric_differences(run, fresh),
    ]


def output_difference(path: str, folder: Path, kept: Path) -> Difference:
    """How an output in `folder` differs from the recorded one, of which `kept` has the content or, if large, a list."""
    recorded, fresh = kept / "outs" / path, folder / path
    if recorded.exists():
        return _worst(f"output {path}", _in_files(_files(recorded), _files(fresh)))
    listed = kept / "outs" / f"{path}.manifest.json"
    before = json.loads(listed.read_text())["files"] if listed.exists() else []
    return Difference(f"output {path}", None, _by_hashes(before, Hasher(folder)(path).files))


def metric_differences(run: StageRun, fresh: StageRun) -> Iterator[Difference]:
    """Metrics of `run` that have another value at some step in `fresh`."""
    curves = fresh.curves()
    for name, recorded in run.curves().items():
        again = curves.get(name, {})
        # A run that was killed and went on has no more than its last steps.
        found = list(differences(recorded, {step: again[step] for step in recorded if step in again}))
        if found:
            at = ((size, f"step {step}" if step else "not at the same steps") for size, step in found)
            yield _worst(f"metric {name}", at)


def differences(recorded: object, fresh: object, where: str = "") -> Iterator[tuple[float | None, str]]:
    """Size and place of each difference between two values, which may be nested."""
    if isinstance(recorded, Mapping) and isinstance(fresh, Mapping) and recorded.keys() == fresh.keys():
        for key in recorded:
            yield from differences(recorded[key], fresh[key], f"{where}/{key}".lstrip("/"))
    elif isinstance(recorded, list) and isinstance(fresh, list) and len(recorded) == len(fresh):
        yield from differences(dict(enumerate(recorded)), dict(enumerate(fresh)), where)
    elif {type(recorded), type(fresh)} <= {int, float}:
        size = _size(recorded, fresh)
        if size != 0:
            yield size, where
    elif recorded != fresh:
        yield None, where


def _files(content: Path) -> dict[str, Path]:
    """Each file in a folder by its name there; a lone file is called "."."""
    return {file.relative_to(content).as_posix(): file for file in (content, *content.rglob("*")) if file.is_file()}


def _in_files(before: Mapping[str, Path], after: Mapping[str, Path]) -> Iterator[tuple[float | None, str]]:
    for name in sorted(before.keys() ^ after.keys()):
        yield None, f"{name} is in one of them only"
    for name in sorted(before.keys() & after.keys()):
        for size, where in _in_file(before[name], after[name]):
            yield size, f"{name} {where}".removeprefix(". ")


def _in_file(recorded: Path, fresh: Path) -> list[tuple[float | None, str]]:
    if recorded.read_bytes() == fresh.read_bytes():
        return []
    with suppress(KeyError, ValueError):  # it is no table, or not what its name says
        read = TABLES[recorded.suffix]
        # A table whose bytes differ counts as changed, also where its numbers do not.
        return list(differences(read(recorded), read(fresh))) or [(0.0, "other bytes, the same numbers")]
    return [(None, "other bytes")]


def _by_hashes(*listings: Iterable[tuple[str, str, int]]) -> str:
    """Which files differ of those that two listings have: (name, md5, bytes)."""
    before, after = ({name: md5 for name, md5, _ in files} for files in listings)
    changed = sorted(name for name in before | after if before.get(name) != after.get(name))
    named = ", ".join(changed[:NAMED])
    return f"{len(changed)} of {len(before)} files differ: {named}" if changed else "other bytes"


def _worst(what: str, found: Iterable[tuple[float | None, str]]) -> Difference:
    size, where = max(found, key=lambda entry: math.inf if entry[0] is None else entry[0], default=(None, "other hash"))
    return Difference(what, size, where)


def _size(one: float, other: float) -> float | None:
    if one == other or (math.isnan(one) and math.isnan(other)):
        return 0.0
    # A count or a seed is equal or not.
    scale = 1 if isinstance(one, int) and isinstance(other, int) else max(1.0, abs(one), abs(other))
    size = abs(one - other) / scale
    return float(size) if math.isfinite(size) else None
