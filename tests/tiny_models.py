"""One tiny random transformer of each family, its inputs, and Eq. 10 applied to it from outside."""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import tiny_sd3
import torch
from diffusers import (
    CogVideoXTransformer3DModel,
    Flux2Transformer2DModel,
    FluxTransformer2DModel,
    HunyuanVideoTransformer3DModel,
    QwenImageTransformer2DModel,
)

TEXT_TOKENS = 6
# Heads of 8, rotary embeddings over three or four axes.
AXES = (4, 2, 2)


@dataclass(frozen=True)
class Case:
    """A family's tiny model: `inputs(timesteps, dtype, seed)` gives arguments of a forward pass, 0..1000 in."""

    name: str
    build: Callable[[], torch.nn.Module]
    arguments: Callable[[int, Callable], dict]
    image_tokens: int
    text_first: bool
    timestep_scale: float = 1.0
    # Which text tokens are padding, by sample and token: none, or every sample's last ones.
    padded: bool = False
    text_tokens: int = TEXT_TOKENS

    def model(self) -> torch.nn.Module:
        torch.manual_seed(0)
        return self.build().eval()

    def inputs(self, timesteps: list[float], dtype: torch.dtype = torch.float32, seed: int = 1) -> dict:
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

        timestep = torch.tensor(timesteps, dtype=torch.float32) / self.timestep_scale
        return {**self.arguments(len(timesteps), normal), "timestep": timestep}

    @property
    def is_text(self) -> torch.Tensor:
        position = torch.arange(self.image_tokens + self.text_tokens)
        return position < self.text_tokens if self.text_first else position >= self.image_tokens


def predict(model: torch.nn.Module, arguments: dict) -> torch.Tensor:
    return model(**arguments, return_dict=False)[0]


@contextmanager
def explicit_taca(case: Case, gamma: float | torch.Tensor):
    """Eq. 10 logit by logit in the stock model, whose joint attention alone sees image and text tokens."""

    def attention(query, key, value, attn_mask=None, **_):
        joint = key.shape[-2] == len(case.is_text)
        factor = torch.as_tensor(gamma if joint else 1.0, dtype=torch.float64, device=key.device)
        is_text = (case.is_text if joint else torch.zeros(key.shape[-2], dtype=torch.bool)).to(key.device)
        logits = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        logits = torch.where(~is_text[:, None] & is_text[None, :], factor * logits, logits)
        if attn_mask is not None:
            logits = logits.masked_fill(~attn_mask, -torch.inf)
        return logits.softmax(dim=-1) @ value

    with patch("torch.nn.functional.scaled_dot_product_attention", attention):
        yield


def _flux() -> FluxTransformer2DModel:
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=12,
        pooled_projection_dim=10,
        axes_dims_rope=AXES,
    )


