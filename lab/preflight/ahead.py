"""The stages that are to run: those that DVC finds out of date, and those whose inputs these may change."""

from collections.abc import Collection, Mapping
from pathlib import Path

from lab.params import Params
from runtime.errors import StageError
from runtime.execution.graph import Stage, overlap, read_stages

CHECK = "check"  # reads all of params.yaml, and what it writes is always the same


class Ahead:
    """Stages by name, such as `base` or `train@taca-r16`."""

    def __init__(self, names: Collection[str]):
        self.names = names

    def runs(self, *programs: str) -> bool:
        """Whether a stage of any of these programs runs."""
        return any(name.partition("@")[0] in programs for name in self.names)

    def keys(self, program: str) -> list[str]:
        """Of the program's stages that run."""
        return [name.partition("@")[2] for name in self.names if name.partition("@")[0] == program]


def stages_ahead(root: Path, targets: Collection[str]) -> Ahead:
    """The stages of `root/dvc.yaml`, or those of `targets`, that are to run.

    Args:
        root: the current folder, from which DVC names stages.

    Raises:
        StageError: DVC cannot say.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    stages = read_stages(root)
    try:
        with Repo(str(root)) as repo:
            changed = repo.status()
    except DvcException as error:
        raise StageError(f"`dvc status` fails, so nobody knows what is to run: {error}") from error
    meant = [name for name in stages if not targets or {name, name.partition("@")[0]} & set(targets)]
    return Ahead([name for name in meant if name in _touched(stages, changed)])


def all_stages(params: Params) -> Ahead:
    """Every stage that these parameters make of dvc.yaml, as if none had run."""
    single = ("base", "prompts", "sample", "caption", "encode", "report")
    keyed = {
        "train": params.adapters,
        "fetch": params.published_adapters,
        "generate": params.arms,
        "score": params.arms,
    }
    return Ahead([*single, *(f"{program}@{key}" for program, keys in keyed.items() for key in keys)])


def _touched(stages: Mapping[str, Stage], changed: Collection[str]) -> set[str]:
    """Stages that run, and all that read what they write."""
    found: set[str] = set()
    ahead = [name for name in stages if name in changed]
    while ahead:
        name = ahead.pop()
        found.add(name)
        if name != CHECK:
            ahead += [other for other in stages if other not in found and _reads(stages[other], stages[name])]
    return found


def _reads(stage: Stage, other: Stage) -> bool:
    return any(overlap(dep, out) for dep in stage.deps for out in other.outs)
