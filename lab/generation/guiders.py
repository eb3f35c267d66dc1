"""Other ways of combining the two branches of classifier-free guidance: the guiders of diffusers' modular pipelines.

A guider's prediction takes the place of both branches, so that the pipeline's own combination, u + w (c - u), gives it
unchanged. All else of an arm stays as it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers import AdaptiveProjectedGuidance, ClassifierFreeZeroStarGuidance
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer

from lab.errors import LabError
from lab.models.family import family_of

MOMENTUM, NORM, PARALLEL = -0.5, 15.0, 0.0  # of APG, as its paper (arXiv 2410.02416) has them


def _zero_star(scale: float) -> ClassifierFreeZeroStarGuidance:
    """CFG-Zero* (arXiv 2503.18886): without the first step, the unconditional branch scaled to fit the other."""
    return ClassifierFreeZeroStarGuidance(guidance_scale=scale, zero_init_steps=1)


def _projected(scale: float) -> AdaptiveProjectedGuidance:
    """APG: c + (w - 1) d, where d is c - u with momentum, at most `NORM` long, without its part along c."""
    return AdaptiveProjectedGuidance(
        guidance_scale=scale - 1,
        adaptive_projected_guidance_momentum=MOMENTUM,
        adaptive_projected_guidance_rescale=NORM,
        eta=PARALLEL,
        use_original_formulation=True,
    )


GUIDERS = {"cfg-zero-star": _zero_star, "apg": _projected}


@contextmanager
def guided(pipe, name: str | None, scale: float) -> Iterator[None]:
    """Lets a guider combine the branches of a pipeline meanwhile; None: the pipeline does, as ever.

    Raises:
        LabError: the pipeline has no second branch.
    """
    if name is None:
        yield
        return
    if not family_of(pipe.transformer).classifier_free:
        raise LabError(
            f"`guider` is {name}, but {type(pipe).__name__} guides by no second pass: set it to null, or take Stable "
            "Diffusion 3."
        )
    guider = GUIDERS[name](scale)

    def combine(_transformer, _arguments, output: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        unconditional, conditional = output[0].chunk(2)
        scheduler = pipe.scheduler
        step = scheduler.step_index or 0  # none before an image's first step
        if step == 0 and name == "apg":
            guider.momentum_buffer = MomentumBuffer(MOMENTUM)
        guider.set_state(step=step, num_inference_steps=len(scheduler.timesteps), timestep=scheduler.timesteps[step])
        predicted = guider.forward(conditional, unconditional).pred
        return (torch.cat([predicted, predicted]),)

    handle = pipe.transformer.register_forward_hook(combine)
    try:
        yield
    finally:
        handle.remove()
