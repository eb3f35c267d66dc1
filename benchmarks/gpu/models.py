"""The published models with random weights, which no file and no copy in float32 ever held."""

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline
from torch import nn

from benchmarks.gpu.scale import Scale
from benchmarks.models import DTYPE, transformer
from lab.models.four_bits import four_bits

SCHEDULERS = {"SD3.5": {"shift": 3.0}, "FLUX": {"shift": 3.0, "use_dynamic_shifting": True}}


def random_transformer(name: str, scale: Scale, device: str, precision: str = "bf16") -> nn.Module:
    """`name` is "FLUX" (FLUX.1-dev) or "SD3.5" (medium); in "nf4" each layer is packed before the next is made."""
    with torch.device("meta"):
        model = transformer(name, scale.heads, scale.layers).to(DTYPE)
    if precision == "nf4":
        from diffusers.quantizers.bitsandbytes.utils import replace_with_bnb_linear

        config = four_bits(DTYPE)
        model = replace_with_bnb_linear(model, config.llm_int8_skip_modules, quantization_config=config)
        # By this peft knows what its layers wrap.
        model.is_loaded_in_4bit = True
    return filled(model, device)


def random_pipeline(scale: Scale, device: str) -> FluxPipeline:
    """FLUX.1-dev's without text encoders."""
    blocks = len(scale.vae_channels)
    with torch.device("meta"):
        vae = AutoencoderKL(
            block_out_channels=scale.vae_channels,
            down_block_types=("DownEncoderBlock2D",) * blocks,
            up_block_types=("UpDecoderBlock2D",) * blocks,
            latent_channels=16,
            layers_per_block=2,
            sample_size=1024,
            scaling_factor=0.3611,
            shift_factor=0.1159,
            use_quant_conv=False,
            use_post_quant_conv=False,
        ).to(DTYPE)
    pipe = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**SCHEDULERS["FLUX"]),
        vae=filled(vae, device),
        transformer=random_transformer("FLUX", scale, device),
        **dict.fromkeys(("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@torch.no_grad()
def filled(model: nn.Module, device: str) -> nn.Module:
    """Makes the tensors of a model on the meta device, one after the other, in their own number format.

    Matrices are drawn with a deviation of 0.02, norms' weights are 1 and biases 0, so that numbers stay finite.
    """
    generator = torch.Generator(device).manual_seed(0)
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, old in tensors.items():
                if old is not None:
                    tensors[name] = _value(name, old, device, generator)
    return model.eval()


def _value(name: str, old: torch.Tensor, device: str, generator: torch.Generator) -> torch.Tensor:
    value = torch.full(old.shape, float(name == "weight"), dtype=old.dtype, device=device)
    if old.ndim > 1:
        value.normal_(0, 0.02, generator=generator)
    if type(old).__name__ == "Params4bit":
        return type(old)(value, requires_grad=False, **vars(old)).to(device)
    return nn.Parameter(value, requires_grad=False) if isinstance(old, nn.Parameter) else value
