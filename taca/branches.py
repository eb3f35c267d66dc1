"""Which samples of a forward pass belong to the conditional branch of classifier-free guidance.

Some pipelines put both branches into one batch, others make two calls: `taca.families` says which.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from types import MethodType

from torch import nn

from taca.errors import TacaError


class BatchedBranches:
    """Both branches in one batch, the unconditional one first (SD3, CogVideoX)."""

    def __init__(self, pipeline: object, transformer: nn.Module):
        # Weakly: whoever copies the transformer does not want a copy of its pipeline.
        self.pipeline = weakref.ref(pipeline)

    def conditional(self, arguments: dict, batch: int) -> list[bool]:
        """For each of the `batch` samples of a pass with these arguments, whether it is conditional."""
        scale = getattr(self.pipeline(), "_guidance_scale", None)
        if scale is None:
            raise TacaError(
                "`branches` is conditional, and the pipeline that TACA was given is not drawing: call that pipeline, "
                "and keep it as long as TACA is applied."
            )
        # Skip-layer guidance makes a further call, with the conditional branch alone.
        if scale <= 1 or arguments.get("skip_layers") is not None:
            return [True] * batch
        return [sample >= batch // 2 for sample in range(batch)]

    def close(self, transformer: nn.Module) -> None:
        """There is nothing to undo."""


class SeparateBranches:
    """One call for each branch, inside `transformer.cache_context("cond")` or `("uncond")` (FLUX, Qwen-Image)."""

    def __init__(self, pipeline: object, transformer: nn.Module):
        self.name: str | None = None
        transformer.cache_context = partial(_noted, self, MethodType(type(transformer).cache_context, transformer))

    def conditional(self, arguments: dict, batch: int) -> list[bool]:
        """As `BatchedBranches.conditional`."""
        if self.name is None:
            raise TacaError(
                "`branches` is conditional, and this pipeline does not say which branch a call belongs to (it sets no "
                "`cache_context`): use both."
            )
        return [self.name != "uncond"] * batch

    def close(self, transformer: nn.Module) -> None:
        """Gives the transformer its own method back."""
        vars(transformer).pop("cache_context", None)


@contextmanager
def _noted(
    branches: SeparateBranches, cache_context: Callable[..., AbstractContextManager], name: str, *args, **kwargs
) -> Iterator[None]:
    before, branches.name = branches.name, name
    try:
        with cache_context(name, *args, **kwargs):
            yield
    finally:
        branches.name = before
