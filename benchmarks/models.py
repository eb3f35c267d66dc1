"""Whole transformers with random weights, and one sample at 1024 x 1024 pixels for them."""

import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel

DTYPE = torch.bfloat16
# Joint attention of each model: image tokens, text tokens, head width, and whether text comes first.
SIZES = {"FLUX": (4096, 512, 128, True), "SD3.5": (4096, 333, 64, False)}


def transformer(name: str, heads: int | None, layers: int | None) -> torch.nn.Module:
    """FLUX.1-dev's or SD3.5-medium's, with fewer heads and blocks where they are given.

    Args:
        layers: double-stream blocks; FLUX then has twice as many single-stream ones.
    """
    torch.manual_seed(0)
    if name == "FLUX":
        blocks = {} if layers is None else {"num_layers": layers, "num_single_layers": 2 * layers}
        return FluxTransformer2DModel(num_attention_heads=heads or 24, guidance_embeds=True, **blocks)
    layers = layers or 24
    return SD3Transformer2DModel(
        sample_size=128,
        pos_embed_max_size=384,
        num_layers=layers,
        num_attention_heads=heads or 24,
        caption_projection_dim=64 * (heads or 24),
        dual_attention_layers=tuple(range(layers * 13 // 24)) or (0,),
        qk_norm="rms_norm",
    )


def inputs(name: str, timestep: float, dtype: torch.dtype, device: str, size: tuple | None = None) -> dict:
    """Arguments of a forward pass of `transformer(name, ...)`; the timestep is on the 0..1000 scale.

    Args:
        size: as one of `SIZES`; None: the model's.
    """

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, dtype=dtype, device=device)

    image_tokens, text_tokens, *_ = size or SIZES[name]
    if name == "FLUX":
        return {
            "hidden_states": normal(1, image_tokens, 64),
            "encoder_hidden_states": normal(1, text_tokens, 4096),
            "pooled_projections": normal(1, 768),
            "guidance": torch.tensor([3.5], device=device),
            "timestep": torch.tensor([timestep / 1000], device=device),
            "img_ids": torch.zeros(image_tokens, 3, device=device),
            "txt_ids": torch.zeros(text_tokens, 3, device=device),
        }
    return {
        "hidden_states": normal(1, 16, 128, 128),
        "encoder_hidden_states": normal(1, text_tokens, 4096),
        "pooled_projections": normal(1, 2048),
        "timestep": torch.tensor([timestep], device=device),
    }


def schedule(steps: int = 30) -> list[float]:
    """FLUX.1-dev's timesteps for an image of 4096 tokens (sigmas from 1 to 1 / steps, shifted by e^1.15)."""
    shift = torch.tensor(1.15).exp()
    sigmas = torch.linspace(1, 1 / steps, steps)
    return (1000 * shift * sigmas / (1 + (shift - 1) * sigmas)).tolist()
