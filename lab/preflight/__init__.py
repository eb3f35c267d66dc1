"""What every stage needs besides its code, looked at before the first one runs: all that is missing, with the remedy.

Only stages that DVC would run are looked at, so a finished experiment asks for no GPU, and nothing is asked of a
network that is here already.
"""

from collections.abc import Collection
from pathlib import Path

from lab.params import Params


def missing(params: Params, root: Path, targets: Collection[str] = ()) -> list[str]:
    """One sentence for each thing that stages will stop for.

    Args:
        root: of the repository, which is the current folder.
        targets: the stages that are meant to run, `train` or `train@taca-r16`; by default all of dvc.yaml.
    """
    if _is_built_in(params):
        return []
    # What follows imports torch and DVC, which takes seconds.
    from lab.preflight.ahead import stages_ahead
    from lab.preflight.look import look

    return look(params, root, stages_ahead(root, targets))


def missing_for(params: Params, root: Path) -> list[str]:
    """What all stages of other parameters than those of `params.yaml` would stop for, as `missing`."""
    if _is_built_in(params):
        return []
    from lab.preflight.ahead import all_stages
    from lab.preflight.look import look

    return look(params, root, all_stages(params))


def _is_built_in(params: Params) -> bool:
    """Whether nothing is needed that the repository does not have: no network, no GPU, no weights."""
    score = params.score
    return (
        params.base.source == "world"
        and params.prompts.source == "world"
        and params.sample.source in ("world", "folder")
        and params.caption.captioner not in ("llava", "endpoint")
        and not params.published_adapters
        and (score.attribute, score.spatial, score.clip, score.device) == ("detector", "detector", "base", "cpu")
        and not score.quality
        and params.train.precision != "nf4"
        and params.generate.quantization == "none"
    )
