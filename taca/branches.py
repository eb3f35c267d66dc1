"""Which samples of a forward pass belong to the conditional branch of classifier-free guidance.

Some pipelines put both branches into one batch, others make a call for each. Which of them a pass holds is told by the
pass itself and the call of the pipeline that makes it. A pipeline's attributes do not tell: dynamic guidance changes
them from step to step, and several pipelines may share one transformer.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from types import MethodType

from diffusers import DiffusionPipeline
from torch import nn

from taca.errors import TacaError

# What diffusers' pipelines, and with `pred_` its guiders, call the `cache_context` of a pass of one branch.
_NAMES = {"cond": True, "pred_cond": True, "pred_cond_skip": True, "uncond": False, "pred_uncond": False}
# How their calls name the embeddings of the two branches.
_TEXTS = ("prompt_embeds", "negative_prompt_embeds")


class Branches:
    """Tells the branches of the passes of one transformer, until `close`."""

    def __init__(self, transformer: nn.Module):
        self.name: str | None = None
        if hasattr(type(transformer), "cache_context"):
            own = MethodType(type(transformer).cache_context, transformer)
            transformer.cache_context = partial(_noted, self, own)

    def conditional(self, arguments: Mapping, batch: int) -> list[bool]:
        """For each of the `batch` samples of the pass that is being made, whether it is conditional.

        Raises:
            TacaError: the pass does not say.
        """
        if self.name in _NAMES:
            return [_NAMES[self.name]] * batch
        pipeline = _drawing()
        images = len(pipeline["latents"]) if pipeline else None
        if pipeline and batch == 2 * images:
            # In this order in every pipeline of diffusers.
            return [False] * images + [True] * images
        # Skip-layer guidance makes a further call, with the conditional branch alone.
        if arguments.get("skip_layers") is not None:
            return [True] * batch
        text = arguments["encoder_hidden_states"]
        positive, negative = (pipeline and text is pipeline.get(name) for name in _TEXTS)
        if positive != negative:
            return [positive] * batch
        raise TacaError(
            "`branches` is conditional, and this forward pass does not say which branch of classifier-free guidance it "
            "belongs to: draw with one of diffusers' own pipelines, or use both."
        )

    def close(self, transformer: nn.Module) -> None:
        """Gives the transformer its own method back."""
        vars(transformer).pop("cache_context", None)


@contextmanager
def _noted(
    branches: Branches, cache_context: Callable[..., AbstractContextManager], name: str, *args, **kwargs
) -> Iterator[None]:
    before, branches.name = branches.name, name
    try:
        with cache_context(name, *args, **kwargs):
            yield
    finally:
        branches.name = before


def _drawing() -> Mapping | None:
    """The variables of the innermost call of a pipeline, such as its `latents`; None outside of any.

    How many images are drawn stands nowhere else: a batch of two equal latents may be both branches of one image, or
    two prompts from one seed without guidance.
    """
    frame = sys._getframe()
    while frame is not None:
        # Asked for its variables, a frame keeps a copy of them: those of no other function are to outlive their `del`.
        if {"self", "latents"} <= set(frame.f_code.co_varnames):
            variables = frame.f_locals
            if isinstance(variables.get("self"), DiffusionPipeline) and variables.get("latents") is not None:
                return variables
        frame = frame.f_back
    return None
