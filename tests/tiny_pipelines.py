"""Real pipelines around tiny transformers; they are given prompt embeddings and return latents."""

import inspect

import torch
from diffusers import (
    AutoencoderKL,
    CogVideoXDDIMScheduler,
    CogVideoXPipeline,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    QwenImagePipeline,
)
from tiny_models import CASES

TEXT_TOKENS = 6


def flux(kind: type[FluxPipeline] = FluxPipeline) -> FluxPipeline:
    """FLUX.1 as in `tiny_models`, with the 16 channels that its pipelines cannot do without."""
    config = next(case for case in CASES if case.name == "flux").model().config
    torch.manual_seed(0)
    return pipeline(kind, FluxTransformer2DModel(**{**config, "in_channels": 16}).eval())


def qwenimage() -> QwenImagePipeline:
    return pipeline(QwenImagePipeline, next(case for case in CASES if case.name == "qwenimage").model())


def cogvideox() -> CogVideoXPipeline:
    model = next(case for case in CASES if case.name == "cogvideox").model()
    return pipeline(CogVideoXPipeline, model, CogVideoXDDIMScheduler())


def autoencoder() -> AutoencoderKL:
    """Of a factor of 8 and four channels."""
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    sizes = {"block_out_channels": (4,) * 4, "norm_num_groups": 2, "latent_channels": 4, "shift_factor": 0.0}
    return AutoencoderKL(**blocks, **sizes).eval()


def draw(pipe, steps: int = 6, guidance: float = 3.0, **options) -> torch.Tensor:
    """Latents (1, 16, 16) of one image by FLUX.1 or Qwen-Image, with two calls a step where there is guidance."""
    generator = torch.Generator().manual_seed(2)
    prompt, negative = torch.randn(2, 1, TEXT_TOKENS, 12, generator=generator)
    embeddings = {"prompt_embeds": prompt, "negative_prompt_embeds": negative}
    if not isinstance(pipe, QwenImagePipeline):
        pooled, negative_pooled = torch.randn(2, 1, 10, generator=generator)
        embeddings |= {"pooled_prompt_embeds": pooled, "negative_pooled_prompt_embeds": negative_pooled}
    else:
        whole = torch.ones(1, TEXT_TOKENS, dtype=torch.long)
        embeddings |= {"prompt_embeds_mask": whole, "negative_prompt_embeds_mask": whole}
    return pipe(
        **embeddings,
        true_cfg_scale=guidance,
        height=64,
        width=64,
        num_inference_steps=steps,
        generator=generator,
        output_type="latent",
        **options,
    ).images


def draw_video(pipe: CogVideoXPipeline, steps: int = 6, guidance: float = 3.0, **options) -> torch.Tensor:
    """Latents of one video of two latent frames."""
    generator = torch.Generator().manual_seed(2)
    prompt, negative = torch.randn(2, 1, TEXT_TOKENS, 12, generator=generator)
    return pipe(
        prompt_embeds=prompt,
        negative_prompt_embeds=negative,
        guidance_scale=guidance,
        height=32,
        width=32,
        num_frames=5,
        num_inference_steps=steps,
        generator=generator,
        output_type="latent",
        **options,
    ).frames


def pipeline(kind: type, transformer: torch.nn.Module, scheduler: object | None = None, **components: object):
    """Without text encoders and autoencoder."""
    parts = [name for name in inspect.signature(kind.__init__).parameters if name != "self"]
    scheduler = scheduler or FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    pipe = kind(**{**dict.fromkeys(parts), "transformer": transformer, "scheduler": scheduler, **components})
    pipe.set_progress_bar_config(disable=True)
    return pipe
