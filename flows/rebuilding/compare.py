"""How two runs of a stage differ: output by output, metric by metric, number by number."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.rebuilding.runs import StageRun
from runtime.execution.graph import Stage
from runtime.execution.hashes import Hashed, Hasher

NAMED = 3  # files of a folder that are named


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same.

    `size` is that of the largest difference between two numbers: relative to the larger one, absolute below 1 and for
    integers; None when something differs that is no number.
    """

    what: str
    size: float | None
    where: str


def output_differences(run: StageRun, stage: Stage, folder: Path) -> Iterator[Difference]:
    """Outputs of `stage` in `folder` whose hash is not the recorded one."""
    hasher = Hasher(folder)
    for path in stage.outs:
        fresh = hasher(path)
        if fresh.md5 != run.recorded("out", path):
            with TemporaryDirectory() as kept:
                yield _worst(f"output {path}", _in_output(run, path, fresh, folder / path, Path(kept)))


def metric_differences(run: StageRun, fresh: StageRun) -> Iterator[Difference]:
    """Metrics of `run` that have another value at some step in `fresh`."""
    for name in run.metrics:
        recorded, again = run.curve(name), fresh.curve(name)
        # A run that was killed and went on has no more than its last steps.
        found = list(differences(recorded, {step: again[step] for step in recorded if step in again}))
        if found:
            yield _worst(f"metric {name}", ((size, _at(where)) for size, where in found))


def differences(recorded: object, fresh: object, where: str = "") -> Iterator[tuple[float | None, str]]:
    """Size and place of each difference between two values, which may be nested."""
    if isinstance(recorded, Mapping) and isinstance(fresh, Mapping) and recorded.keys() == fresh.keys():
        for key in recorded:
            yield from differences(recorded[key], fresh[key], f"{where}/{key}".lstrip("/"))
    elif isinstance(recorded, list) and isinstance(fresh, list) and len(recorded) == len(fresh):
        for index, pair in enumerate(zip(recorded, fresh, strict=True)):
            yield from differences(*pair, f"{where}/{index}".lstrip("/"))
    elif _is_number(recorded) and _is_number(fresh):
        size = _size(recorded, fresh)
        if size != 0:
            yield size, where
    elif recorded != fresh:
        yield None, where


def _at(step: str) -> str:
    return f"step {step}" if step else "not at the same steps"


def _in_output(
    run: StageRun, path: str, fresh: Hashed, content: Path, kept: Path
) -> Iterator[tuple[float | None, str]]:
    recorded = run.artifact(f"outs/{path}", kept)
    if recorded is None:
        yield None, _of_manifest(run.artifact(f"outs/{path}.manifest.json", kept), fresh)
    elif recorded.is_dir():
        yield from _in_folder(recorded, content, [name for name, *_ in fresh.files])
    else:
        yield from _in_file(recorded, content)


def _in_folder(recorded: Path, fresh: Path, names: Iterable[str]) -> Iterator[tuple[float | None, str]]:
    before = {file.relative_to(recorded).as_posix() for file in recorded.rglob("*") if file.is_file()}
    for name in sorted(before.symmetric_difference(names)):
        yield None, f"{name} is in one of them only"
    for name in sorted(before.intersection(names)):
        yield from ((size, f"{name} {where}") for size, where in _in_file(recorded / name, fresh / name))


def _in_file(recorded: Path, fresh: Path) -> Iterator[tuple[float | None, str]]:
    if recorded.read_bytes() == fresh.read_bytes():
        return
    read = TABLES.get(recorded.suffix)
    try:
        # A table whose bytes differ counts as changed, also where its numbers do not.
        found = list(differences(read(recorded), read(fresh))) if read else [(None, "other bytes")]
    except ValueError:  # one is not what its name says
        found = [(None, "other bytes")]
    yield from found or [(0.0, "other bytes, the same numbers")]


def _of_manifest(manifest: Path | None, fresh: Hashed) -> str:
    """Which files of an output differ that was too large to be stored in the run."""
    files = json.loads(manifest.read_text())["files"] if manifest else []
    before, after = ({name: md5 for name, md5, _ in listed} for listed in (files, fresh.files))
    changed = sorted(name for name in before | after if before.get(name) != after.get(name))
    named = ", ".join(changed[:NAMED])
    return f"{len(changed)} of {len(before)} files differ: {named}" if changed else "other bytes"


def _worst(what: str, found: Iterable[tuple[float | None, str]]) -> Difference:
    size, where = max(found, key=lambda entry: math.inf if entry[0] is None else entry[0], default=(None, "other hash"))
    return Difference(what, size, where)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _size(one: Real, other: Real) -> float | None:
    if one == other or (math.isnan(one) and math.isnan(other)):
        return 0.0
    # A count or a seed is equal or not.
    scale = 1 if isinstance(one, int) and isinstance(other, int) else max(1.0, abs(one), abs(other))
    size = abs(one - other) / scale
    return float(size) if math.isfinite(size) else None


def _read_json(path: Path) -> object:
    return json.loads(path.read_text())


def _read_csv(path: Path) -> object:
    import pandas

    return pandas.read_csv(path).to_dict("list")


def _read_parquet(path: Path) -> object:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path).to_pydict()


TABLES: Mapping[str, Callable[[Path], object]] = {".json": _read_json, ".csv": _read_csv, ".parquet": _read_parquet}
