"""Trains the transformer together with its text encoders by flow matching."""

from dataclasses import dataclass

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from lab.models.builtin.config import BuiltinConfig
from lab.models.builtin.dataset import CAPTIONS_PER_SCENE, Dataset
from lab.models.builtin.optimization import train


@dataclass
class TextEncoders:
    """The pipeline's three text encoders and their tokenizers."""

    clip_1: torch.nn.Module
    clip_2: torch.nn.Module
    t5: torch.nn.Module
    clip_tokenizer: object
    t5_tokenizer: object

    def tokenize(self, prompts: list[str], config: BuiltinConfig) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids for CLIP (B, 8) and T5 (B, 8), padded as the pipeline pads them."""
        arguments = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
        clip = self.clip_tokenizer(prompts, max_length=config.clip_max_length, **arguments).input_ids
        t5 = self.t5_tokenizer(prompts, max_length=config.t5_max_length, **arguments).input_ids
        return clip, t5

    def encode(self, clip_ids: torch.Tensor, t5_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Prompt embeddings (B, 16, 128) and pooled ones (B, 128), as the pipeline makes them."""
        outputs = [encoder(clip_ids, output_hidden_states=True) for encoder in (self.clip_1, self.clip_2)]
        clip = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
        pooled = torch.cat([output.text_embeds for output in outputs], dim=-1)
        return torch.cat([clip, self.t5(t5_ids)[0]], dim=1), pooled


def train_transformer(transformer, encoders: TextEncoders, data: Dataset, latents, config: BuiltinConfig, work, log):
    """Velocity MSE at timesteps spread as the scheduler's shift spreads them; captions are dropped for guidance."""
    clip_ids, t5_ids = encoders.tokenize([text for texts in data.captions for text in texts], config)
    empty = [ids[0] for ids in encoders.tokenize([""], config)]

    def loss_of(generator, step):
        picture, caption, dropped = _draw(len(latents), config, generator)
        tokens = [
            torch.where(dropped[:, None], blank, ids[picture * CAPTIONS_PER_SCENE + caption])
            for blank, ids in zip(empty, (clip_ids, t5_ids), strict=True)
        ]
        prompt_embeds, pooled = encoders.encode(*tokens)
        clean = latents[picture]
        noise = torch.randn(clean.shape, generator=generator)
        sigma = _sigmas(config, generator)
        noisy = torch.lerp(clean, noise, sigma[:, None, None, None])
        with torch.autocast("cpu", torch.bfloat16):
            velocity = transformer(
                hidden_states=noisy,
                timestep=1000 * sigma,
                encoder_hidden_states=prompt_embeds,
                pooled_projections=pooled,
            ).sample
        return (velocity.float() - (noise - clean)).square().mean()

    # On CPU the fused kernel's backward pass is the slowest part of a step; plain products are faster at 80 tokens.
    with sdpa_kernel(SDPBackend.MATH):
        _minimise(transformer, encoders, loss_of, config, work, log)


def _minimise(transformer, encoders, loss_of, config, work, log):
    train(
        "transformer",
        {"transformer": transformer, "clip_1": encoders.clip_1, "clip_2": encoders.clip_2, "t5": encoders.t5},
        loss_of,
        steps=config.transformer_steps,
        learning_rate=config.transformer_learning_rate,
        seed=config.seed + 1,
        work=work,
        log=log,
        matrices=_hidden_matrices(transformer),
        matrix_learning_rate=config.matrix_learning_rate,
    )


def _hidden_matrices(transformer) -> list[torch.nn.Parameter]:
    """The blocks' weight matrices: with Muon on them the loss falls three times as fast as with AdamW alone."""
    return [p for p in transformer.transformer_blocks.parameters() if p.ndim == 2]


def _draw(pictures: int, config: BuiltinConfig, generator):
    batch = (config.batch_size,)
    picture = torch.randint(pictures, batch, generator=generator)
    caption = torch.randint(CAPTIONS_PER_SCENE, batch, generator=generator)
    dropped = torch.rand(batch, generator=generator) < config.caption_dropout
    return picture, caption, dropped


def _sigmas(config: BuiltinConfig, generator) -> torch.Tensor:
    """One noise level a sample: stratified uniform, then the scheduler's shift."""
    batch = config.batch_size
    uniform = (torch.arange(batch) + torch.rand(batch, generator=generator)) / batch
    return config.shift * uniform / (1 + (config.shift - 1) * uniform)
