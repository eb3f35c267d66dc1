"""Text encoders on the meta device, called as the stages call them."""

from types import SimpleNamespace

import torch

from lab.estimate.base import Base

ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")


class Lengths:
    """Stands for a tokenizer where only the number of tokens counts: ids of one value, padded to the length asked for.

    Args:
        model_max_length: what pipelines pad to that name no length.
    """

    def __init__(self, model_max_length: int):
        self.model_max_length = model_max_length

    def __call__(self, texts: list[str], max_length: int = 1, **_: object) -> SimpleNamespace:
        return SimpleNamespace(input_ids=torch.zeros(len(texts), max_length, dtype=torch.long))

    def tokenize(self, text: str) -> list[str]:
        """No words: FLUX's pipeline looks for those of textual inversion."""
        return []


def text_parts(base: Base, dtype: torch.dtype) -> dict[str, object]:
    """Text encoders, and stand-ins for their tokenizers."""
    names = [name for name in ENCODERS if name in base.parts]
    encoders = {name: base.build(name, dtype) for name in names}
    # CLIP's own limit. T5 has none, and is asked for `max_sequence_length`.
    longest = base.config("text_encoder")["max_position_embeddings"]
    return encoders | {name.replace("text_encoder", "tokenizer"): Lengths(longest) for name in names}
