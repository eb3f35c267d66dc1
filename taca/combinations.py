"""What TACA cannot be combined with, and why."""

from torch import nn


def check_combinations(transformer: nn.Module) -> None:
    """Makes sure that nothing is enabled on a transformer under which TACA would be silently wrong.

    Raises:
        ValueError: an output cache, or ring attention by PyTorch's own kernel.
    """
    if getattr(transformer, "is_cache_enabled", False):
        raise ValueError(
            f"{type(transformer._cache_config).__name__} keeps parts of one step for another, also across the step "
            "at which TACA ends: call `disable_cache()` first."
        )
    parallel = getattr(transformer, "_parallel_config", None)
    context = getattr(parallel, "context_parallel_config", None)
    if context is not None and context.ring_degree > 1 and _backend(transformer) in (None, "native"):
        raise ValueError(
            "Ring attention needs a backend that returns log-sum-exp, and PyTorch's native one does not: call "
            "`set_attention_backend` with another, or use `ulysses_degree`."
        )


def _backend(transformer: nn.Module) -> str | None:
    processor = next(iter(transformer.attn_processors.values()))
    backend = getattr(processor, "_attention_backend", None)
    return None if backend is None else str(getattr(backend, "value", backend))
