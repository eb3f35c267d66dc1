"""Trains every part of the built-in base, one after the other, and puts them together."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import StableDiffusion3Pipeline

from lab.models.builtin import networks
from lab.models.builtin.autoencoder import encode_all, fix_scale, train_autoencoder
from lab.models.builtin.clip import train_clip
from lab.models.builtin.config import BuiltinConfig
from lab.models.builtin.dataset import draw_dataset
from lab.models.builtin.text_to_image import TextEncoders, train_transformer
from lab.models.builtin.tokenizers import clip_tokenizer, t5_tokenizer
from lab.world.vocabulary import phrases, words


@dataclass
class BuiltinBase:
    """The trained base: the pipeline, and the CLIP model that measures prompt similarity."""

    pipeline: StableDiffusion3Pipeline
    clip: torch.nn.Module


def train_builtin(config: BuiltinConfig, work: Path, log: Callable[[dict, int], None]) -> BuiltinBase:
    """Trains the base from nothing; equal config, thread count and machine give equal bits.

    Args:
        work: folder for checkpoints, from which a killed run goes on.
        log: takes a dict of metrics and a step.
    """
    vae = seeded(config, networks.autoencoder)
    encoders = _text_encoders(config)
    transformer = seeded(config, networks.transformer)
    data = draw_dataset(config.scenes, config.seed)
    train_autoencoder(vae, data, config, work, log)
    latents = fix_scale(vae, encode_all(vae, data))
    train_transformer(transformer, encoders, data, latents, config, work, log)
    clip = train_clip(data, encoders.clip_tokenizer, config, work, log)
    return BuiltinBase(_assemble(vae, encoders, transformer, config), clip)


def seeded(config: BuiltinConfig, build: Callable, *arguments) -> torch.nn.Module:
    """Builds a part from the seed alone, whatever was built before it."""
    torch.manual_seed(config.seed)
    return build(config, *arguments)


def _text_encoders(config: BuiltinConfig) -> TextEncoders:
    clip_tok = clip_tokenizer(words(), phrases(), config.clip_max_length)
    t5_tok = t5_tokenizer(words(), phrases(), config.t5_max_length)
    torch.manual_seed(config.seed)
    clips = [networks.clip_text_encoder(config, clip_tok) for _ in range(2)]
    return TextEncoders(*clips, networks.t5_text_encoder(config, t5_tok), clip_tok, t5_tok)


def _assemble(vae, encoders: TextEncoders, transformer, config: BuiltinConfig) -> StableDiffusion3Pipeline:
    # Half precision with eleven significant bits: what the trained weights lose here, every later load has lost too.
    return StableDiffusion3Pipeline(
        transformer=transformer.half().eval(),
        vae=vae.half().eval(),
        scheduler=networks.scheduler(config),
        text_encoder=encoders.clip_1.eval(),
        tokenizer=encoders.clip_tokenizer,
        text_encoder_2=encoders.clip_2.eval(),
        tokenizer_2=encoders.clip_tokenizer,
        text_encoder_3=encoders.t5.eval(),
        tokenizer_3=encoders.t5_tokenizer,
    )
