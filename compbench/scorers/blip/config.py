"""Sizes of a BLIP visual question answering model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BlipConfig:
    """The defaults are the published model's: a ViT-B/16 and two BERT-base with cross-attention, all of one width."""

    image_size: int = 480  # pixels of a side
    patch_size: int = 16
    hidden_size: int = 768
    num_attention_heads: int = 12
    num_hidden_layers: int = 12  # of the image encoder, of the question encoder and of the answer decoder
    intermediate_size: int = 3072
    vocab_size: int = 30524  # BERT's, [DEC] and [ENC]
    max_position_embeddings: int = 512

    @property
    def image_tokens(self) -> int:
        """Patches and the class token."""
        return (self.image_size // self.patch_size) ** 2 + 1
