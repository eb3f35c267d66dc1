"""Where MM-DiTs differ, as far as TACA is concerned: one row for each transformer class.

A new family is one row here and, if its attention is not yet covered, one processor in `taca.processors`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from diffusers import SD3Transformer2DModel
from diffusers.models.attention_processor import JointAttnProcessor2_0
from torch import nn

from taca.processors import TacaJointAttnProcessor


@dataclass(frozen=True)
class AttentionSite:
    """One kind of joint attention in a transformer.

    Attributes:
        modules: regular expression for the whole names of its attention modules.
        stock: the processor class that diffusers puts there, and the only one that TACA stands in for.
        processor: builds the stand-in from (gamma, text_first).
    """

    modules: str
    stock: type
    processor: Callable[[object, bool], object]


@dataclass(frozen=True)
class Family:
    """What TACA knows of one transformer class.

    Attributes:
        transformer: the class; its subclasses belong to the family too.
        sites: every kind of attention that image and text tokens share.
        text_first: order of text and image tokens in the joint sequence.
        timestep_scale: takes the `timestep` that pipelines pass to the scheduler's 0..1000 scale.
    """

    transformer: type[nn.Module]
    sites: tuple[AttentionSite, ...]
    text_first: bool
    timestep_scale: float


FAMILIES = (
    # The second attention of SD3.5-medium's first blocks (`attn2`) sees image tokens alone and is no site.
    Family(
        transformer=SD3Transformer2DModel,
        sites=(AttentionSite(r"transformer_blocks\.\d+\.attn", JointAttnProcessor2_0, TacaJointAttnProcessor),),
        text_first=False,
        timestep_scale=1.0,
    ),
)


def family_of(transformer: nn.Module) -> Family:
    """The row of a transformer.

    Raises:
        ValueError: a pipeline in the place of its transformer, or a class that is in no row.
    """
    for family in FAMILIES:
        if isinstance(transformer, family.transformer):
            return family
    name = type(transformer).__name__
    if isinstance(getattr(transformer, "transformer", None), nn.Module) and not isinstance(transformer, nn.Module):
        raise ValueError(f"TACA acts on a transformer, and {name} is a pipeline: pass `pipe.transformer`.")
    known = ", ".join(family.transformer.__name__ for family in FAMILIES)
    raise ValueError(f"TACA does not know {name}: pass a transformer of one of the classes {known}.")


def attention_modules(transformer: nn.Module, family: Family) -> dict[nn.Module, AttentionSite]:
    """Every joint attention module of a transformer, in the order of the blocks.

    Raises:
        ValueError: there is none, or one has a processor that is not the stock one.
    """
    found = {}
    for name, module in transformer.named_modules():
        for site in family.sites:
            if re.fullmatch(site.modules, name):
                found[module] = site
    if not found:
        patterns = ", ".join(f"`{site.modules}`" for site in family.sites)
        raise ValueError(
            f"This {type(transformer).__name__} has no joint attention: no module is called {patterns}; "
            "pass a transformer with at least one block."
        )
    check_stock(found)
    return found


def check_stock(modules: dict[nn.Module, AttentionSite]) -> None:
    """Makes sure that TACA would take the place of nothing but stock processors.

    Raises:
        ValueError: a module has another processor.
    """
    for module, site in modules.items():
        # Subclasses too are refused: what they add would be lost.
        if type(module.processor) is not site.stock:
            raise ValueError(
                f"TACA stands in for {site.stock.__name__} and found {type(module.processor).__name__}: unload IP "
                "adapters, unfuse QKV projections, or put the stock processor back with `set_attn_processor`."
            )
