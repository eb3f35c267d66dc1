"""Where families put text and image tokens, from the arguments of a forward pass."""

import math
from collections.abc import Mapping

import torch
from torch import nn

from taca.errors import TacaError
from taca.processors.base import share_of
from taca.tokens import InTurn, Run, Scattered, Segments


def text_first(transformer: nn.Module, arguments: Mapping) -> Run:
    """All of `encoder_hidden_states`, then the image."""
    return Run(_shared(transformer, arguments["encoder_hidden_states"].shape[1]), text_first=True)


def text_last(transformer: nn.Module, arguments: Mapping) -> Run:
    """The image, then all of `encoder_hidden_states`."""
    return Run(_shared(transformer, arguments["encoder_hidden_states"].shape[1]), text_first=False)


def text_first_unread(transformer: nn.Module, arguments: Mapping) -> Run:
    """As `text_first`, where text tokens have no queries."""
    return Run(arguments["encoder_hidden_states"].shape[1], text_first=True, text_reads=False)


def text_last_unread(transformer: nn.Module, arguments: Mapping) -> Run:
    """As `text_last`, where text tokens have no queries."""
    return Run(arguments["encoder_hidden_states"].shape[1], text_first=False, text_reads=False)


def registers_first(transformer: nn.Module, arguments: Mapping) -> Run:
    """Learned tokens that are neither, then all of `encoder_hidden_states`, then the image."""
    num_text_tokens = arguments["encoder_hidden_states"].shape[1]
    return Run(num_text_tokens, text_first=True, num_other_tokens=transformer.register_tokens.shape[1])


def z_image(transformer: nn.Module, arguments: Mapping) -> Scattered:
    """Each image, then its own caption; with reference images, the captions first, and what SigLIP saw last.

    Images and captions are padded to multiples of 32, with tokens that take part as any other.
    """
    images, captions = arguments["x"], arguments["cap_feats"]
    patch = arguments.get("patch_size", 2) ** 2 * arguments.get("f_patch_size", 1)
    if torch.is_tensor(images[0]):
        device = images[0].device
        runs = [
            [("image", _padded([image[0]], patch)), ("text", _padded([caption[:, 0]]))]
            for image, caption in zip(images, captions, strict=True)
        ]
    else:
        device = images[0][-1].device
        seen = arguments.get("siglip_feats") or [None] * len(images)
        runs = [
            [
                ("text", _padded([x[:, 0] for x in texts])),
                ("image", _padded([None if x is None else x[0] for x in drawn], patch)),
                ("other", _padded([None if x is None else x[..., 0] for x in others or ()])),
            ]
            for drawn, texts, others in zip(images, captions, seen, strict=True)
        ]
    return Scattered.of(runs, device)


def qwen_image_21(transformer: nn.Module, arguments: Mapping) -> Segments:
    """Text and reference images as the vision-language model read them, then the image.

    Each of its image slots stands for four tokens. All samples are alike.
    """
    slots = arguments["img_mask"][0].tolist()
    return Segments(tuple(not slot for slot in slots for _ in range(4 if slot else 1)))


def cosmos_3(transformer: nn.Module, arguments: Mapping) -> Segments:
    """The prompt, which reads itself alone, then the video.

    Raises:
        TacaError: sound or actions are drawn too, whose queries would read the prompt with gamma.
    """
    if arguments.get("sound_tokens") is not None or arguments.get("action_tokens") is not None:
        raise TacaError(
            "TACA is for images and videos, and this forward pass of Cosmos 3 draws sound or actions too: draw without "
            "them, or without TACA."
        )
    text = arguments["und_len"]
    return Segments([True] * text + [False] * (arguments["sequence_length"] - text))


def minimax_h3(transformer: nn.Module, arguments: Mapping) -> Scattered:
    """Text and video where an argument says that they are; rows of sound are neither."""
    role = arguments["token_tags"][None]
    return Scattered(role == 1, role == 0)


def hunyuan_image(transformer: nn.Module, arguments: Mapping) -> Run:
    """The image, then the prompt by both text encoders, padding last."""
    glyphs = arguments.get("encoder_hidden_states_2") if transformer.context_embedder_2 is not None else None
    num_text_tokens = arguments["encoder_hidden_states"].shape[1] + (0 if glyphs is None else glyphs.shape[1])
    return Run(num_text_tokens, text_first=False)


def hunyuan_video_15(transformer: nn.Module, arguments: Mapping) -> Scattered:
    """The video, tokens of a first frame, the prompt by both text encoders, and the padding of these."""
    latents, seen = arguments["hidden_states"], arguments["image_embeds"]
    video = _patches(latents, transformer.config.patch_size_t, transformer.config.patch_size)
    # Without a first frame its tokens are zeros, which stand with the padding.
    frame = 0 if torch.all(seen == 0) else seen.shape[1]
    masks = torch.cat([arguments["encoder_attention_mask_2"], arguments["encoder_attention_mask"]], dim=1).bool()
    padding = seen.shape[1] - frame + masks.shape[1]
    runs = [
        [("image", video), ("other", frame), ("text", text), ("other", padding - text)]
        for text in masks.sum(dim=1).tolist()
    ]
    return Scattered.of(runs, latents.device)