def _grid(height: int, width: int, axes: int) -> torch.Tensor:
    """Positions (height * width, axes) of image tokens, the row and column in the axes after the first."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    ids = torch.zeros(height * width, axes)
    ids[:, 1], ids[:, 2] = rows.flatten(), columns.flatten()
    return ids


def _flux_arguments(batch: int, normal) -> dict:
    return {
        "hidden_states": normal(batch, 16, 4),
        "encoder_hidden_states": normal(batch, TEXT_TOKENS, 12),
        "pooled_projections": normal(batch, 10),
        "img_ids": _grid(4, 4, 3),
        "txt_ids": torch.zeros(TEXT_TOKENS, 3),
    }


def _flux2() -> Flux2Transformer2DModel:
    return Flux2Transformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=12,
        timestep_guidance_channels=16,
        axes_dims_rope=(2, 2, 2, 2),
        guidance_embeds=False,
    )


def _flux2_arguments(batch: int, normal) -> dict:
    return {
        "hidden_states": normal(batch, 16, 4),
        "encoder_hidden_states": normal(batch, TEXT_TOKENS, 12),
        "img_ids": _grid(4, 4, 4)[None],
        "txt_ids": torch.zeros(1, TEXT_TOKENS, 4),
    }


def _qwen() -> QwenImageTransformer2DModel:
    return QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=12,
        axes_dims_rope=AXES,
    )


def _qwen_arguments(batch: int, normal) -> dict:
    return {
        "hidden_states": normal(batch, 16, 16),
        "encoder_hidden_states": normal(batch, TEXT_TOKENS, 12),
        "img_shapes": [[(1, 4, 4)]] * batch,
    }


def _text_mask(batch: int) -> torch.Tensor:
    """The last text tokens of every sample are padding, of each sample another number."""
    lengths = TEXT_TOKENS - 1 - torch.arange(batch) % 3
    return torch.arange(TEXT_TOKENS)[None, :] < lengths[:, None]


def _qwen_padded_arguments(batch: int, normal) -> dict:
    return {**_qwen_arguments(batch, normal), "encoder_hidden_states_mask": _text_mask(batch)}


def _cogvideox(**overrides) -> CogVideoXTransformer3DModel:
    config = {
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "in_channels": 4,
        "out_channels": 4,
        "time_embed_dim": 8,
        "text_embed_dim": 12,
        "num_layers": 2,
        "sample_width": 4,
        "sample_height": 4,
        "sample_frames": 5,
        "max_text_seq_length": TEXT_TOKENS,
    }
    return CogVideoXTransformer3DModel(**{**config, **overrides})


def _cogvideox_arguments(batch: int, normal) -> dict:
    return {
        "hidden_states": normal(batch, 2, 4, 4, 4),
        "encoder_hidden_states": normal(batch, TEXT_TOKENS, 12),
    }


def _cogvideox_rotary_arguments(batch: int, normal) -> dict:
    """With rotary embedding, as CogVideoX-5b has it."""
    angle = torch.arange(8, dtype=torch.float64)[:, None] * torch.tensor([1.0, 0.3, 0.1, 0.03]).repeat_interleave(2)
    return {**_cogvideox_arguments(batch, normal), "image_rotary_emb": (angle.cos(), angle.sin())}


def _hunyuan() -> HunyuanVideoTransformer3DModel:
    return HunyuanVideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=1,
        num_single_layers=2,
        num_refiner_layers=1,
        patch_size=2,
        guidance_embeds=False,
        text_embed_dim=12,
        pooled_projection_dim=10,
        rope_axes_dim=AXES,
    )


def _hunyuan_arguments(batch: int, normal) -> dict:
    return {
        "hidden_states": normal(batch, 4, 2, 4, 4),
        "encoder_hidden_states": normal(batch, TEXT_TOKENS, 12),
        "encoder_attention_mask": _text_mask(batch).long(),
        "pooled_projections": normal(batch, 10),
    }


def _sd3_arguments(batch: int, normal) -> dict:
    return {
        "hidden_states": normal(batch, 4, 8, 8),
        "encoder_hidden_states": normal(batch, tiny_sd3.TEXT_TOKENS, 12),
        "pooled_projections": normal(batch, 10),
    }


CASES = (
    Case("sd3.5", tiny_sd3.transformer, _sd3_arguments, 16, text_first=False, text_tokens=tiny_sd3.TEXT_TOKENS),
    Case(
        "sd3",
        lambda: tiny_sd3.transformer(dual_attention_layers=(), qk_norm=None),
        _sd3_arguments,
        16,
        text_first=False,
        text_tokens=tiny_sd3.TEXT_TOKENS,
    ),
    Case("flux", _flux, _flux_arguments, 16, text_first=True, timestep_scale=1000.0),
    Case("flux2", _flux2, _flux2_arguments, 16, text_first=True, timestep_scale=1000.0),
    Case("qwenimage", _qwen, _qwen_arguments, 16, text_first=True, timestep_scale=1000.0),
    Case("qwenimage-padded", _qwen, _qwen_padded_arguments, 16, text_first=True, timestep_scale=1000.0, padded=True),
    Case("cogvideox", _cogvideox, _cogvideox_arguments, 8, text_first=True),
    Case(
        "cogvideox-rotary",
        lambda: _cogvideox(use_rotary_positional_embeddings=True),
        _cogvideox_rotary_arguments,
        8,
        text_first=True,
    ),
    Case("hunyuanvideo", _hunyuan, _hunyuan_arguments, 8, text_first=False, padded=True),
)
