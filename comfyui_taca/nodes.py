"""The node "TACA": a model in, the model with TACA out."""

import math
from collections.abc import Callable
from typing import Any

import torch

from .attention import Override
from .tokens import Count, count_of

# comfy.patcher_extension.WrappersMP.APPLY_MODEL. Not DIFFUSION_MODEL, which Stable Diffusion 3.5's class never calls.
APPLY_MODEL = "apply_model"
_KEY = "taca"
BOTH, POSITIVE = "both", "positive only"


class Taca:
    """Scales the image-to-text logits of a model by gamma in the steps whose timestep reaches the threshold."""

    CATEGORY = "advanced/model"
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "apply"
    DESCRIPTION = "Image tokens attend more to the prompt in the first, noisiest steps (arXiv 2506.07986)."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, tuple]]:
        """Of the node; gamma 1.2 and threshold 970 are the paper's values."""
        return {
            "required": {
                "model": ("MODEL",),
                "gamma": ("FLOAT", {"default": 1.2, "min": 0.01, "max": 10.0, "step": 0.01}),
                "threshold": ("FLOAT", {"default": 970.0, "min": 0.0, "max": 1000.0, "step": 1.0}),
                "branches": ([BOTH, POSITIVE],),
            }
        }

    def apply(self, model: Any, gamma: float, threshold: float, branches: str) -> tuple[Any]:
        """A clone of the model's patcher with TACA; the one that came in is as it was.

        Raises:
            ValueError: a model that TACA does not know, one that has TACA already, or a value outside its range.
        """
        if not (math.isfinite(gamma) and gamma > 0):
            raise ValueError(f"gamma of the node TACA must be a finite number above 0, got {gamma}: 1.2 is usual.")
        if not 0 <= threshold <= 1000:
            raise ValueError(f"threshold of the node TACA must be within 0..1000, got {threshold}: 970 is usual.")
        if branches not in (BOTH, POSITIVE):
            raise ValueError(f"branches of the node TACA must be {BOTH!r} or {POSITIVE!r}, got {branches!r}.")
        count = count_of(model.get_model_object("diffusion_model"))
        if model.get_wrappers(APPLY_MODEL, _KEY):
            raise ValueError("This model has TACA already: remove one of the two nodes.")
        patched = model.clone()
        patched.add_wrapper_with_key(APPLY_MODEL, _KEY, _wrapper(count, gamma, threshold, branches))
        return (patched,)


def _wrapper(count: Count, gamma: float, threshold: float, branches: str) -> Callable[..., torch.Tensor]:
    """Goes around each pass of the model; where TACA does not act, the pass is the stock one."""

    def apply_model(
        executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **conditions
    ):
        options = dict(transformer_options or {})
        acts = _acts(options, len(x), threshold, branches)
        if not acts.any():
            return executor(x, t, c_concat, c_crossattn, control, transformer_options, **conditions)
        text, image = count(executor.class_obj.diffusion_model, x.shape, c_crossattn.shape, conditions)
        gammas = torch.ones(len(x)).masked_fill(acts, gamma)
        override = Override(text, image, gammas, options.get("optimized_attention_override"))
        options["optimized_attention_override"] = override
        output = executor(x, t, c_concat, c_crossattn, control, options, **conditions)
        if override.lengths and not override.acted:
            raise ValueError(
                f"TACA expects {text} text and {image} image tokens in one attention call, and this model's calls have "
                f"{', '.join(map(str, sorted(override.lengths)))}: another node adds tokens; remove it, or TACA."
            )
        return output

    return apply_model


def _acts(options: dict[str, Any], batch: int, threshold: float, branches: str) -> torch.Tensor:
    """In which samples of a pass: Eq. 11, a sigma of these four models being the timestep divided by 1000."""
    branch_of_chunk = options["cond_or_uncond"]  # 0 is the positive prompt's, 1 the negative one's
    if branches == POSITIVE and max(branch_of_chunk) > 1:
        # DualCFGGuider's 0 is the negative one, PerpNegGuider's the positive one.
        raise ValueError(
            f"TACA cannot tell which of this guider's three prompts is the positive one: choose {BOTH!r} in the node "
            "TACA, or a guider with two."
        )
    sigmas = options["sigmas"].detach().to("cpu", torch.float32).flatten()
    noisy = (sigmas * 1000 >= threshold).expand(batch // len(branch_of_chunk))
    return torch.cat([noisy & (branches == BOTH or branch == 0) for branch in branch_of_chunk])
