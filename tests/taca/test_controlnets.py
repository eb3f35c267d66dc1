"""ControlNets hold joint attention of their own: in diffusers' pipelines TACA leaves it alone."""

import pytest
import tiny_pipelines
import tiny_sd3
import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    FluxControlNetModel,
    FluxControlNetPipeline,
    QwenImageControlNetModel,
    QwenImageControlNetPipeline,
    SD3ControlNetModel,
    StableDiffusion3ControlNetPipeline,
    ZImageControlNetModel,
    ZImageControlNetPipeline,
)
from tiny_families import CASES as FAMILIES

from taca import apply_taca, taca


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def sd3() -> tuple[object, dict]:
    model = tiny_sd3.transformer()
    # `from_transformer` writes into the transformer's configuration.
    net = SD3ControlNetModel.from_transformer(tiny_sd3.transformer(), num_layers=2, num_extra_conditioning_channels=0)
    pipe = tiny_pipelines.pipeline(
        StableDiffusion3ControlNetPipeline,
        model,
        controlnet=net,
        vae=tiny_pipelines.autoencoder(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )
    return pipe, {"pooled_prompt_embeds": noise(1, 10), "negative_pooled_prompt_embeds": noise(1, 10)}


def flux() -> tuple[object, dict]:
    model = tiny_pipelines.flux().transformer
    net = FluxControlNetModel.from_transformer(
        model, num_layers=1, num_single_layers=1, attention_head_dim=8, num_attention_heads=2
    )
    pipe = tiny_pipelines.pipeline(FluxControlNetPipeline, model, controlnet=net, vae=tiny_pipelines.autoencoder())
    return pipe, {"pooled_prompt_embeds": noise(1, 10), "negative_pooled_prompt_embeds": noise(1, 10)}


def qwen_image() -> tuple[object, dict]:
    model = tiny_pipelines.qwenimage().transformer
    net = QwenImageControlNetModel.from_transformer(model, num_layers=1, attention_head_dim=8, num_attention_heads=2)
    numbers = {"base_dim": 2, "z_dim": 4, "num_res_blocks": 0, "latents_mean": [0.0] * 4, "latents_std": [1.0] * 4}
    vae = AutoencoderKLQwenImage(dim_mult=[1, 1, 1, 1], **numbers)
    pipe = tiny_pipelines.pipeline(QwenImageControlNetPipeline, model, controlnet=net, vae=vae)
    whole = torch.ones(1, 6, dtype=torch.long)
    return pipe, {"prompt_embeds_mask": whole, "negative_prompt_embeds_mask": whole}


def z_image() -> tuple[object, dict]:
    """Whose ControlNet has the refiners of the transformer for its own."""
    model = next(case for case in FAMILIES if case.name == "zimage").model()
    net = ZImageControlNetModel(
        control_layers_places=[0, 1], control_refiner_layers_places=[0], control_in_dim=4, dim=16, n_heads=2
    )
    net = ZImageControlNetModel.from_transformer(net, model)
    pipe = tiny_pipelines.pipeline(ZImageControlNetPipeline, model, controlnet=net, vae=tiny_pipelines.autoencoder())
    return pipe, {"prompt_embeds": [noise(5, 12)], "negative_prompt_embeds": [noise(7, 12)]}


@pytest.mark.parametrize("build", [sd3, flux, qwen_image, z_image])
@torch.no_grad()
def test_its_passes_are_the_stock_models_and_those_of_the_transformer_are_not(build):
    torch.manual_seed(0)
    pipe, options = build()
    net, passes = pipe.controlnet.eval(), []
    for weight in net.parameters():
        # A new ControlNet begins with zeros, and has no effect.
        if not weight.any():
            weight.normal_(std=0.1)
    net.register_forward_hook(lambda _, args, kwargs, output: passes.append((args, kwargs, output)), with_kwargs=True)

    def draw() -> torch.Tensor:
        return pipe(
            **{"prompt_embeds": noise(1, 6, 12), "negative_prompt_embeds": noise(1, 6, 12), **options},
            control_image=noise(1, 3, 64, 64),
            height=64,
            width=64,
            num_inference_steps=2,
            generator=torch.Generator().manual_seed(2),
            output_type="latent",
            return_dict=False,
        )[0]

    stock, count = draw(), len(passes)
    with taca(pipe, gamma=2.0, threshold=0.0):
        assert not torch.equal(draw(), stock)
    acted = passes[count:]
    assert len(acted) == count > 0
    for args, kwargs, output in acted:
        torch.testing.assert_close(net(*args, **kwargs), output, rtol=0, atol=0)


@pytest.mark.parametrize("build", [sd3, flux, qwen_image, z_image])
def test_given_itself_it_is_refused_by_name(build):
    net = build()[0].controlnet
    with pytest.raises(ValueError, match=f"does not know {type(net).__name__}: pass a transformer"):
        apply_taca(net)
