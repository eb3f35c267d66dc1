"""BLIP VQA at a reduced width, in the published file's layout, with a vocabulary of BERT's size."""

from pathlib import Path

import torch

from benchmarks.blip_layout import random_checkpoint, vocabulary_lines
from compbench.scorers.blip.checkpoint import NAME
from compbench.scorers.blip.config import BlipConfig

TINY = BlipConfig(
    image_size=64,
    hidden_size=48,
    num_attention_heads=4,
    num_hidden_layers=2,
    intermediate_size=96,
    max_position_embeddings=40,
)


def write_blip(weights: Path, words: tuple[str, ...], tensors: dict[str, torch.Tensor] | None = None) -> None:
    """The files that are fetched for BLIP, into the folder of all weights."""
    (weights / "blip").mkdir(parents=True)
    torch.save({"model": tensors or random_checkpoint(TINY)}, weights / "blip" / f"{NAME}.pth")
    (weights / "blip" / "vocab.txt").write_text("\n".join(vocabulary_lines(words)) + "\n")
