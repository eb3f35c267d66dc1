"""Where MM-DiTs differ, as far as TACA is concerned: one row for each transformer class.

A new family is one row here and, if its attention is not yet covered, one processor in `taca.processors`.
"""

import re
from dataclasses import dataclass

from diffusers import (
    CogVideoXTransformer3DModel,
    DiffusionPipeline,
    Flux2Transformer2DModel,
    FluxTransformer2DModel,
    HunyuanVideoTransformer3DModel,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
)
from diffusers.models.attention_processor import (
    CogVideoXAttnProcessor2_0,
    FusedCogVideoXAttnProcessor2_0,
    FusedJointAttnProcessor2_0,
    JointAttnProcessor2_0,
)
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor
from diffusers.models.transformers.transformer_flux2 import Flux2AttnProcessor, Flux2ParallelSelfAttnProcessor
from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoAttnProcessor2_0
from diffusers.models.transformers.transformer_qwenimage import QwenDoubleStreamAttnProcessor2_0
from torch import nn

import taca.processors as processors
from taca.errors import TacaError
from taca.processors.base import TacaProcessor


@dataclass(frozen=True)
class AttentionSite:
    """One kind of joint attention in a transformer.

    Attributes:
        modules: regular expression for the whole names of its attention modules.
        stock: the processor classes that diffusers puts there, fused projections included; TACA replaces no other.
        processor: the class of its replacement.
    """

    modules: str
    stock: tuple[type, ...]
    processor: type[TacaProcessor]


@dataclass(frozen=True)
class Family:
    """What TACA knows of one transformer class.

    Attributes:
        transformer: the class; its subclasses belong to the family too.
        sites: every kind of attention that image and text tokens share.
        timestep_scale: takes the `timestep` that pipelines pass to the scheduler's 0..1000 scale.
    """

    transformer: type[nn.Module]
    sites: tuple[AttentionSite, ...]
    timestep_scale: float


DOUBLE, SINGLE = r"transformer_blocks\.\d+\.attn", r"single_transformer_blocks\.\d+\.attn"

FAMILIES = (
    # The second attention of SD3.5-medium's first blocks (`attn2`) sees image tokens alone and is no site.
    Family(
        transformer=SD3Transformer2DModel,
        sites=(
            AttentionSite(
                DOUBLE, (JointAttnProcessor2_0, FusedJointAttnProcessor2_0), processors.TacaJointAttnProcessor
            ),
        ),
        timestep_scale=1.0,
    ),
    Family(
        transformer=FluxTransformer2DModel,
        sites=(
            AttentionSite(DOUBLE, (FluxAttnProcessor,), processors.TacaFluxAttnProcessor),
            AttentionSite(SINGLE, (FluxAttnProcessor,), processors.TacaFluxAttnProcessor),
        ),
        timestep_scale=1000.0,
    ),
    # Reference images are image tokens: they read the prompt with gamma too.
    Family(
        transformer=Flux2Transformer2DModel,
        sites=(
            AttentionSite(DOUBLE, (Flux2AttnProcessor,), processors.TacaFlux2AttnProcessor),
            AttentionSite(SINGLE, (Flux2ParallelSelfAttnProcessor,), processors.TacaFlux2ParallelSelfAttnProcessor),
        ),
        timestep_scale=1000.0,
    ),
    Family(
        transformer=QwenImageTransformer2DModel,
        sites=(
            AttentionSite(DOUBLE, (QwenDoubleStreamAttnProcessor2_0,), processors.TacaQwenDoubleStreamAttnProcessor),
        ),
        timestep_scale=1000.0,
    ),
    Family(
        transformer=CogVideoXTransformer3DModel,
        sites=(
            AttentionSite(
                r"transformer_blocks\.\d+\.attn1",
                (CogVideoXAttnProcessor2_0, FusedCogVideoXAttnProcessor2_0),
                processors.TacaCogVideoXAttnProcessor,
            ),
        ),
        timestep_scale=1.0,
    ),
    # The refiner of the text (`context_embedder.token_refiner`) sees text tokens alone and is no site.
    Family(
        transformer=HunyuanVideoTransformer3DModel,
        sites=(
            AttentionSite(DOUBLE, (HunyuanVideoAttnProcessor2_0,), processors.TacaHunyuanVideoAttnProcessor),
            AttentionSite(SINGLE, (HunyuanVideoAttnProcessor2_0,), processors.TacaHunyuanVideoAttnProcessor),
        ),
        timestep_scale=1.0,
    ),
)


_CLASSES = tuple(family.transformer for family in FAMILIES)


def family_of(transformer: nn.Module) -> Family:
    """The row of a transformer.

    Raises:
        TacaError: a class that is in no row.
    """
    for family in FAMILIES:
        if isinstance(transformer, family.transformer):
            return family
    name = type(transformer).__name__
    known = ", ".join(family.transformer.__name__ for family in FAMILIES)
    raise TacaError(f"TACA does not know {name}: pass a transformer of one of the classes {known}.")


def transformer_of(model: object) -> nn.Module:
    """A transformer itself, that of a pipeline, or the one inside of what was put around it.

    A wrapper (`torch.compile`'s, DistributedDataParallel, FSDP, a model of peft) has what it calls as its only child,
    and calls it as a module, hooks included.

    Raises:
        TacaError: a pipeline that has none.
    """
    transformer = getattr(model, "transformer", None) if isinstance(model, DiffusionPipeline) else model
    if transformer is None:
        raise TacaError(
            f"{type(model).__name__} has no transformer, and TACA acts on one: pass a pipeline around one, "
            "such as StableDiffusion3Pipeline."
        )
    while isinstance(transformer, nn.Module) and not isinstance(transformer, _CLASSES):
        children = list(transformer.children())
        if len(children) != 1:
            break
        transformer = children[0]
    return transformer


# What compilation, checkpointing and FSDP put around a block, in the names of what is inside.
_WRAPPERS = re.compile(r"\.(_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module)")


def attention_modules(transformer: nn.Module, family: Family) -> dict[nn.Module, AttentionSite]:
    """Every joint attention module of a transformer, in the order of the blocks.

    Raises:
        TacaError: there is none, or one has a processor that is not the stock one.
    """
    found = {}
    for name, module in transformer.named_modules():
        for site in family.sites:
            if re.fullmatch(site.modules, _WRAPPERS.sub("", name)):
                found[module] = site
    if not found:
        patterns = ", ".join(f"`{site.modules}`" for site in family.sites)
        raise TacaError(
            f"This {type(transformer).__name__} has no joint attention: no module is called {patterns}; "
            "pass a transformer with at least one block."
        )
    check_stock(found)
    return found


def check_stock(modules: dict[nn.Module, AttentionSite]) -> None:
    """Makes sure that TACA replaces nothing but stock processors.

    Raises:
        TacaError: a module has another processor.
    """
    for module, site in modules.items():
        # Subclasses too are refused: what they add would be lost.
        if type(module.processor) not in site.stock:
            raise TacaError(
                f"TACA replaces {site.stock[0].__name__} and found {type(module.processor).__name__}: unload IP "
                "adapters, or put the stock processor back with `set_attn_processor`."
            )
