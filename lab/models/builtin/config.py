"""What the built-in base is made of: every size and training length, with the defaults of `params.yaml`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BuiltinConfig:
    """Sizes and training lengths of the built-in base.

    `width` is the transformer's channels (heads of 32), `scenes` the number of training pictures, the `*_steps` are
    optimizer steps at `batch_size` (a quarter of it for the autoencoder, twice it for CLIP), learning rates are peaks
    (`matrix_learning_rate` that of Muon, for the matrices of the transformer's blocks).
    """

    seed: int
    scenes: int
    batch_size: int
    width: int
    layers: int
    autoencoder_steps: int
    transformer_steps: int
    clip_steps: int
    autoencoder_learning_rate: float = 2e-3
    transformer_learning_rate: float = 2e-3
    matrix_learning_rate: float = 0.02
    clip_learning_rate: float = 1e-3
    caption_dropout: float = 0.1
    latent_channels: int = 4
    shift: float = 3.0
    text_width: int = 64
    clip_max_length: int = 8
    t5_max_length: int = 8
