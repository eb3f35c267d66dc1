"""`python -m lab.params.profile quick`: rewrites `params.yaml` from the defaults and a profile; shows what changed.

`experiments/defaults.yaml` is complete; a profile in `experiments/profiles/` says only what differs. A null in its
`adapters` or `arms` removes that entry. `default` is the profile that says nothing. Overlays stack upon a profile by
their names behind its own, as in `sd35-medium-smoke`; they lie in `experiments/overlays/`.
"""

import difflib
import hashlib
import io
import sys
from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from lab.params import Params, validate
from lab.params.variation import set_value
from runtime.errors import StageError
from runtime.params import ParamsError, read_yaml

PARAMS = Path("params.yaml")
DEFAULTS = Path("experiments/defaults.yaml")
DEFAULT = "default"
PROFILES = Path("experiments/profiles")
OVERLAYS = Path("experiments/overlays")
KEPT = Path(".work")  # git ignores it
# By section: the key that says its kind, and those that each kind has.
KINDS = {"base": ("source", ()), "sample": ("source", ("size", "seed")), "caption": ("captioner", ("table",))}
REMOVABLE = ("adapters", "arms")
WHOLE = ("sample.filters",)  # an overlay's table has other columns than the profile's


def main() -> None:
    """Writes `params.yaml` for the profile named on the command line; a fault leaves the file as it was."""
    try:
        text = compose(*_named(sys.argv[1:]))
    except StageError as error:
        sys.exit(str(error))
    before = PARAMS.read_text() if PARAMS.exists() else ""
    kept = _kept(before) if before not in ("", text) else None
    PARAMS.write_text(text)
    diff = list(difflib.unified_diff(before.splitlines(True), text.splitlines(True), "before", "params.yaml", n=0))
    sys.stdout.writelines(diff or ["params.yaml is as this profile wants it.\n"])
    if kept:
        print(f"What it was is kept in {kept}.")


def compose(*overlays: Path) -> str:
    """The text of `params.yaml` for files that are laid over the defaults one after the other, comments included.

    Raises:
        StageError: a file names an unknown key, or all together a value out of range.
    """
    read_yaml(DEFAULTS)  # refuses one that is missing or damaged
    text = DEFAULTS.read_text()
    if not overlays:
        return text
    yaml = _round_trip()
    document = yaml.load(text)
    for overlay in overlays:
        overlaid = read_yaml(overlay)
        _drop_other_kinds(document, overlaid)
        _merge(document, overlaid, str(overlay))
    composed = io.StringIO()
    yaml.dump(document, composed)
    validate(_round_trip("safe").load(composed.getvalue()), " with ".join(map(str, overlays)))
    return composed.getvalue()


def profile_params(name: str) -> Params:
    """The parameters of a profile, overlays behind its name included; raises as `compose`."""
    return validate(_round_trip("safe").load(compose(*_named([name]))), f"profile {name}")


def varied_text(profile: str | None, overrides: Mapping[str, object]) -> str:
    """The text of `params.yaml` for a profile, or as it is without one, with other values of some keys.

    Args:
        overrides: by key, such as `train.steps`.

    Raises:
        StageError, LabError: there is no such profile or key, or a value is out of range.
    """
    yaml = _round_trip()
    document = yaml.load(compose(*_named([profile])) if profile else PARAMS.read_text())
    for key, value in overrides.items():
        set_value(document, key, _in_one_line(value), "overrides")
    text = io.StringIO()
    yaml.dump(document, text)
    validate(_round_trip("safe").load(text.getvalue()), "params.yaml with overrides" if overrides else "params.yaml")
    return text.getvalue()


def _named(arguments: list[str]) -> list[Path]:
    """The files that a name stands for: a profile's, and its overlays'."""
    profiles, overlays = (sorted(path.stem for path in folder.glob("*.yaml")) for folder in (PROFILES, OVERLAYS))
    name, stacked = " ".join(arguments), []
    while name not in (DEFAULT, *profiles):
        name, _, last = name.rpartition("-")
        if last not in overlays:
            raise StageError(
                f"There is no profile {' '.join(arguments)!r}; say `make profile PROFILE=...` with "
                f"{', '.join([DEFAULT, *profiles])}, and behind it what is to be laid over it: "
                f"{', '.join(f'-{overlay}' for overlay in overlays)}."
            )
        stacked.insert(0, OVERLAYS / f"{last}.yaml")
    return stacked if name == DEFAULT else [PROFILES / f"{name}.yaml", *stacked]


def _kept(text: str) -> Path:
    """A copy of what is overwritten, called by its hash, so that none is lost to a later one."""
    path = KEPT / f"params-{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:8]}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def _drop_other_kinds(document: CommentedMap, overlay: Mapping) -> None:
    """Empties a section for an overlay with another kind of it: what one kind is told, no other knows."""
    for name, (key, kept) in KINDS.items():
        section = overlay.get(name)
        if isinstance(section, Mapping) and section.get(key, document[name][key]) != document[name][key]:
            document[name] = CommentedMap((other, document[name][other]) for other in kept)
            document.yaml_set_comment_before_after_key(list(document)[list(document).index(name) + 1], before="\n")


def _merge(document: CommentedMap, overlay: Mapping, path: str, section: str = "") -> None:
    for key, value in overlay.items():
        if value is None and section in REMOVABLE:
            if key not in document:
                raise ParamsError([f"{path}: `{section}.{key}` is null, but the defaults have none to remove."])
            del document[key]
        elif isinstance(value, Mapping) and isinstance(document.get(key), Mapping) and f"{section}.{key}" not in WHOLE:
            _merge(document[key], value, path, f"{section}.{key}" if section else key)
        else:
            document[key] = _in_one_line(value)


def _in_one_line(value: object) -> object:
    """A new entry looks like the ones that are there."""
    if isinstance(value, Mapping):
        value = CommentedMap(value)
        value.fa.set_flow_style()
    return value


def _round_trip(kind: str = "rt") -> YAML:
    yaml = YAML(typ=kind, pure=True)
    yaml.width = 4096
    yaml.preserve_quotes = True
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml


if __name__ == "__main__":
    main()
