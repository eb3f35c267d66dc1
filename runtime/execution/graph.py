"""The stages of `dvc.yaml` and what `dvc.lock` has recorded of them, read without DVC (whose import costs a second).

Understood is what this repository's `dvc.yaml` uses: `${...}` on keys of `params.yaml`, and `foreach` over a mapping.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path

from ruamel.yaml import YAML

from runtime.errors import StageError
from runtime.params import read_yaml
from runtime.tracking.tree import settled

PARAMS = "params.yaml"
REFERENCE = re.compile(r"\$\{([^}]+)\}")


@dataclass(frozen=True)
class Stage:
    """One stage with every `${...}` filled in; `params` maps the keys that it tracks to their values."""

    name: str
    cmd: str
    deps: tuple[str, ...]
    params: Mapping[str, object]
    outs: tuple[str, ...]

    def fingerprint(self, dep_hashes: Mapping[str, str]) -> str:
        """Twelve hex digits that stand for all inputs; `dep_hashes` maps each dependency to its DVC hash."""
        inputs = [self.cmd, sorted(dep_hashes.items()), sorted(self.params.items()), sorted(self.outs)]
        return md5(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()[:12]


def read_stages(root: Path) -> dict[str, Stage]:
    """Every stage of `root/dvc.yaml` by name, each entry of a `foreach` by itself.

    Raises:
        StageError: a file is missing, or a `${...}` names what `params.yaml` does not have.
    """
    return stages_of(read_yaml(root / "dvc.yaml"), read_yaml(root / PARAMS))


def stages_of(pipeline: Mapping, params: Mapping) -> dict[str, Stage]:
    """As `read_stages`, from the documents of the two files."""
    blocks = pipeline["stages"].items()
    instances = (instance for name, block in blocks for instance in _instances(name, block, params))
    return {name: _stage(name, body, params, scope) for name, body, scope in instances}


def read_recorded(root: Path) -> dict[str, tuple[str, dict[str, str]]]:
    """For each stage in `dvc.lock`: the fingerprint of its inputs and the hash of each output."""
    if not (root / "dvc.lock").exists():
        return {}
    # Beside this stage another one may have ended, and DVC be writing that down.
    # Read by the parser in C, since every stage starts with that: five times as fast, with the same values.
    lock = YAML(typ="safe").load(settled(root / "dvc.lock"))
    return {name: _recorded(name, entry) for name, entry in lock["stages"].items()}


def overlap(one: str, other: str) -> bool:
    """Whether two paths are the same, or one lies in the other."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _recorded(name: str, entry: Mapping) -> tuple[str, dict[str, str]]:
    deps = {dep["path"]: dep["md5"] for dep in entry.get("deps", [])}
    outs = {out["path"]: out["md5"] for out in entry.get("outs", [])}
    stage = Stage(name, entry["cmd"], tuple(deps), entry.get("params", {}).get(PARAMS, {}), tuple(outs))
    return stage.fingerprint(deps), outs


def _instances(name: str, block: Mapping, params: Mapping) -> Iterator[tuple[str, Mapping, Mapping]]:
    if "foreach" in block:
        for key, item in _fill(block["foreach"], params).items():
            yield f"{name}@{key}", block["do"], {**params, "key": key, "item": item}
    else:
        yield name, block, params


def _stage(name: str, body: Mapping, params: Mapping, scope: Mapping) -> Stage:
    return Stage(
        name=name,
        cmd=_fill(body["cmd"], scope),
        deps=tuple(_paths(body.get("deps", []), scope)),
        params={key: _look_up(key, params) for key in _param_keys(body.get("params", []), params, scope)},
        outs=tuple(path for kind in ("outs", "metrics", "plots") for path in _paths(body.get(kind, []), scope)),
    )


def _param_keys(entries: list, params: Mapping, scope: Mapping) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, str):
            yield _fill(entry, scope)
        else:  # `params.yaml:` stands for the whole file, with a list for these keys of it
            yield from [_fill(key, scope) for key in entry[PARAMS]] if entry[PARAMS] else params


def _paths(entries: list, scope: Mapping) -> list[str]:
    """Paths of outs or deps; an entry with options is a mapping of one path to them."""
    return [_fill(entry if isinstance(entry, str) else next(iter(entry)), scope) for entry in entries]


def _fill(text: str | Mapping, scope: Mapping) -> object:
    """`text` with every `${...}` replaced; a lone `${...}` becomes the value itself."""
    if not isinstance(text, str):
        return text
    whole = REFERENCE.fullmatch(text)
    if whole:
        return _look_up(whole[1].strip(), scope)
    return REFERENCE.sub(lambda match: str(_look_up(match[1].strip(), scope)), text)


def _look_up(key: str, scope: Mapping) -> object:
    value = scope
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise StageError(
                f"dvc.yaml uses `{key}`, which params.yaml does not have; add it there or correct dvc.yaml."
            )
        value = value[part]
    return value
