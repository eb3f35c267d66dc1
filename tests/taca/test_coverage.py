"""Every transformer that diffusers exports is in the table, or refused for a reason that its attention proves."""

import inspect
from pathlib import Path

import diffusers
import pytest
import torch
from diffusers.models.embeddings import get_2d_rotary_pos_embed_lumina
from diffusers.models.modeling_utils import ModelMixin
from observed_taca import attention_calls, changed_tokens, joint_attention
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


KANDINSKY = {
    "in_text_dim": 16,
    "in_text_dim2": 16,
    "time_dim": 16,
    "model_dim": 24,
    "ff_dim": 16,
    "num_text_blocks": 1,
    "num_visual_blocks": 2,
    "axes_dims": (4, 4, 4),
}
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
    "AnyFlowTransformer3DModel": (
        WAN,
        lambda: video().transpose(1, 2),
        lambda: {name: torch.full((2, 2), 980.0, dtype=torch.float64) for name in ("timestep", "r_timestep")},
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
    "HunyuanDiT2DModel": (
        {
            "num_attention_heads": 2,
            "attention_head_dim": 8,
            "in_channels": 4,
            "patch_size": 2,
            "sample_size": 8,
            "hidden_size": 16,
            "num_layers": 2,
            "cross_attention_dim": 16,
            "cross_attention_dim_t5": 16,
            "pooled_projection_dim": 16,
            "text_len": TEXT_TOKENS,
            "text_len_t5": TEXT_TOKENS,
            "use_style_cond_and_image_meta_size": False,
        },
        image,
        lambda: {
            "text_embedding_mask": torch.ones(2, TEXT_TOKENS),
            "encoder_hidden_states_t5": embeds(),
            "text_embedding_mask_t5": torch.ones(2, TEXT_TOKENS),
        },
    ),
    "DreamLiteTransformer2DModel": ({**HEADS, "norm_num_groups": 4, "cross_attention_dim": 16}, image, dict),
    "Kandinsky5Transformer3DModel": (
        {
            **KANDINSKY,
        },
        lambda: torch.randn(2, 2, 4, 4, 4, dtype=torch.float64),
        lambda: {
            "pooled_projections": torch.randn(2, 16, dtype=torch.float64),
            "visual_rope_pos": (torch.arange(2), torch.arange(2), torch.arange(2)),
            "text_rope_pos": torch.arange(TEXT_TOKENS),
        },
    ),
    "Kandinsky6Transformer3DModel": (
        {
            "in_visual_dim": 4,
            "out_visual_dim": 4,
            **KANDINSKY,
            "visual_cond": False,
            "in_audio_dim": 4,
            "out_audio_dim": 4,
        },
        lambda: torch.randn(2, 2, 4, 4, 4, dtype=torch.float64),
        lambda: {"pooled_projections": torch.randn(2, 16, dtype=torch.float64)},
    ),
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
    "WanAnimateTransformer3DModel": (
        {
            **WAN,
            "latent_channels": 4,
            "in_channels": 12,
            "image_dim": None,
            "motion_encoder_size": 16,
            "motion_style_dim": 8,
            "motion_dim": 4,
            "motion_encoder_dim": 8,
            "face_encoder_hidden_dim": 8,
            "face_encoder_num_heads": 2,
            "inject_face_latents_blocks": 1,
            "motion_encoder_channel_sizes": {"4": 8, "8": 8, "16": 8},
        },
        lambda: torch.randn(2, 12, 3, 4, 4, dtype=torch.float64),
        lambda: {
            "pose_hidden_states": torch.randn(2, 4, 2, 4, 4, dtype=torch.float64),
            "face_pixel_values": torch.randn(2, 3, 5, 16, 16, dtype=torch.float64),
        },
    ),
}


def in_dtype(value: object, dtype: torch.dtype) -> object:
    return value.to(dtype) if torch.is_tensor(value) and value.is_floating_point() else value


# They embed the time in float32, whatever their weights are.
SINGLE = ("Kandinsky5Transformer3DModel", "Kandinsky6Transformer3DModel")


# An older diffusers lacks some of them.
@pytest.mark.parametrize("name", [name for name in CROSS if hasattr(diffusers, name)])
@torch.no_grad()
def test_no_image_query_meets_text_and_image_keys(name):
    config, latents, more = CROSS[name]
    torch.manual_seed(0)
    dtype = torch.float32 if name in SINGLE else torch.float64
    model = getattr(diffusers, name)(**config).to(dtype).eval()
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
    arguments = {key: in_dtype(value, dtype) for key, value in arguments.items()}
    other = arguments | {"encoder_hidden_states": embeds().to(dtype)}
    assert not torch.equal(predict(model, arguments), predict(model, other))
    assert not joint_attention(
        lambda given: predict(model, given), arguments, other, arguments | {"hidden_states": latents().to(dtype)}
    )
    with pytest.raises(ValueError, match=f"{name} reads the prompt by cross-attention"):
        family_of(model)


SMALL = {"num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 8}
NO_PROMPT = {
    "DiTTransformer2DModel": (
        {**SMALL, "num_layers": 2, "sample_size": 8},
        {"timestep": torch.tensor([980, 980]), "class_labels": torch.tensor([1, 2])},
    ),
    "TransformerTemporalModel": ({**SMALL, "norm_num_groups": 4}, {"num_frames": 2}),
}


@pytest.mark.parametrize("name", NO_PROMPT)
def test_every_token_that_attends_is_of_the_image(name):
    config, more = NO_PROMPT[name]
    torch.manual_seed(0)
    model = getattr(diffusers, name)(**config).eval()
    one, other = (
        attention_calls(lambda given: predict(model, given), {"hidden_states": torch.randn(2, 8, 8, 8), **more}, {})
        for _ in range(2)
    )
    assert len(one) == len(other) == 2
    assert all(changed_tokens(key, other_key).all() for (_, key), (_, other_key) in zip(one, other, strict=True))
    with pytest.raises(ValueError, match=f"{name} has no prompt"):
        family_of(model)
