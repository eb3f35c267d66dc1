"""Where transformers with joint attention differ, as far as TACA is concerned: one row for each class.

Classes are named and not imported, so that one that an installed diffusers lacks costs nothing.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from diffusers import DiffusionPipeline, ModularPipeline
from torch import nn

import taca.processors as processors
import taca.token_layouts as layouts
from taca.errors import TacaError
from taca.noise import Timestep
from taca.processors.base import TacaProcessor
from taca.processors.derived import derived
from taca.refusals import REFUSALS
from taca.tokens import Tokens

ATTN1 = r"transformer_blocks\.\d+\.attn1"
AURA_FLOW = ("AuraFlowAttnProcessor2_0", "FusedAuraFlowAttnProcessor2_0")
# A scheduler's timestep as it is, one from 1 to 0, and one from 0, which is noise, to 1.
RAW, THOUSANDTHS, BACKWARDS = Timestep(), Timestep(scale=1000.0), Timestep(scale=1000.0, backwards=True)
# Both branches in each batch, or where nothing is guided the conditional one: needed where a pipeline changes the
# prompt's embeddings on their way, by which its branch would be known.
GUIDED_OR_NOT = ((False, True), (True,))


@dataclass(frozen=True)
class AttentionSite:
    """One kind of joint attention in a transformer.

    Attributes:
        modules: regular expression for the whole names of its attention modules.
        stock: the processor classes that diffusers puts there, fused projections included; TACA replaces no other.
        processor: the class of its replacement; None if it is derived from the stock one.
        without_text: the entry of the model's configuration that says how many of the last ones see no text.
    """

    modules: str
    stock: tuple[str, ...]
    processor: type[TacaProcessor] | None = None
    without_text: str | None = None

    def replacement(self, module: nn.Module) -> type[TacaProcessor]:
        """The class of what replaces a module's stock processor."""
        return self.processor or derived(type(module.processor))


@dataclass(frozen=True)
class Family:
    """What TACA knows of one transformer class.

    Attributes:
        transformer: the class; its subclasses belong to the family too.
        sites: every kind of attention that image and text tokens share.
        layout: the order of tokens in the joint sequence, for readers.
        timestep: the argument that says how noisy the input is.
        tokens: where text and image tokens are, from the transformer and the arguments of its forward pass.
        image, text: the names of the arguments that bring the latents and the prompt.
        batches: the ways in which its pipelines put branches of classifier-free guidance into one batch: for each part,
            of as many samples as images are drawn, whether it is the conditional one.
    """

    transformer: str
    sites: tuple[AttentionSite, ...]
    layout: str
    timestep: Timestep = RAW
    tokens: Callable[[nn.Module, Mapping], Tokens] = layouts.text_first
    image: str = "hidden_states"
    text: str = "encoder_hidden_states"
    batches: tuple[tuple[bool, ...], ...] = ((False, True),)


DOUBLE, SINGLE = r"transformer_blocks\.\d+\.attn", r"single_transformer_blocks\.\d+\.attn"