def framepack(transformer: nn.Module, arguments: Mapping) -> Run:
    """Frames, tokens of the first frame as an image encoder saw it, then the prompt.

    The padding of a single sample is cut off.
    """
    text, seen = arguments["encoder_hidden_states"], arguments["image_embeds"].shape[1]
    length = int(arguments["encoder_attention_mask"].sum()) if len(text) == 1 else text.shape[1]
    return Run(length, text_first=False, num_other_tokens=seen)


def ernie_image(transformer: nn.Module, arguments: Mapping) -> Run:
    """The image, then the prompt, padding last."""
    return Run(arguments["text_bth"].shape[1], text_first=False)


def ideogram_4(transformer: nn.Module, arguments: Mapping) -> Scattered:
    """Text and image where an argument says that they are."""
    from diffusers.models.transformers import transformer_ideogram4 as ideogram4

    role = arguments["indicator"]
    return Scattered(role == ideogram4.LLM_TOKEN_INDICATOR, role == ideogram4.OUTPUT_IMAGE_INDICATOR)


def motif_video(transformer: nn.Module, arguments: Mapping) -> Run:
    """The video, tokens of a first frame, then the prompt."""
    seen = arguments.get("image_embeds")
    num_text_tokens = arguments["encoder_hidden_states"].shape[1]
    return Run(num_text_tokens, text_first=False, num_other_tokens=0 if seen is None else seen.shape[1])


def easy_animate(transformer: nn.Module, arguments: Mapping) -> Run:
    """The prompt by both text encoders, then the video."""
    t5 = arguments.get("encoder_hidden_states_t5")
    num_text_tokens = arguments["encoder_hidden_states"].shape[1] + (0 if t5 is None else t5.shape[1])
    return Run(num_text_tokens, text_first=True)


def omnigen(transformer: nn.Module, arguments: Mapping) -> Scattered:
    """The prompt with reference images inside, a token of the time, then the image."""
    latents, prompt = arguments["hidden_states"], arguments["input_ids"]
    image = _patches(latents, transformer.config.patch_size)
    is_image = torch.zeros(len(latents), prompt.shape[1], dtype=torch.bool, device=latents.device)
    for sample, spans in arguments["input_image_sizes"].items():
        for start, end in spans:
            is_image[sample, start:end] = True
    ends = [torch.full((len(latents), n), value, device=latents.device) for n, value in ((1, False), (image, True))]
    return Scattered(
        torch.nn.functional.pad(~is_image, (0, 1 + image), value=False), torch.cat([is_image, *ends], dim=1)
    )


def bria_fibo_2(transformer: nn.Module, arguments: Mapping) -> Run:
    """What a resampler made of the prompt, before the image; after it, where samples have different numbers of it."""
    from diffusers.models.transformers.transformer_bria_fibo2 import compute_gist_count

    text, mask, config = arguments["encoder_hidden_states"], arguments.get("encoder_attention_mask"), transformer.config
    lengths = [text.shape[2]] * text.shape[0] if mask is None else mask.sum(dim=1).tolist()
    counts = compute_gist_count(
        lengths,
        min_gist=config.min_num_gist_tokens,
        max_gist=config.max_num_gist_tokens,
        gist_step=config.gist_step,
        min_text_len=config.gist_min_text_len,
        max_text_len=config.gist_max_text_len,
    )
    return Run(max(counts), text_first=min(counts) == max(counts))


def lumina_2(transformer: nn.Module, arguments: Mapping) -> Scattered:
    """Each sample's own prompt without padding, then its image."""
    latents = arguments["hidden_states"]
    image = _patches(latents, transformer.config.patch_size)
    lengths = arguments["encoder_attention_mask"].sum(dim=1).tolist()
    return Scattered.of([[("text", int(length)), ("image", image)] for length in lengths], latents.device)


def hidream_image(transformer: nn.Module, arguments: Mapping) -> Run:
    """The image, then the prompt by T5, by Llama's last layer, and by the layer that belongs to the block."""
    t5, llama = arguments["encoder_hidden_states_t5"], arguments["encoder_hidden_states_llama3"]
    return Run(t5.shape[1] + 2 * llama[0].shape[1], text_first=False)


def mochi(transformer: nn.Module, arguments: Mapping) -> InTurn:
    """The video, then the prompt without padding, in a call for each sample."""
    lengths = arguments["encoder_attention_mask"].bool().sum(dim=1).tolist()
    return InTurn([Run(length, text_first=False) for length in lengths])


def _shared(transformer: nn.Module, num_text_tokens: int) -> int:
    """This rank's share of the text tokens: all of them, but under context parallelism."""
    return share_of(num_text_tokens, getattr(transformer, "_parallel_config", None))


def _patches(latents: torch.Tensor, *patch: int) -> int:
    """Tokens of latents (B, C, ..., height, width), by the sizes of a patch; the last one is height and width."""
    values = math.prod(patch) * patch[-1]
    return latents[0, 0].numel() // values


def _padded(features: list[torch.Tensor | None], values_a_token: int = 1) -> int:
    """Tokens of several inputs of Z-Image: each padded to a multiple of 32, an absent one to 32."""
    counts = [1 if x is None else x.numel() // values_a_token for x in features]
    return sum(-(-count // 32) * 32 for count in counts)
