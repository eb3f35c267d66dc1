"""Tiny random models of the real classes, and Eq. 10 applied to them from outside, for the tests of the library."""

from contextlib import contextmanager
from unittest.mock import patch

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

from taca.attention import explicit_attention

IMAGE_TOKENS, TEXT_TOKENS = 16, 5


def transformer(**overrides) -> SD3Transformer2DModel:
    """Three blocks as SD3.5-medium has them: with image-only attention, plain, and without text output."""
    torch.manual_seed(0)
    config = {
        "sample_size": 8,
        "patch_size": 2,
        "in_channels": 4,
        "out_channels": 4,
        "num_layers": 3,
        "attention_head_dim": 8,
        "num_attention_heads": 2,
        "joint_attention_dim": 12,
        "caption_projection_dim": 16,
        "pooled_projection_dim": 10,
        "pos_embed_max_size": 8,
        "dual_attention_layers": (0,),
        "qk_norm": "rms_norm",
    }
    return SD3Transformer2DModel(**{**config, **overrides}).eval()


def inputs(timesteps: list[float], dtype: torch.dtype = torch.float32, seed: int = 1) -> dict[str, torch.Tensor]:
    """Arguments of a forward pass, one sample for each timestep."""
    generator = torch.Generator().manual_seed(seed)
    batch = len(timesteps)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    return {
        "hidden_states": normal(batch, 4, 8, 8),
        "encoder_hidden_states": normal(batch, TEXT_TOKENS, 12),
        "pooled_projections": normal(batch, 10),
        "timestep": torch.tensor(timesteps, dtype=torch.float32),
    }


def predict(model: SD3Transformer2DModel, arguments: dict[str, torch.Tensor]) -> torch.Tensor:
    return model(**arguments, return_dict=False)[0]


@contextmanager
def explicit_taca(gamma: float | torch.Tensor):
    """Eq. 10 logit by logit in the stock model, whose joint attention alone sees image and text tokens."""
    is_text = torch.arange(IMAGE_TOKENS + TEXT_TOKENS) >= IMAGE_TOKENS

    def attention(query, key, value, **_):
        if key.shape[-2] == len(is_text):
            return explicit_attention(query, key, value, is_text, gamma)
        return explicit_attention(query, key, value, is_text[: key.shape[-2]], 1.0)

    with patch("torch.nn.functional.scaled_dot_product_attention", attention):
        yield


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return ((actual - expected).norm() / expected.norm()).item()


def pipeline(model: SD3Transformer2DModel) -> StableDiffusion3Pipeline:
    """A pipeline around `model`, to be given prompt embeddings."""
    torch.manual_seed(0)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
        block_out_channels=(8,),
        norm_num_groups=4,
        latent_channels=4,
        sample_size=8,
        shift_factor=0.0,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    text_parts = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "text_encoder_3", "tokenizer_3")
    pipe = StableDiffusion3Pipeline(
        transformer=model,
        vae=vae,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        **dict.fromkeys(text_parts),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(pipe: StableDiffusion3Pipeline, steps: int = 30, **options) -> torch.Tensor:
    """One image (1, 3, 8, 8) with guidance, from a fixed seed and prompt."""
    generator = torch.Generator().manual_seed(2)
    prompt, negative = torch.randn(2, 1, TEXT_TOKENS, 12, generator=generator)
    pooled, negative_pooled = torch.randn(2, 1, 10, generator=generator)
    return pipe(
        prompt_embeds=prompt,
        negative_prompt_embeds=negative,
        pooled_prompt_embeds=pooled,
        negative_pooled_prompt_embeds=negative_pooled,
        num_inference_steps=steps,
        height=8,
        width=8,
        generator=generator,
        output_type="pt",
        **options,
    ).images
