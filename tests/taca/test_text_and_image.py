"""What counts as text and what as image in diffusers' pipelines: each row of the table in docs/library.md."""

import re
from pathlib import Path

import pytest
import tiny_pipelines
import tiny_sd3
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    Flux2Pipeline,
    FluxControlPipeline,
    FluxFillPipeline,
    FluxKontextPipeline,
    FluxPriorReduxPipeline,
    FluxTransformer2DModel,
    QwenImageEditPipeline,
)
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from PIL import Image
from tiny_models import CASES
from transformers import SiglipImageProcessor, SiglipVisionConfig, SiglipVisionModel

import taca.attention
from taca import taca as with_taca

PAGE = Path(__file__).parents[2] / "docs" / "library.md"
TEXT, IMAGE = "text", "image"


def keys_of_the_first_call(draw, monkeypatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys of text and of image tokens as TACA cuts them, in the first block of the first pass."""
    calls, own = [], taca.attention._scaled_keys

    def recorded(image_query, key, gamma, text_first, token_dim):
        length, image = key.shape[token_dim], image_query.shape[token_dim]
        parts = key.split([length - image, image] if text_first else [image, length - image], token_dim)
        calls.append(parts if text_first else parts[::-1])
        return own(image_query, key, gamma, text_first, token_dim)

    monkeypatch.setattr(taca.attention, "_scaled_keys", recorded)
    with torch.no_grad():
        draw()
    monkeypatch.undo()
    return calls[0]


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def picture(seed):
    return Image.fromarray(noise(8, 8, 3, seed=seed).sigmoid().mul(255).byte().numpy())


def flux_with(**config):
    base = next(case for case in CASES if case.name == "flux").model().config
    torch.manual_seed(0)
    return FluxTransformer2DModel(**{**base, "in_channels": 16, **config}).eval()


def flux_call(pipe, prompt, **inputs):
    pipe(
        prompt_embeds=prompt,
        pooled_prompt_embeds=noise(1, inputs.pop("pooled", 10)),
        height=64,
        width=64,
        num_inference_steps=1,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(2),
        output_type="latent",
        **inputs,
    )


def prompt_of_sd3(seed):
    pipe = tiny_sd3.pipeline(tiny_sd3.transformer())
    return pipe, lambda: pipe(
        prompt_embeds=noise(1, 5, 12, seed=seed),
        pooled_prompt_embeds=noise(1, 10),
        height=8,
        width=8,
        num_inference_steps=1,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(2),
        output_type="latent",
    )


def reference_of_kontext(seed):
    pipe = tiny_pipelines.flux(FluxKontextPipeline)
    pipe.latent_channels = 4
    return pipe, lambda: flux_call(pipe, noise(1, 6, 12), image=noise(1, 4, 8, 8, seed=seed))


def autoencoder(kind, **config):
    """Of a factor of 8."""
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    return kind(**blocks, block_out_channels=(4,) * 4, norm_num_groups=2, **config).eval()


def image_of_control(seed):
    """Further channels of the image's own tokens."""
    pipe = tiny_pipelines.pipeline(FluxControlPipeline, flux_with(in_channels=32, out_channels=16))
    pipe.register_modules(vae=autoencoder(AutoencoderKL, latent_channels=4, shift_factor=0.0))
    return pipe, lambda: flux_call(pipe, noise(1, 6, 12), control_image=picture(seed), latents=noise(1, 16, 16))


def reference_of_flux2(seed):
    model = next(case for case in CASES if case.name == "flux2").model()
    pipe = tiny_pipelines.pipeline(Flux2Pipeline, model)
    pipe.register_modules(vae=autoencoder(AutoencoderKLFlux2, latent_channels=1))
    return pipe, lambda: pipe(
        prompt_embeds=noise(1, 6, 12),
        image=picture(seed).resize((64, 64)),
        height=64,
        width=64,
        num_inference_steps=1,
        generator=torch.Generator().manual_seed(2),
        output_type="latent",
    )


def mask_of_fill(seed):
    """Further channels of the image's own tokens: 16 of the masked image, 256 of the mask."""
    pipe = tiny_pipelines.pipeline(FluxFillPipeline, flux_with(in_channels=16 + 16 + 256, out_channels=16))
    pipe.register_modules(vae=autoencoder(AutoencoderKL, latent_channels=4, shift_factor=0.0))
    images = {"image": picture(0), "mask_image": picture(seed).convert("L"), "latents": noise(1, 16, 16)}
    return pipe, lambda: flux_call(pipe, noise(1, 6, 12), **images)


def image_of_redux(seed):
    """Appended to the prompt's embeddings by the prior."""
    torch.manual_seed(0)
    vision = SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=8, patch_size=4
        )
    )
    prior = FluxPriorReduxPipeline(
        image_encoder=vision.eval(),
        feature_extractor=SiglipImageProcessor(size={"height": 8, "width": 8}),
        image_embedder=ReduxImageEncoder(redux_dim=8, txt_in_features=4096).eval(),
    )
    embeddings = prior(picture(seed))
    pipe = tiny_pipelines.pipeline(
        type(tiny_pipelines.flux()), flux_with(joint_attention_dim=4096, pooled_projection_dim=768)
    )
    return pipe, lambda: flux_call(pipe, embeddings.prompt_embeds, pooled=768)


