"""TACA beside the paper's two variants and flex attention, and its rounding error, on a GPU's kernels."""

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.attention import attention_rows
from benchmarks.gpu.models import filled
from benchmarks.gpu.scale import Scale
from benchmarks.models import DTYPE, SIZES, transformer
from benchmarks.steps import step_rows
from benchmarks.timing import differentiated
from benchmarks.variants import variants

HEADS = 24
# PyTorch's own choice, then each kernel alone.
BACKENDS = {
    "default": nullcontext,
    "flash": partial(sdpa_kernel, SDPBackend.FLASH_ATTENTION),
    "cudnn": partial(sdpa_kernel, SDPBackend.CUDNN_ATTENTION),
    "efficient": partial(sdpa_kernel, SDPBackend.EFFICIENT_ATTENTION),
}
# In a whole step flex attention is compiled, as PyTorch asks for.
OTHERS = ("recomposed", "explicit", "flex, compiled alone")
# Flash and cuDNN have no float32.
CHECKED = [(torch.float32, "default"), *((DTYPE, backend) for backend in BACKENDS)]
EAGER = [(False, False), (True, False)]


def sizes_of(scale: Scale) -> dict[str, tuple]:
    """As `benchmarks.models.SIZES`, at this scale."""
    tokens = (scale.latent_side // 2) ** 2
    return {name: (tokens, scale.text_tokens[name], *rest) for name, (_, _, *rest) in SIZES.items()}


def error_rows(scale: Scale, device: str) -> Iterator[dict]:
    """Relative error of one attention, or of its worst gradient, against every logit in float64."""
    heads = scale.heads or HEADS
    for name, (image_tokens, text_tokens, width, text_first) in sizes_of(scale).items():
        ways = variants(image_tokens, text_tokens, text_first, device)
        for dtype, backend in CHECKED:
            shape = (3, 1, heads, image_tokens + text_tokens, width)
            tensors = [x.requires_grad_() for x in torch.randn(shape, dtype=dtype, device=device)]
            exact = [x.detach().double().requires_grad_() for x in tensors]
            for backward in (False, True):
                row = {"model": name, "dtype": str(dtype), "backend": backend, "backward": backward}
                for way, reference in (("plain", "plain"), ("ours", "explicit")):
                    expected = differentiated(partial(ways[reference], *exact), backward, exact)
                    try:
                        with BACKENDS[backend]():
                            found = differentiated(partial(ways[way], *tensors), backward, tensors)
                        row[way] = _error(found, expected)
                    except RuntimeError as error:  # an older GPU or PyTorch has not every kernel
                        row[way] = str(error).splitlines()[0]
                yield row


def _error(found: torch.Tensor | tuple, expected: torch.Tensor | tuple) -> float:
    pairs = [(found, expected)] if torch.is_tensor(found) else zip(found, expected, strict=True)
    return max(((one.double() - other).norm() / other.norm()).item() for one, other in pairs)


def flux_attention_rows(scale: Scale, device: str) -> Iterator[dict]:
    """One attention of FLUX.1-dev, by every way."""
    heads, sizes = scale.heads or HEADS, {"FLUX": sizes_of(scale)["FLUX"]}
    yield from attention_rows(heads, scale.repeats, device, (sizes["FLUX"][0],), EAGER, sizes=sizes)


def flux_block_rows(scale: Scale, device: str) -> Iterator[dict]:
    """A step through one double and two single blocks of FLUX.1-dev, by every way."""
    with torch.device("meta"):
        model = transformer("FLUX", scale.heads, 1).to(DTYPE)
    # cuDNN's gradients of stock FLUX blocks were wrong (PyTorch 2.11, H200).
    around = BACKENDS["flash"] if device == "cuda" else nullcontext
    with around():
        yield from step_rows(
            "FLUX", filled(model, device).requires_grad_(), scale.repeats, device, OTHERS, size=sizes_of(scale)["FLUX"]
        )
