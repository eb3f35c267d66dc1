"""Loss and gradients of one batch against references made of the pipelines' own functions, without the project's code.

What the references share with diffusers' LoRA training scripts (`train_dreambooth_lora_flux.py` and `_sd3.py`, there
without preconditioned outputs): noisy latents, what the transformer is given, and the velocity as the target. Wrong
packing, positions, timesteps or signs would still train; here they would not agree.
"""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, FluxPipeline
from peft import LoraConfig
from PIL import Image

from lab.data.captioned import CaptionedImage
from lab.data.crops import Size
from lab.data.encode import Encoder
from lab.data.encoded import read_buckets
from lab.models.family import family_of
from lab.models.load import load_transformer
from lab.training.batches import Batches
from lab.training.loop import TrainConfig, Trainer
from lab.training.lora import add_lora
from taca.hooks import TacaConfig, taca
from tests.tiny_base import tiny_base
from tests.tiny_flux import tiny_flux

CAPTIONS = ["red circle", "striped red circle on the left of blue square", "green star"]
SIZE = Size(height=48, width=64)  # rows and columns must not be taken for each other
TEXT_LENGTH = 8
CONFIG = TrainConfig(
    steps=1, batch_size=2, learning_rate=1e-3, weight_decay=0.0, checkpoint_every=1, seed=3, mixed_precision="no"
)


@dataclass(frozen=True)
class Reference:
    """A family's pipeline, its text encoding, what its transformer is given, and where the text tokens are."""

    folder: Callable[[], Path]
    encode: Callable
    predict: Callable
    text_first: bool


def sd3_text(pipe, captions):
    embeds, _, pooled, _ = pipe.encode_prompt(
        captions, None, None, do_classifier_free_guidance=False, max_sequence_length=TEXT_LENGTH
    )
    return embeds, pooled, None


def flux_text(pipe, captions):
    return pipe.encode_prompt(captions, None, max_sequence_length=TEXT_LENGTH)


def sd3_velocity(pipe, noisy, timestep, embeds, pooled, _text_ids):
    return pipe.transformer(
        hidden_states=noisy,
        timestep=timestep,
        encoder_hidden_states=embeds,
        pooled_projections=pooled,
        return_dict=False,
    )[0]


def flux_velocity(pipe, noisy, timestep, embeds, pooled, text_ids):
    batch, channels, height, width = noisy.shape
    scale = pipe.vae_scale_factor
    packed = FluxPipeline._pack_latents(noisy, batch, channels, height, width)
    tokens = pipe.transformer(
        hidden_states=packed,
        timestep=timestep / 1000,
        guidance=torch.tensor([1.0]).expand(batch),
        pooled_projections=pooled,
        encoder_hidden_states=embeds,
        txt_ids=text_ids,
        img_ids=FluxPipeline._prepare_latent_image_ids(batch, height // 2, width // 2, noisy.device, noisy.dtype),
        return_dict=False,
    )[0]
    return FluxPipeline._unpack_latents(tokens, height * scale, width * scale, scale)


REFERENCES = {
    "sd3": Reference(tiny_base, sd3_text, sd3_velocity, text_first=False),
    "flux": Reference(tiny_flux, flux_text, flux_velocity, text_first=True),
}


@pytest.fixture(params=list(REFERENCES))
def reference(request):
    return REFERENCES[request.param]


@contextmanager
def explicit_logits(image_tokens: int, text_tokens: int, text_first: bool, gamma: float):
    """Eq. 10: gamma times the logits of image queries with text keys, in the attention of both kinds of token."""
    is_text = torch.arange(image_tokens + text_tokens) >= image_tokens
    if text_first:
        is_text = is_text.flip(0)

    def attention(query, key, value, attn_mask=None, **_):
        logits = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        if key.shape[-2] == len(is_text):
            logits = torch.where(~is_text[:, None] & is_text[None, :], gamma * logits, logits)
        return logits.softmax(dim=-1) @ value

    with patch("torch.nn.functional.scaled_dot_product_attention", attention):
        yield


def images(folder: Path) -> list[CaptionedImage]:
    """Pictures of the size itself, so that neither side scales or crops."""
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (len(CAPTIONS), SIZE.height, SIZE.width, 3), dtype=np.uint8)
    for number, pixels in enumerate(noise):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return [CaptionedImage(f"{n}.png", caption, SIZE.width, SIZE.height) for n, caption in enumerate(CAPTIONS)]