def qwen_edit(prompt, reference):
    pipe = tiny_pipelines.pipeline(QwenImageEditPipeline, tiny_pipelines.qwenimage().transformer)
    torch.manual_seed(0)
    numbers = {"base_dim": 2, "z_dim": 4, "num_res_blocks": 0, "latents_mean": [0.0] * 4, "latents_std": [1.0] * 4}
    pipe.register_modules(vae=AutoencoderKLQwenImage(dim_mult=[1, 1, 1, 1], **numbers).eval())
    pipe.latent_channels = 4
    return pipe, lambda: pipe(
        image=picture(reference),
        prompt_embeds=prompt,
        prompt_embeds_mask=torch.ones(prompt.shape[:2], dtype=torch.long),
        true_cfg_scale=1.0,
        height=64,
        width=64,
        num_inference_steps=1,
        generator=torch.Generator().manual_seed(2),
        output_type="latent",
    )


def reference_of_qwen_edit(seed):
    return qwen_edit(noise(1, 6, 12), seed)


def vision_tokens_of_qwen_edit(seed):
    """Between the words of the prompt's embeddings, which the vision-language model reads together."""
    words = noise(1, 6, 12)
    return qwen_edit(torch.cat([words[:, :2], noise(1, 3, 12, seed=seed), words[:, 2:]], 1), 0)


ROWS = {
    "the prompt": (prompt_of_sd3, TEXT),
    "reference image of FLUX.1 Kontext": (reference_of_kontext, IMAGE),
    "masked image of FLUX.1 Fill": (mask_of_fill, IMAGE),
    "control image of FLUX.1 Control": (image_of_control, IMAGE),
    "image of FLUX.1 Redux": (image_of_redux, TEXT),
    "reference image of FLUX.2": (reference_of_flux2, IMAGE),
    "reference image of Qwen-Image-Edit": (reference_of_qwen_edit, IMAGE),
    "vision tokens in the prompt of Qwen-Image-Edit": (vision_tokens_of_qwen_edit, TEXT),
}


@pytest.mark.long
@pytest.mark.parametrize("row", ROWS)
def test_the_tokens_are_those_of_the_table(row, monkeypatch):
    """Another such input changes keys of that kind, and none of the other, before the first block has mixed them."""
    source, kind = ROWS[row]
    keys = []
    for seed in (5, 6):
        pipe, draw = source(seed)
        with with_taca(pipe, gamma=2.0, threshold=0.0):
            keys.append(keys_of_the_first_call(draw, monkeypatch))
    (text, image), (other_text, other_image) = keys
    assert text.shape == other_text.shape
    changed = {TEXT: not torch.equal(text, other_text), IMAGE: not torch.equal(image, other_image)}
    assert changed == {TEXT: kind == TEXT, IMAGE: kind == IMAGE}


def test_the_table_has_a_row_for_each_test_and_none_else():
    section = PAGE.read_text().partition("## What counts as text\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| (text|image)\b[^|]*\|", section, re.MULTILINE)
    assert dict(rows) == {name: kind for name, (_, kind) in ROWS.items()}
