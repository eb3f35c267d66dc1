"""Every transformer that diffusers exports is in the table, or refused for a reason that its attention proves."""

import inspect
from pathlib import Path

import diffusers
import pytest
import torch
from diffusers.models.embeddings import get_2d_rotary_pos_embed_lumina
from diffusers.models.modeling_utils import ModelMixin
from observed_taca import joint_attention
from tiny_families import TEXT_TOKENS, predict

from taca.families import FAMILIES, family_of
from taca.refusals import REFUSALS


def exported() -> set[str]:
    names = diffusers._import_structure["models"]
    kinds = {name: getattr(diffusers, name, None) for name in names}
    return {
        name
        for name, kind in kinds.items()
        if inspect.isclass(kind)
        and issubclass(kind, ModelMixin)
        and kind.__module__.startswith("diffusers.models.transformers.")
    }


def test_no_class_is_unlisted_and_none_is_listed_twice():
    taken = {family.transformer for family in FAMILIES}
    # An older diffusers lacks some of them.
    assert exported() == {name for name in taken | set(REFUSALS) if hasattr(diffusers, name)}
    assert not taken & set(REFUSALS)


def test_the_table_of_the_documentation_is_that_of_the_code():
    page = (Path(__file__).parents[2] / "docs/library.md").read_text()
    rows = [f"| `{family.transformer}` | {family.layout} |" for family in FAMILIES]
    assert "\n".join(rows) in page


def embeds(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, TEXT_TOKENS, 16, dtype=torch.float64)


def video() -> torch.Tensor:
    return torch.randn(2, 4, 2, 4, 4, dtype=torch.float64)


def image() -> torch.Tensor:
    return torch.randn(2, 4, 8, 8, dtype=torch.float64)


def rows() -> torch.Tensor:
    """A video of two frames of 16 tokens."""
    return torch.randn(2, 32, 4, dtype=torch.float64)


HEADS = {"num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 4, "out_channels": 4, "num_layers": 2}
WIDE = {**HEADS, "attention_head_dim": 12}
READ = {"cross_attention_dim": 16, "caption_channels": 16}
WAN = {**WIDE, "text_dim": 16, "freq_dim": 8, "ffn_dim": 16}
SANA = {**HEADS, **READ, "num_cross_attention_heads": 2, "cross_attention_head_dim": 8}
# What the class is built with, its latents, and what else a pass of it is given.
CROSS = {
    "WanTransformer3DModel": (WAN, video, dict),
    "SkyReelsV2Transformer3DModel": (WAN, video, dict),
    "ChronoEditTransformer3DModel": (WAN, video, dict),
    "WanVACETransformer3DModel": (
        {**WAN, "vace_layers": [0], "vace_in_channels": 4},
        video,
        lambda: {"control_hidden_states": video()},
    ),
    "SanaTransformer2DModel": ({**SANA, "sample_size": 8}, image, dict),
    "SanaVideoTransformer3DModel": (
        {**SANA, **WIDE, "cross_attention_head_dim": 12, "cross_attention_dim": 24, "sample_size": 4},
        video,
        dict,
    ),
    "PixArtTransformer2DModel": (
        {**HEADS, **READ, "norm_num_groups": 4, "sample_size": 8, "use_additional_conditions": False},
        image,
        lambda: {"added_cond_kwargs": {"resolution": None, "aspect_ratio": None}},
    ),
    "Transformer2DModel": ({**HEADS, "norm_num_groups": 4, "cross_attention_dim": 16}, image, dict),
    "LTXVideoTransformer3DModel": (
        {**HEADS, **READ},
        rows,
        lambda: {"encoder_attention_mask": torch.ones(2, TEXT_TOKENS), "num_frames": 2, "height": 4, "width": 4},
    ),
    "CosmosTransformer3DModel": (
        {
            **WIDE,
            "mlp_ratio": 2,
            "text_embed_dim": 16,
            "adaln_lora_dim": 4,
            "max_size": (4, 8, 8),
            "rope_scale": (2.0, 1.0, 1.0),
            "concat_padding_mask": False,
            "extra_pos_embed_type": None,
        },
        video,
        dict,
    ),
    "LuminaNextDiT2DModel": (
        {
            "sample_size": 8,
            "in_channels": 4,
            "hidden_size": 16,
            "num_layers": 2,
            "num_attention_heads": 2,
            "num_kv_heads": 2,
            "multiple_of": 8,
            "cross_attention_dim": 16,
        },
        image,
        lambda: {
            "encoder_mask": torch.ones(2, TEXT_TOKENS),
            "image_rotary_emb": get_2d_rotary_pos_embed_lumina(8, 384, 384),
            "cross_attention_kwargs": {},
        },
    ),
    "AllegroTransformer3DModel": (
        {
            **WIDE,
            "cross_attention_dim": 24,
            "caption_channels": 16,
            "sample_width": 4,
            "sample_height": 4,
            "sample_frames": 2,
        },
        video,
        lambda: {
            "attention_mask": torch.ones(2, 2, 4, 4),
            "encoder_attention_mask": torch.ones(2, TEXT_TOKENS),
            "image_rotary_emb": None,
        },
    ),
    "HeliosTransformer3DModel": (
        {**WAN, "rope_dim": (4, 4, 4), "has_multi_term_memory_patch": False, "zero_history_timestep": False},
        video,
        dict,
    ),
    "LatteTransformer3DModel": (
        {
            **HEADS,
            "cross_attention_dim": 16,
            "caption_channels": 16,
            "sample_size": 8,
            "patch_size": 2,
            "video_length": 2,
            "norm_type": "ada_norm_single",
        },
        lambda: torch.randn(2, 4, 2, 8, 8, dtype=torch.float64),
        dict,
    ),
    "DreamLiteTransformer2DModel": ({**HEADS, "norm_num_groups": 4, "cross_attention_dim": 16}, image, dict),
    "LTX2VideoTransformer3DModel": (
        {
            **HEADS,
            "cross_attention_dim": 16,
            "caption_channels": 16,
            "audio_in_channels": 4,
            "audio_out_channels": 4,
            "audio_num_attention_heads": 2,
            "audio_attention_head_dim": 8,
            "audio_cross_attention_dim": 16,
        },
        rows,
        lambda: {
            "audio_hidden_states": torch.randn(2, 5, 4, dtype=torch.float64),
            "audio_encoder_hidden_states": embeds(),
            "num_frames": 2,
            "height": 4,
            "width": 4,
            "audio_num_frames": 5,
        },
    ),
}


@pytest.mark.parametrize("name", CROSS)
@torch.no_grad()
def test_no_image_query_meets_text_and_image_keys(name):
    config, latents, more = CROSS[name]
    torch.manual_seed(0)
    model = getattr(diffusers, name)(**config).double().eval()
    for weight in model.parameters():
        # Zeros, with which some layers begin, would hide what attention reads.
        if not weight.any():
            weight.normal_(std=0.1)
    arguments = {
        "hidden_states": latents(),
        "encoder_hidden_states": embeds(),
        "timestep": torch.tensor([980.0, 980.0], dtype=torch.float64),
        **more(),
    }
    other = arguments | {"encoder_hidden_states": embeds()}
    assert not torch.equal(predict(model, arguments), predict(model, other))
    assert not joint_attention(
        lambda given: predict(model, given), arguments, other, arguments | {"hidden_states": latents()}
    )
    with pytest.raises(ValueError, match=f"{name} reads the prompt by cross-attention"):
        family_of(model)
