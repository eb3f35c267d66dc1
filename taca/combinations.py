"""What TACA cannot be combined with, and why."""

from collections.abc import Iterable
from typing import Any

import torch
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry
from torch import nn

from taca.errors import TacaError

# The modules of diffusers whose hooks answer for a block or an attention with what it gave in an earlier step.
_CACHES = tuple(
    f"diffusers.hooks.{name}"
    for name in (
        "faster_cache",
        "first_block_cache",
        "mag_cache",
        "pyramid_attention_broadcast",
        "sea_cache",
        "taylorseer_cache",
    )
)


def check_combinations(transformer: nn.Module) -> None:
    """Makes sure that nothing is enabled on a transformer under which TACA would be silently wrong.

    Raises:
        TacaError: a replica of DataParallel, an output cache, skipped attention scores, or ring attention by PyTorch's
            own kernel.
    """
    # What `torch.nn.DataParallel` sets on the copies that it makes for each pass.
    if "_is_replica" in vars(transformer):
        raise TacaError(
            "DataParallel runs copies of the transformer that share their processors with it: use "
            "DistributedDataParallel, or one GPU."
        )
    cache = _cache(transformer)
    if cache is not None:
        raise TacaError(
            f"{cache} keeps parts of one step for later steps, also for those in which TACA no longer acts: "
            "call `disable_cache()`, or remove its hooks, first."
        )
    if _skips_scores(transformer):
        raise TacaError(
            "A layer's attention scores are skipped, as perturbed-attention guidance does, which diffusers cannot do "
            "with fewer queries than keys, as under TACA: use another guider, or skip whole layers."
        )
    context = context_parallel(transformer)
    if context is not None and context.ring_degree > 1 and _backend(transformer) == AttentionBackendName.NATIVE:
        raise TacaError(
            "Ring attention needs a backend that returns log-sum-exp, and PyTorch's native one does not: call "
            "`set_attention_backend` with another, or use `ulysses_degree`."
        )


def check_gradients(transformer: nn.Module, hidden_states: torch.Tensor) -> None:
    """Makes sure that no gradient is asked for where there is none, or none of use.

    Raises:
        TacaError: gradients are recorded under context parallelism, or in float16 on a CPU.
    """
    if not torch.is_grad_enabled():
        return
    if hidden_states.device.type == "cpu" and _computed_in(hidden_states) == torch.float16:
        raise TacaError(
            "Gradients are recorded in float16 on a CPU, where small ones underflow without any gain in speed: train "
            "in bfloat16 or float32, or run the pass under `torch.no_grad()`."
        )
    if context_parallel(transformer) is not None:
        raise TacaError(
            "diffusers' context parallelism has no backward pass for fewer queries than keys, which TACA needs: "
            "run the pass under `torch.no_grad()`, or train without context parallelism."
        )


def check_token_split(transformer: nn.Module, sites: Iterable[Any]) -> None:
    """Makes sure that TACA knows which tokens this process holds.

    Raises:
        TacaError: context parallelism of a family whose processors are derived from the stock ones.
    """
    if context_parallel(transformer) is not None and any(site.processor is None for site in sites):
        raise TacaError(
            f"Context parallelism splits the tokens of {type(transformer).__name__} in a way that TACA does not know: "
            "draw without it, or with SD3, FLUX, Qwen-Image, CogVideoX or HunyuanVideo."
        )


def _computed_in(hidden_states: torch.Tensor) -> torch.dtype:
    device = hidden_states.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_states.dtype


def context_parallel(transformer: nn.Module) -> object | None:
    """The configuration that `enable_parallelism` gave, if it splits the tokens; it is kept nowhere else."""
    return getattr(getattr(transformer, "_parallel_config", None), "context_parallel_config", None)


def _cache(transformer: nn.Module) -> str | None:
    """The name of what caches, whether `enable_cache` or a function such as `apply_first_block_cache` put it there."""
    if getattr(transformer, "is_cache_enabled", False):
        # `enable_cache` keeps its configuration here as long as `is_cache_enabled` says yes.
        name = type(transformer._cache_config).__name__
        # Keys of the text are kept before they are scaled, and do not change from step to step.
        return None if name == "TextKVCacheConfig" else name
    return next((type(hook).__name__ for hook in _hooks(transformer) if type(hook).__module__ in _CACHES), None)


def _skips_scores(transformer: nn.Module) -> bool:
    return any(getattr(hook, "skip_attention_scores", False) for hook in _hooks(transformer))


def _hooks(transformer: nn.Module) -> list[object]:
    """Those of diffusers, on the transformer and all that is inside."""
    # A hook of diffusers is in force as long as it is in the registry that its module keeps under this name. `vars`:
    # nn.Module looks long for an attribute that is not there, and this is asked in every active pass.
    registries = [
        vars(module)["_diffusers_hook"] for module in transformer.modules() if "_diffusers_hook" in vars(module)
    ]
    return [hook for registry in registries for hook in registry.hooks.values()]


def _backend(transformer: nn.Module) -> AttentionBackendName:
    processor = next(iter(transformer.attn_processors.values()))
    chosen = getattr(processor, "_attention_backend", None)
    return AttentionBackendName(chosen) if chosen is not None else _AttentionBackendRegistry.get_active_backend()[0]