FAMILIES = (
    Family(
        transformer="SD3Transformer2DModel",
        sites=(
            AttentionSite(
                DOUBLE, ("JointAttnProcessor2_0", "FusedJointAttnProcessor2_0"), processors.TacaJointAttnProcessor
            ),
        ),
        layout="image, text; the image-only second attention is left alone",
        tokens=layouts.text_last,
    ),
    Family(
        transformer="FluxTransformer2DModel",
        sites=(
            AttentionSite(DOUBLE, ("FluxAttnProcessor",), processors.TacaFluxAttnProcessor),
            AttentionSite(SINGLE, ("FluxAttnProcessor",), processors.TacaFluxAttnProcessor),
        ),
        layout="text, image; double and single blocks",
        timestep=THOUSANDTHS,
    ),
    # Reference images are image tokens: they read the prompt with gamma too.
    Family(
        transformer="Flux2Transformer2DModel",
        sites=(
            AttentionSite(DOUBLE, ("Flux2AttnProcessor",), processors.TacaFlux2AttnProcessor),
            AttentionSite(SINGLE, ("Flux2ParallelSelfAttnProcessor",), processors.TacaFlux2ParallelSelfAttnProcessor),
        ),
        layout="text, reference images, image; double and single blocks",
        timestep=THOUSANDTHS,
    ),
    Family(
        transformer="QwenImageTransformer2DModel",
        sites=(
            AttentionSite(DOUBLE, ("QwenDoubleStreamAttnProcessor2_0",), processors.TacaQwenDoubleStreamAttnProcessor),
        ),
        layout="text (padding masked), image",
        timestep=THOUSANDTHS,
    ),
    Family(
        transformer="CogVideoXTransformer3DModel",
        sites=(
            AttentionSite(
                r"transformer_blocks\.\d+\.attn1",
                ("CogVideoXAttnProcessor2_0", "FusedCogVideoXAttnProcessor2_0"),
                processors.TacaCogVideoXAttnProcessor,
            ),
        ),
        layout="text, video",
    ),
    Family(
        transformer="HunyuanVideoTransformer3DModel",
        sites=(
            AttentionSite(DOUBLE, ("HunyuanVideoAttnProcessor2_0",), processors.TacaHunyuanVideoAttnProcessor),
            AttentionSite(SINGLE, ("HunyuanVideoAttnProcessor2_0",), processors.TacaHunyuanVideoAttnProcessor),
        ),
        layout="video, text (padding masked); the text-only refiner is left alone",
        tokens=layouts.text_last,
    ),
    Family(
        transformer="ZImageTransformer2DModel",
        sites=(AttentionSite(r"layers\.\d+\.attention", ("ZSingleStreamAttnProcessor",)),),
        layout="image, text, both padded to multiples of 32; the refiners are left alone",
        timestep=Timestep("t", scale=1000.0, backwards=True),
        tokens=layouts.z_image,
        image="x",
        text="cap_feats",
    ),
    Family(
        transformer="ChromaTransformer2DModel",
        sites=(AttentionSite(DOUBLE, ("FluxAttnProcessor",)), AttentionSite(SINGLE, ("FluxAttnProcessor",))),
        layout="text (padding masked), image; double and single blocks",
        timestep=THOUSANDTHS,
    ),
    Family(
        transformer="QwenImage21Transformer2DModel",
        sites=(AttentionSite(DOUBLE, ("QwenImage21AttnProcessor",)),),
        layout="text and reference images interleaved, image, whose queries alone are scaled; keys may be cached",
        timestep=THOUSANDTHS,
        tokens=layouts.qwen_image_21,
    ),
    Family(
        transformer="HunyuanImageTransformer2DModel",
        sites=(
            AttentionSite(DOUBLE, ("HunyuanImageAttnProcessor",)),
            AttentionSite(SINGLE, ("HunyuanImageAttnProcessor",)),
        ),
        layout="image, text of both encoders (padding masked); the refiner of the text is left alone",
        tokens=layouts.hunyuan_image,
    ),
    Family(
        transformer="HunyuanVideo15Transformer3DModel",
        sites=(AttentionSite(DOUBLE, ("HunyuanVideo15AttnProcessor2_0",)),),
        layout="video, first frame's embedding, text of both encoders (padding masked)",
        tokens=layouts.hunyuan_video_15,
    ),
    Family(
        transformer="BriaTransformer2DModel",
        sites=(AttentionSite(DOUBLE, ("BriaAttnProcessor",)), AttentionSite(SINGLE, ("BriaAttnProcessor",))),
        layout="text, image; double and single blocks",
    ),
    Family(
        transformer="BriaFiboTransformer2DModel",
        sites=(AttentionSite(DOUBLE, ("BriaFiboAttnProcessor",)), AttentionSite(SINGLE, ("BriaAttnProcessor",))),
        layout="text, reference images, image; double and single blocks",
        batches=GUIDED_OR_NOT,
    ),
    Family(
        transformer="BriaFibo2Transformer2DModel",
        sites=(AttentionSite(r"layers\.\d+\.attention", ("BriaFibo2AttnProcessor",)),),
        layout="resampled text, image, reference images; text last where its length differs in a batch",
        timestep=THOUSANDTHS,
        tokens=layouts.bria_fibo_2,
    ),
    Family(
        transformer="OvisImageTransformer2DModel",
        sites=(AttentionSite(DOUBLE, ("OvisImageAttnProcessor",)), AttentionSite(SINGLE, ("OvisImageAttnProcessor",))),
        layout="text, image; double and single blocks",
        timestep=THOUSANDTHS,
    ),
    Family(
        transformer="LongCatImageTransformer2DModel",
        sites=(
            AttentionSite(DOUBLE, ("LongCatImageAttnProcessor",)),
            AttentionSite(SINGLE, ("LongCatImageAttnProcessor",)),
        ),
        layout="text, image, reference image; double and single blocks",
        timestep=THOUSANDTHS,
    ),
    Family(
        transformer="Lumina2Transformer2DModel",
        sites=(AttentionSite(r"layers\.\d+\.attn", ("Lumina2AttnProcessor2_0",)),),
        layout="each sample's text without padding, image; the refiners are left alone",
        timestep=BACKWARDS,
        tokens=layouts.lumina_2,
    ),
    Family(
        transformer="CogView4Transformer2DModel",
        sites=(AttentionSite(ATTN1, ("CogView4AttnProcessor",)),),
        layout="text, image",
    ),
    Family(
        transformer="AuraFlowTransformer2DModel",
        sites=(
            AttentionSite(r"joint_transformer_blocks\.\d+\.attn", AURA_FLOW),
            AttentionSite(SINGLE, AURA_FLOW),
        ),
        layout="registers, text, image; double and single blocks",
        timestep=THOUSANDTHS,
        tokens=layouts.registers_first,
    ),
    Family(
        transformer="HiDreamImageTransformer2DModel",
        sites=(AttentionSite(r"(double|single)_stream_blocks\.\d+\.block\.attn1", ("HiDreamAttnProcessor",)),),
        layout="image, text of T5 and of two of Llama's layers; double and single blocks",
        timestep=Timestep("timesteps"),
        tokens=layouts.hidream_image,
        text="encoder_hidden_states_llama3",
        batches=GUIDED_OR_NOT,
    ),
    Family(
        transformer="MochiTransformer3DModel",
        sites=(AttentionSite(ATTN1, ("MochiAttnProcessor2_0",)),),
        layout="video, each sample's text without padding",
        timestep=Timestep(backwards=True),
        tokens=layouts.mochi,
    ),
    Family(
        transformer="CogView3PlusTransformer2DModel",
        sites=(AttentionSite(ATTN1, ("CogVideoXAttnProcessor2_0",)),),
        layout="text, image",
    ),
    Family(
        transformer="ConsisIDTransformer3DModel",
        sites=(AttentionSite(ATTN1, ("CogVideoXAttnProcessor2_0",)),),
        layout="text, video; what blocks read of a face is left alone",
    ),
    Family(
        transformer="HunyuanVideoFramepackTransformer3DModel",
        sites=(
            AttentionSite(DOUBLE, ("HunyuanVideoAttnProcessor2_0",)),
            AttentionSite(SINGLE, ("HunyuanVideoAttnProcessor2_0",)),
        ),
        layout="earlier and next frames, first frame's embedding, text (padding masked)",
        tokens=layouts.framepack,
    ),
    Family(
        transformer="Flux3Transformer2DModel",
        sites=(AttentionSite(SINGLE, ("Flux3AttnProcessor",)),),
        layout="text, image, reference images; blocks before, of one of them alone, are left alone",
        timestep=THOUSANDTHS,
    ),
    Family(
        transformer="Krea2Transformer2DModel",
        sites=(AttentionSite(DOUBLE, ("Krea2AttnProcessor",)),),
        layout="text (padding masked), image; the fusion of the text is left alone",
        timestep=THOUSANDTHS,
    ),
    # A pipeline passes t - 1.
    Family(
        transformer="GlmImageTransformer2DModel",
        sites=(AttentionSite(ATTN1, ("GlmImageAttnProcessor",)),),
        layout="text, image, after reference images, whose keys are cached",
        timestep=Timestep(offset=-1.0),
    ),
    Family(
        transformer="ErnieImageTransformer2DModel",
        sites=(AttentionSite(r"layers\.\d+\.self_attention", ("ErnieImageSingleStreamAttnProcessor",)),),
        layout="image, text (padding masked)",
        tokens=layouts.ernie_image,
        text="text_bth",
        batches=GUIDED_OR_NOT,
    ),
    Family(
        transformer="Ideogram4Transformer2DModel",
        sites=(AttentionSite(r"layers\.\d+\.attention", ("Ideogram4AttnProcessor",)),),
        layout="text, image; the pipeline's other transformer sees no text and is left alone",
        timestep=BACKWARDS,
        tokens=layouts.ideogram_4,
        batches=((True,),),
    ),
    Family(
        transformer="JoyImageEditTransformer3DModel",
        sites=(AttentionSite(r"double_blocks\.\d+\.attn", ("JoyImageAttnProcessor",)),),
        layout="image, reference images, text",
        tokens=layouts.text_last,
    ),
    Family(
        transformer="JoyImageEditPlusTransformer3DModel",
        sites=(AttentionSite(r"double_blocks\.\d+\.attn", ("JoyImageEditPlusAttnProcessor",)),),
        layout="image, reference images, text (padding masked)",
        tokens=layouts.text_last,
    ),
    Family(
        transformer="MotifVideoTransformer3DModel",
        sites=(
            AttentionSite(DOUBLE, ("MotifVideoAttnProcessor2_0",)),
            AttentionSite(SINGLE, ("MotifVideoAttnProcessor2_0",), without_text="num_decoder_layers"),
        ),
        layout="video, first frame's embedding, text (padding masked); decoder blocks see no text",
        tokens=layouts.motif_video,
    ),
    Family(
        transformer="EasyAnimateTransformer3DModel",
        sites=(AttentionSite(ATTN1, ("EasyAnimateAttnProcessor2_0",)),),
        layout="text of both encoders, video",
        tokens=layouts.easy_animate,
    ),
    Family(
        transformer="NucleusMoEImageTransformer2DModel",
        sites=(AttentionSite(DOUBLE, ("NucleusMoEAttnProcessor2_0",)),),
        layout="image, text (padding masked), which has no queries; keys may be cached",
        timestep=THOUSANDTHS,
        tokens=layouts.text_last_unread,
    ),
    # Its scheduler counts as it does, from 0 to 1.
    Family(
        transformer="OmniGenTransformer2DModel",
        sites=(AttentionSite(r"layers\.\d+\.self_attn", ("OmniGenAttnProcessor2_0",)),),
        layout="text and reference images interleaved, a token of the time, image",
        timestep=BACKWARDS,
        tokens=layouts.omnigen,
        text="input_ids",
        batches=((True, False), (True, False, False)),
    ),
    Family(
        transformer="PRXTransformer2DModel",
        sites=(AttentionSite(r"blocks\.\d+\.attention", ("PRXAttnProcessor2_0",)),),
        layout="text (padding masked), which has no queries, image",
        timestep=THOUSANDTHS,
        tokens=layouts.text_first_unread,
    ),
    Family(
        transformer="Cosmos3OmniTransformer",
        sites=(AttentionSite(r"layers\.\d+\.self_attn", ("Cosmos3AttnProcessor",)),),
        layout="text, which reads itself alone, video; passes that draw sound or actions too are refused",
        timestep=Timestep("vision_timesteps", drawn=lambda levels, _: levels[:1]),
        tokens=layouts.cosmos_3,
        image="vision_tokens",
        text="input_ids",
    ),
    # A row of text has the level of the video that is drawn, one of a reference its own.
    Family(
        transformer="MiniMaxH3Transformer3DModel",
        sites=(AttentionSite(DOUBLE, ("MiniMaxH3AttnProcessor",)),),
        layout="text, reference images and videos, sound, which is neither, and video; the refiner is left alone",
        timestep=Timestep(
            scale=1000.0,
            backwards=True,
            drawn=lambda levels, arguments: levels[arguments["timestep_indices"][arguments["text_indices"][:1]]],
        ),
        tokens=layouts.minimax_h3,
    ),
)


