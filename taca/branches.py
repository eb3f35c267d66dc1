"""Which samples of a forward pass belong to the conditional branch of classifier-free guidance.

Some pipelines put both branches into one batch, others make a call for each. Which of them a pass holds is told by the
pass itself and the call of the pipeline that makes it. A pipeline's attributes do not tell: dynamic guidance changes
them from step to step, and several pipelines may share one transformer. A modular pipeline's guider says it.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from types import FrameType, MethodType
from typing import Any

from diffusers import DiffusionPipeline, ModularPipeline
from torch import nn

from taca.errors import TacaError

# What diffusers' pipelines call the `cache_context` of a pass of one branch, and its guiders their predictions.
_NAMES = {"cond": True, "uncond": False}
_GUIDED = {"pred_cond": True, "pred_uncond": False}
# How their calls name the embeddings of the two branches.
_TEXTS = ("prompt_embeds", "negative_prompt_embeds")


class Branches:
    """Tells the branches of the passes of one transformer, until `close`.

    Args:
        text: what the transformer calls its argument of text embeddings.
        batches: which of its parts are conditional, for each way in which its pipelines put branches into one batch.
    """

    def __init__(self, transformer: Any, text: str, batches: tuple[tuple[bool, ...], ...]):
        self.text = text
        self.batches = batches
        self.name: str | None = None
        if hasattr(type(transformer), "cache_context"):
            own = MethodType(type(transformer).cache_context, transformer)
            transformer.cache_context = partial(_noted, self, own)

    def conditional(self, arguments: Mapping, batch: int) -> list[bool]:
        """For each of the `batch` samples of the pass that is being made, whether it is conditional.

        Raises:
            TacaError: the pass does not say.
        """
        drawing = _drawing()
        for branch in (_branch_named(self.name), _branch_guided(drawing)):
            if branch is not None:
                return [branch] * batch
        text = arguments.get(self.text)
        told = _by_texts(text, drawing) if isinstance(text, list) else _by_parts(drawing, batch, self.batches)
        if told is not None:
            return told
        # Skip-layer guidance makes a further call, with the conditional branch alone.
        branch = True if arguments.get("skip_layers") is not None else _by_text(text, drawing)
        if branch is not None:
            return [branch] * batch
        raise TacaError(
            "`branches` is conditional, and this forward pass does not say which branch of classifier-free guidance it "
            "belongs to: call one of diffusers' own pipelines, or set `branches` to both."
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


def _drawing() -> Mapping[str, Any]:
    """The variables of the innermost call of a pipeline, such as its `latents`; none outside of any.

    Of a modular pipeline it is the call of the block that runs the transformer. How many images are drawn stands
    nowhere else: a batch of two equal latents may be both branches of one image, or two prompts from one seed without
    guidance.
    """
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        names = set(frame.f_code.co_varnames)
        # Asked for its variables, a frame keeps a copy of them: those of no other function are to outlive their `del`.
        if {"self", "latents"} <= names or {"components", "block_state"} <= names:
            variables = frame.f_locals
            if isinstance(variables.get("self"), DiffusionPipeline) and variables.get("latents") is not None:
                return variables
            if isinstance(variables.get("components"), ModularPipeline):
                return variables
        frame = frame.f_back
    return {}


def _branch_named(name: str | None) -> bool | None:
    """The branch that a `cache_context` or a guider's prediction names: `pred_cond_skip` is a conditional one too."""
    if name is None:
        return None
    if name in _NAMES:
        return _NAMES[name]
    return next((branch for start, branch in _GUIDED.items() if name == start or name.startswith(f"{start}_")), None)


def _branch_guided(drawing: Mapping[str, Any]) -> bool | None:
    """The branch that the guider of a pipeline computes; None where no guider is at work.

    Not `guider.is_conditional`: of skip-layer guidance alone it takes the second pass for the unconditional one. A
    guider marks each batch that it prepares with what is predicted from it, and reads the marks when it puts the
    predictions together.
    """
    batch = drawing.get("guider_state_batch")
    if batch is None:
        return None
    # A block of a modular pipeline is handed the guider; a pipeline, such as HunyuanImage's, has it.
    owner = drawing["components"] if "components" in drawing else drawing["self"]
    return _branch_named(getattr(batch, owner.guider._identifier_key))


def _own_texts(drawing: Mapping[str, Any]) -> list[Any]:
    """The embeddings of the two branches, as the call that draws has them."""
    state = drawing.get("block_state")
    return [drawing.get(name) if state is None else getattr(state, name, None) for name in _TEXTS]


def _by_text(text: object, drawing: Mapping[str, Any]) -> bool | None:
    """The branch whose embeddings a pass is given."""
    positive, negative = (text is not None and text is own for own in _own_texts(drawing))
    return positive if positive != negative else None


def _by_texts(texts: list[Any], drawing: Mapping[str, Any]) -> list[bool] | None:
    """The branches of a batch whose embeddings are a list, one for each sample."""
    told = [[any(text is one for one in own or []) for own in _own_texts(drawing)] for text in texts]
    if any(positive == negative for positive, negative in told):
        return None
    return [positive for positive, _ in told]


def _by_parts(drawing: Mapping[str, Any], batch: int, batches: tuple[tuple[bool, ...], ...]) -> list[bool] | None:
    """The branches of a batch that has each image of the pipeline as often as one of `batches` has parts."""
    if drawing.get("latents") is None:
        return None
    images = len(drawing["latents"])
    parts = next((parts for parts in batches if batch == len(parts) * images), None)
    return None if parts is None else [branch for branch in parts for _ in range(images)]
