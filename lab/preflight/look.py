"""All checks, stage by stage, in the order in which stages run."""

from pathlib import Path

from lab.estimate.base import Base
from lab.estimate.estimate import Row, captioned, estimate, sampled
from lab.params import Params
from lab.preflight.adapters import check_adapters
from lab.preflight.ahead import Ahead
from lab.preflight.base import check_base
from lab.preflight.caption import check_caption
from lab.preflight.disk import check_disk
from lab.preflight.findings import Findings
from lab.preflight.fit import check_fit_of_params
from lab.preflight.gpu import check_gpu
from lab.preflight.prompts import check_prompts
from lab.preflight.sample import check_sample
from lab.preflight.scorers import check_scorers


def look(params: Params, root: Path, ahead: Ahead) -> list[str]:
    """What is missing for these stages, with parameters that need more than the repository."""
    found = Findings()
    base = check_base(params, ahead, found)
    prompts = check_prompts(params, ahead, found)
    check_sample(params, ahead, found)
    check_caption(params, ahead, found)
    check_adapters(params, ahead, base, found)
    check_fit_of_params(params, ahead, base, found)
    figures = _figures(params, ahead, base, found)
    check_gpu(params, ahead, figures, found)
    check_scorers(params, ahead, prompts, found)
    check_disk(root, figures, found)
    return found.sentences


def _figures(params: Params, ahead: Ahead, base: Base | None, found: Findings) -> list[Row]:
    """What the stages take; images and captions alone where no base is known that can do what is asked of it."""
    wanted = ahead.names.__contains__
    figures: list[Row] = []
    if base is not None:
        with found.of("estimate"):
            figures += estimate(params, base, wanted)
    return figures or [*sampled(params.sample, wanted), *captioned(params, wanted)]