def family_of(transformer: nn.Module) -> Family:
    """The row of a transformer.

    Raises:
        TacaError: a class that is in no row.
    """
    family = _row(transformer)
    if family is None:
        refused = next((kind.__name__ for kind in type(transformer).__mro__ if kind.__name__ in REFUSALS), None)
        if refused is not None:
            raise TacaError(f"{refused} {REFUSALS[refused]}.")
        known = ", ".join(family.transformer for family in FAMILIES)
        raise TacaError(
            f"TACA does not know {type(transformer).__name__}: pass a transformer of one of the classes {known}."
        )
    return family


def _classes(model: object) -> set[str]:
    return {kind.__name__ for kind in type(model).__mro__}


def _row(model: object) -> Family | None:
    names = _classes(model)
    return next((family for family in FAMILIES if family.transformer in names), None)


def latents_of(arguments: Mapping, family: Family) -> torch.Tensor:
    """The latents of a forward pass; of a list, those of one sample."""
    latents = arguments[family.image]
    while isinstance(latents, list | tuple):
        latents = latents[-1]
    return latents


PIPELINES = (DiffusionPipeline, ModularPipeline)


def transformer_of(model: object) -> nn.Module:
    """A transformer itself, that of a pipeline, or the one inside of what was put around it.

    A wrapper (`torch.compile`'s, DistributedDataParallel, FSDP, a model of peft) has what it calls as its only child,
    and calls it as a module, hooks included. A tuner of peft does not, around which a PeftModel is the one that calls.

    Raises:
        TacaError: a pipeline that has none, or a tuner of peft outside of a PeftModel.
    """
    transformer = getattr(model, "transformer", None) if isinstance(model, PIPELINES) else model
    if transformer is None:
        raise TacaError(
            f"{type(model).__name__} has no transformer for TACA to act on: pass a pipeline that has one, "
            "such as StableDiffusion3Pipeline."
        )
    around = None
    while isinstance(transformer, nn.Module) and _row(transformer) is None:
        children = list(transformer.children())
        if len(children) != 1:
            break
        if "BaseTuner" in _classes(transformer) and "PeftModel" not in _classes(around):
            raise TacaError(
                f"{type(transformer).__name__} of peft calls its transformer past the hooks that TACA relies on: pass "
                "a PeftModel, as `get_peft_model` gives it without `mixed`, or load the adapter by `add_adapter`."
            )
        around, transformer = transformer, children[0]
    return transformer


