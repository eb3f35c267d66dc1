"""Random weights and a vocabulary in the layout that BLIP VQA's are published in, written down from its description."""

from collections.abc import Iterator

import torch

from compbench.scorers.blip.config import BlipConfig


def layout(config: BlipConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes in the published file, in its order; buffers are left out."""
    width, inner = config.hidden_size, config.intermediate_size
    patch, layers = config.patch_size, range(config.num_hidden_layers)
    yield "visual_encoder.cls_token", (1, 1, width)
    yield "visual_encoder.pos_embed", (1, (config.image_size // patch) ** 2 + 1, width)
    yield from _affine("visual_encoder.patch_embed.proj", (width, 3, patch, patch))
    for block in (f"visual_encoder.blocks.{i}" for i in layers):
        yield from _affine(f"{block}.norm1", (width,))
        yield from _affine(f"{block}.attn.qkv", (3 * width, width))
        yield from _affine(f"{block}.attn.proj", (width, width))
        yield from _affine(f"{block}.norm2", (width,))
        yield from _affine(f"{block}.mlp.fc1", (inner, width))
        yield from _affine(f"{block}.mlp.fc2", (width, inner))
    yield from _affine("visual_encoder.norm", (width,))
    for bert in ("text_encoder", "text_decoder.bert"):
        yield f"{bert}.embeddings.word_embeddings.weight", (config.vocab_size, width)
        yield f"{bert}.embeddings.position_embeddings.weight", (config.max_position_embeddings, width)
        yield from _affine(f"{bert}.embeddings.LayerNorm", (width,))
        for layer in (f"{bert}.encoder.layer.{i}" for i in layers):
            for kind in ("attention", "crossattention"):
                for name in ("self.query", "self.key", "self.value", "output.dense"):
                    yield from _affine(f"{layer}.{kind}.{name}", (width, width))
                yield from _affine(f"{layer}.{kind}.output.LayerNorm", (width,))
            yield from _affine(f"{layer}.intermediate.dense", (inner, width))
            yield from _affine(f"{layer}.output.dense", (width, inner))
            yield from _affine(f"{layer}.output.LayerNorm", (width,))
    head = "text_decoder.cls.predictions"
    yield f"{head}.bias", (config.vocab_size,)
    yield from _affine(f"{head}.transform.dense", (width, width))
    yield from _affine(f"{head}.transform.LayerNorm", (width,))
    yield from _affine(f"{head}.decoder", (config.vocab_size, width))


def _affine(name: str, shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def random_checkpoint(config: BlipConfig, seed: int = 0) -> dict[str, torch.Tensor]:
    """Tensors under the published names: of a scale at which answers differ, tied where the published ones are."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in layout(config):
        scale = 0.1 if len(shape) == 1 else torch.Size(shape[1:]).numel() ** -0.5
        tensors[name] = scale * torch.randn(shape, generator=generator)
        if "norm" in name.lower() and name.endswith("weight"):
            tensors[name] += 1
    for name in ("text_encoder", "text_decoder.bert"):
        tensors[f"{name}.embeddings.position_ids"] = torch.arange(config.max_position_embeddings)[None]
    head = "text_decoder.cls.predictions"
    tensors[f"{head}.decoder.weight"] = tensors["text_decoder.bert.embeddings.word_embeddings.weight"]
    tensors[f"{head}.decoder.bias"] = tensors[f"{head}.bias"]
    return tensors


def vocabulary_lines(words: tuple[str, ...]) -> list[str]:
    """A vocabulary of BERT's size with `words`; special tokens, "yes" and "no" stand where they do in BERT's."""
    lines = [f"[unused{number}]" for number in range(30522)]
    for number, token in {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 2053: "no", 2748: "yes"}.items():
        lines[number] = token
    lines[3000 : 3000 + len(words)] = words
    return lines
