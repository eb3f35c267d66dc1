"""Real pipelines around tiny transformers; they are given prompt embeddings and return latents."""

import inspect

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel, QwenImagePipeline
from tiny_models import CASES

TEXT_TOKENS = 6


def flux() -> FluxPipeline:
    """FLUX.1 as in `tiny_models`, with the 16 channels that its pipeline cannot do without."""
    config = next(case for case in CASES if case.name == "flux").model().config
    torch.manual_seed(0)
    return _pipeline(FluxPipeline, FluxTransformer2DModel(**{**config, "in_channels": 16}).eval())


def qwenimage() -> QwenImagePipeline:
    return _pipeline(QwenImagePipeline, next(case for case in CASES if case.name == "qwenimage").model())


def draw(pipe: FluxPipeline | QwenImagePipeline, steps: int = 6, guidance: float = 3.0) -> torch.Tensor:
    """Latents (1, 16, 16) of one image, drawn with two calls a step where there is guidance."""
    generator = torch.Generator().manual_seed(2)
    prompt, negative = torch.randn(2, 1, TEXT_TOKENS, 12, generator=generator)
    embeddings = {"prompt_embeds": prompt, "negative_prompt_embeds": negative}
    if isinstance(pipe, FluxPipeline):
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
    ).images


def _pipeline(kind: type, transformer: torch.nn.Module):
    """Without text encoders and autoencoder."""
    parts = [name for name in inspect.signature(kind.__init__).parameters if name != "self"]
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    pipe = kind(**{**dict.fromkeys(parts), "transformer": transformer, "scheduler": scheduler})
    pipe.set_progress_bar_config(disable=True)
    return pipe
