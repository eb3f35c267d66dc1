"""A FLUX.1 pipeline of the real classes on disk: tokenizers, T5 and autoencoder of the tiny base, the rest random."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from tests.tiny_base import tiny_base


@cache
def tiny_flux() -> Path:
    """The pipeline's folder, written once in a test session."""
    import torch
    from diffusers import (
        FlowMatchEulerDiscreteScheduler,
        FluxPipeline,
        FluxTransformer2DModel,
        StableDiffusion3Pipeline,
    )
    from transformers import CLIPTextConfig, CLIPTextModel

    parts = StableDiffusion3Pipeline.from_pretrained(tiny_base(), dtype=torch.float32)
    torch.manual_seed(0)
    text_config = CLIPTextConfig(**parts.text_encoder.config.to_dict())
    transformer = FluxTransformer2DModel(
        in_channels=4 * parts.vae.config.latent_channels,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=4,
        joint_attention_dim=parts.text_encoder_3.config.d_model,
        pooled_projection_dim=text_config.hidden_size,
        guidance_embeds=True,
        axes_dims_rope=(4, 6, 6),
    )
    pipe = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        vae=parts.vae,
        text_encoder=CLIPTextModel(text_config),
        tokenizer=parts.tokenizer,
        text_encoder_2=parts.text_encoder_3,
        tokenizer_2=parts.tokenizer_3,
        transformer=transformer,
    )
    folder = Path(mkdtemp(prefix="taca-tiny-flux-"))
    pipe.save_pretrained(folder)
    return folder
