"""Classifier-free guidance in some of an image's steps alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lab.errors import LabError
from lab.models.family import family_of
from taca.steps import active_steps

# Above 1, so that the pipeline goes on with both branches, and so near that its prediction is the conditional one's.
UNGUIDED = 1 + 2**-20


@dataclass(frozen=True)
class Guidance:
    """A scale, and the noise levels from `window[0]` on and below `window[1]` in which it holds; None: in all.

    A window that ends at 1000 holds pure noise too.
    """

    scale: float
    window: tuple[float, float] | None = None

    def options(self, pipe, num_inference_steps: int, height: int | None, width: int | None) -> dict[str, object]:
        """What the pipeline is called with.

        Raises:
            LabError: it guides by no second pass.
        """
        if self.window is None:
            return {"guidance_scale": self.scale}
        if not family_of(pipe.transformer).classifier_free:
            raise LabError(
                f"`guidance_window` is given, but {type(pipe).__name__} embeds its scale and guides by no second pass: "
                "set it to null."
            )
        own = pipe.default_sample_size * pipe.vae_scale_factor
        scales = self._scales(pipe, num_inference_steps, height or own, width or own)
        return {"guidance_scale": scales[0], "callback_on_step_end": _scales_of_next_step(scales)}

    def _scales(self, pipe, steps: int, height: int, width: int) -> list[float]:
        low, high = self.window
        inside = {step for step, _ in active_steps(pipe, steps, height, width, threshold=low)}
        if high < 1000:
            inside -= {step for step, _ in active_steps(pipe, steps, height, width, threshold=high)}
        return [self.scale if step in inside else UNGUIDED for step in range(steps)]


def _scales_of_next_step(scales: Sequence[float]) -> Callable:
    def after_step(pipe, step: int, _timestep, _tensors: dict) -> dict:
        if step + 1 < len(scales):
            # The attribute behind `guidance_scale`, which pipelines read anew in every step.
            pipe._guidance_scale = scales[step + 1]
        return {}

    return after_step