# What compilation, checkpointing and FSDP put around a block, in the names of what is inside.
_WRAPPERS = re.compile(r"\.(_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module)")


def attention_modules(transformer: nn.Module, family: Family) -> dict[nn.Module, AttentionSite]:
    """Every joint attention module of a transformer, in the order of the blocks.

    Raises:
        TacaError: there is none, or one has a processor that is not the stock one.
    """
    found = {}
    for site in family.sites:
        modules = [
            module
            for name, module in transformer.named_modules()
            if re.fullmatch(site.modules, _WRAPPERS.sub("", name))
        ]
        spared = transformer.config[site.without_text] if site.without_text else 0
        found.update(dict.fromkeys(modules[: len(modules) - spared], site))
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
        kind = type(module.processor)
        if kind.__name__ not in site.stock or not kind.__module__.startswith("diffusers."):
            raise TacaError(
                f"TACA replaces {site.stock[0]}, and does not support {kind.__name__}, which it found: {_remedy(kind)}."
            )


def _remedy(processor: type) -> str:
    """Where a pipeline relies on its own processor (PAG's, one that caches keys), the stock one would draw wrongly."""
    name = processor.__name__
    if "IPAdapter" in name:
        return "call `unload_ip_adapter()`"
    # The second is what is left where xformers was enabled once.
    chosen = name.startswith("XFormers") or name == "AttnProcessor2_0"
    if processor.__module__.startswith("diffusers.") and not chosen:
        return "draw without TACA, or with a pipeline that has the stock processors"
    return "put the stock processor back with `set_attn_processor`"
