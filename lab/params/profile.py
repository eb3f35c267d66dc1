"""`python -m lab.params.profile quick`: rewrites `params.yaml` from the defaults and one overlay; shows what changed.

`experiments/defaults.yaml` is complete; an overlay in `experiments/profiles/` says only what differs. A null in an
overlay's `adapters` or `arms` removes that entry. `default` is the profile without an overlay.
"""

import difflib
import io
import sys
from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from lab.params import validate
from runtime.errors import StageError
from runtime.params import ParamsError, read_yaml

PARAMS = Path("params.yaml")
DEFAULTS = Path("experiments/defaults.yaml")
PROFILES = Path("experiments/profiles")
REMOVABLE = ("adapters", "arms")


def main() -> None:
    """Writes `params.yaml` for the profile named on the command line; a fault leaves the file as it was."""
    try:
        text = compose(_named(sys.argv[1:]))
    except StageError as error:
        sys.exit(str(error))
    before = PARAMS.read_text() if PARAMS.exists() else ""
    PARAMS.write_text(text)
    diff = list(difflib.unified_diff(before.splitlines(True), text.splitlines(True), "before", "params.yaml", n=0))
    sys.stdout.writelines(diff or ["params.yaml is as this profile wants it.\n"])


def compose(overlay: Path | None) -> str:
    """The text of `params.yaml` for an overlay file, comments included; None stands for the defaults alone.

    Raises:
        StageError: the overlay names an unknown key or a value out of range.
    """
    text = DEFAULTS.read_text()
    if overlay is None:
        return text
    yaml = _round_trip()
    document, overlaid = yaml.load(text), read_yaml(overlay)
    _drop_other_base(document, overlaid)
    _merge(document, overlaid, str(overlay))
    composed = io.StringIO()
    yaml.dump(document, composed)
    validate(_round_trip("safe").load(composed.getvalue()), overlay)
    return composed.getvalue()


def _named(arguments: list[str]) -> Path | None:
    names = sorted(path.stem for path in PROFILES.glob("*.yaml"))
    if arguments == ["default"]:
        return None
    if len(arguments) != 1 or arguments[0] not in names:
        choices = ", ".join(["default", *names])
        raise StageError(f"There is no profile {' '.join(arguments)!r}; say `make profile PROFILE=...` with {choices}.")
    return PROFILES / f"{arguments[0]}.yaml"


def _drop_other_base(document: CommentedMap, overlay: Mapping) -> None:
    """Empties section `base` for an overlay with another source: what one source is told, no other knows."""
    base = overlay.get("base")
    if isinstance(base, Mapping) and base.get("source", document["base"]["source"]) != document["base"]["source"]:
        document["base"] = CommentedMap()
        document.yaml_set_comment_before_after_key(list(document)[list(document).index("base") + 1], before="\n")


def _merge(document: CommentedMap, overlay: Mapping, path: str, section: str = "") -> None:
    for key, value in overlay.items():
        if value is None and section in REMOVABLE:
            if key not in document:
                raise ParamsError([f"{path}: `{section}.{key}` is null, but the defaults have none to remove."])
            del document[key]
        elif isinstance(value, Mapping) and isinstance(document.get(key), Mapping):
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
