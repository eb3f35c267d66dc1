"""What stage `caption` takes of a GPU: LLaVA's weights and keys, and a pass for each token."""

from dataclasses import dataclass

from lab.params.sections import LlavaCaption

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
CHARACTERS = 4  # a token: assumed, of English
ALT = 100  # characters of the words that an image comes with: assumed


@dataclass(frozen=True)
class Size:
    """Of a model.

    Attributes:
        language, vision: parameters of the part.
        patches: that the vision part sees; as many tokens are an image to the other.
        cached: numbers that are kept for each token, its keys and values in all layers.
    """

    language: int
    vision: int
    patches: int
    cached: int


# By repository; tests hold them to the published configuration.
SIZES = {"llava-hf/llava-1.5-7b-hf": Size(6_738_939_904, 324_487_168, 576, 2 * 32 * 4096)}


@dataclass(frozen=True)
class Usage:
    """Bytes of tensors on the GPU, floating-point operations, bytes of the model's files."""

    peak: int
    flops: int
    weights: int


def describe(caption: LlavaCaption, images: int) -> Usage | None:
    """Of first answers as long as they may be; None for a repository whose sizes are not known here."""
    size = SIZES.get(caption.repo)
    if size is None:
        return None
    weight = BYTES[caption.dtype]
    words = len(caption.prompt) + ALT * caption.prompt.count("{alt}")
    tokens = size.patches + words // CHARACTERS + caption.max_tokens
    weights = (size.language + size.vision) * weight
    peak = weights + caption.batch_size * tokens * size.cached * weight
    flops = images * 2 * (size.language * tokens + size.vision * size.patches)
    # Published in 16 bits, whatever it is computed in.
    return Usage(peak, flops, (size.language + size.vision) * BYTES["float16"])