def spread(parameters) -> None:
    """Makes the adapter's update unequal to zero, or half of the gradients would be."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))


def of_the_project(reference, folder, samples, gamma, work):
    """Loss, gradients by name, and what was drawn for the batch."""
    pipe = DiffusionPipeline.from_pretrained(reference.folder(), transformer=None)
    transformer = load_transformer(reference.folder())
    Encoder(pipe, family_of(transformer), [SIZE], TEXT_LENGTH).encode(folder, samples, 2, work)
    parameters = add_lora(transformer, 4, 8, None, seed=3)
    spread(parameters)
    trainer = Trainer(transformer, parameters, Batches(read_buckets(work), 1), CONFIG, TacaConfig(gamma=gamma), work)
    (batch,) = trainer._draw(0)
    with taca(transformer, TacaConfig(gamma=gamma, threshold=0.0)):
        loss = trainer._loss(dict(batch))
        loss.backward()
    return loss, {name: p.grad for name, p in transformer.named_parameters() if p.requires_grad}, batch


def of_the_reference(reference, folder, gamma, batch):
    """Loss and gradients by name, from the files and captions of the samples that the batch holds."""
    pipe = DiffusionPipeline.from_pretrained(reference.folder(), dtype=torch.float32)
    pipe.transformer.requires_grad_(False)
    targets = ["to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"]
    pipe.transformer.add_adapter(LoraConfig(r=4, lora_alpha=8, target_modules=targets))
    spread([parameter for parameter in pipe.transformer.parameters() if parameter.requires_grad])
    with torch.no_grad():
        embeds, pooled, text_ids = reference.encode(pipe, CAPTIONS)
        pixels = pipe.image_processor.preprocess([Image.open(folder / f"{n}.png") for n in range(len(CAPTIONS))])
        latents = pipe.vae.encode(pixels).latent_dist.mean
        latents = (latents - pipe.vae.config.shift_factor) * pipe.vae.config.scaling_factor
    # Which samples they are is the project's choice: by nearness of the latents.
    chosen = [(latents - found).flatten(1).norm(dim=1).argmin().item() for found in batch["latents"]]
    latents, embeds, pooled = latents[chosen], embeds[chosen], pooled[chosen]
    noise, timestep = batch["noise"], batch["timestep"]
    pipe.scheduler.timesteps, pipe.scheduler.sigmas = timestep, timestep / 1000
    noisy = pipe.scheduler.scale_noise(latents, timestep, noise)
    tokens = latents.shape[-2] * latents.shape[-1] // 4
    with explicit_logits(tokens, embeds.shape[1], reference.text_first, gamma):
        velocity = reference.predict(pipe, noisy, timestep, embeds, pooled, text_ids)
        target = noise - latents
        loss = ((velocity - target) ** 2).reshape(len(target), -1).mean(1).mean()
        loss.backward()
    return loss, {name: p.grad for name, p in pipe.transformer.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("gamma", [1.0, 1.2])
def test_loss_and_gradients_are_those_of_the_reference(reference, gamma, tmp_path):
    """To 1e-6 in float32: latents, text, noise, timesteps, packing, positions, guidance, velocity, gamma."""
    samples = images(tmp_path / "images")
    loss, gradients, batch = of_the_project(reference, tmp_path / "images", samples, gamma, tmp_path / "encoded")
    expected_loss, expected = of_the_reference(reference, tmp_path / "images", gamma, batch)
    assert gradients.keys() == expected.keys()
    assert (loss - expected_loss).abs() <= 1e-6 * expected_loss
    largest = max(value.abs().max() for value in expected.values() if value is not None)
    for name, value in expected.items():
        # The last text projections of Stable Diffusion 3 are read by nobody: TACA does not compute them.
        found = torch.zeros_like(value) if gradients[name] is None else gradients[name]
        assert (found - value).abs().max() <= 1e-6 * largest, name
    assert largest > 1e-4
