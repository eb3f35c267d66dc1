"""How many text and image tokens ComfyUI's models put into one attention call: its hook is told no such numbers.

All four models put text first, Stable Diffusion 3.5 too, unlike diffusers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Count = Callable[[Any, Sequence[int], Sequence[int], Mapping[str, Any]], tuple[int, int]]
"""Text and image tokens, from the diffusion model, the shapes of latent and context, and the other conditions."""


def _plain(model: Any, latent: Sequence[int], context: Sequence[int], conditions: Mapping[str, Any]) -> tuple[int, int]:
    """[text, image, reference latents]; an image is padded to whole patches."""
    latents = [latent, *_shapes(conditions.get("ref_latents"))]
    return context[1], sum(_patches(shape, model.patch_size) for shape in latents)


def _z_image(
    model: Any, latent: Sequence[int], context: Sequence[int], conditions: Mapping[str, Any]
) -> tuple[int, int]:
    """[captions, vision features, images], each of them padded by itself to a multiple of tokens."""
    multiple = model.pad_tokens_multiple
    references = _shapes(conditions.get("ref_latents"))
    captions = _shapes(conditions.get("ref_contexts"))
    extra = sum(shape[1] for shape in _shapes([conditions.get("direct_context")]))
    # A reference without a caption has one of padding alone.
    lengths = [context[1] + extra, *(shape[1] for shape in captions), *[1] * (len(references) - len(captions))]
    # Frames of reference are padded together with the image that they follow.
    frames = [latent, *_shapes(conditions.get("ref_frames"))]
    images = [sum(_patches(shape, model.patch_size) for shape in frames)]
    images += [_patches(shape, model.patch_size) for shape in references]
    if references and model.siglip_embedder is not None:
        features = _shapes(conditions.get("siglip_feats"))[: len(references)]
        # The image itself has none, which takes up one multiple too.
        images += [shape[1] * shape[2] for shape in features] + [1] * (len(references) + 1 - len(features))
    return sum(_padded(n, multiple) for n in lengths), sum(_padded(n, multiple) for n in images)


def _shapes(tensors: Iterable[Any] | None) -> list[Sequence[int]]:
    return [tensor.shape for tensor in tensors or () if tensor is not None]


def _patches(shape: Sequence[int], size: int) -> int:
    """Of a latent (B, C, H, W) or (B, C, frames, H, W)."""
    frames = shape[2] if len(shape) == 5 else 1
    return frames * -(-shape[-2] // size) * -(-shape[-1] // size)


def _padded(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


_COUNTS: dict[str, Count] = {
    "comfy.ldm.flux.model.Flux": _plain,
    "comfy.ldm.qwen_image.model.QwenImageTransformer2DModel": _plain,
    "comfy.ldm.modules.diffusionmodules.mmdit.OpenAISignatureMMDITWrapper": _plain,
    "comfy.ldm.lumina.model.NextDiT": _z_image,
}


def count_of(diffusion_model: Any) -> Count:
    """How the tokens of a model are counted.

    Raises:
        ValueError: a class that is not in the table. Subclasses are not either: they may lay tokens out anew.
    """
    # `torch.compile` keeps the model that it wraps under this name.
    model = getattr(diffusion_model, "_orig_mod", diffusion_model)
    name = f"{type(model).__module__}.{type(model).__qualname__}"
    count = _COUNTS.get(name)
    if count is _z_image and model.pad_tokens_multiple is None:
        name, count = "Lumina 2", None  # has Z-Image's class
    if count is None:
        known = "FLUX, Qwen-Image, Stable Diffusion 3.5 or Z-Image"
        raise ValueError(f"TACA does not know the model {name}: connect {known}, or remove the node TACA.")
    return count
