"""The published weights of BLIP VQA.

The copy on the model hub is no substitute: its position embeddings were shrunk from 480 to 384 pixels.
"""

import re
from pathlib import Path

import torch

from compbench.scorers.blip.config import BlipConfig
from compbench.scorers.blip.model import BlipVqa
from compbench.weights.checkpoint import Checkpoint, load

NAME = "model_base_vqa_capfilt_large"
# Tensors that the reference shares, under the name that the model here has. When the checkpoint is loaded by name, the
# second is copied last, and so is the one that counts.
TIED = {
    "text_decoder.bert.embeddings.word_embeddings.weight": "text_decoder.cls.predictions.decoder.weight",
    "text_decoder.cls.predictions.bias": "text_decoder.cls.predictions.decoder.bias",
}
# Not weights but 0, 1, 2, ...; whether they are saved has changed with the version of transformers.
BUFFERS = re.compile(r"(text_encoder|text_decoder\.bert)\.embeddings\.position_ids")


def load_model(weights: Path, config: BlipConfig | None = None, extra: bool = False) -> BlipVqa:
    """The model in float32 on the CPU, from the folder of all weights.

    Args:
        config: the sizes; the published model's if None.
        extra: as `Checkpoint` has it.

    Raises: CompbenchError when there is no checkpoint, or one that cannot be read or has other tensors.
    """
    with torch.device("meta"):
        model = BlipVqa(config or BlipConfig())
    return load(model, published(weights, extra))


def published(weights: Path, extra: bool = False) -> Checkpoint:
    """The file in the folder of all weights."""
    return Checkpoint(weights, f"blip/{NAME}.pth", "BLIP VQA for 480 pixels", "model", BUFFERS, TIED, extra)
