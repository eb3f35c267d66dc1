"""A base of the built-in's own classes and layout, trained for two steps: everything but the quality."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from lab.models.builtin.config import BuiltinConfig

TINY = BuiltinConfig(
    seed=0, scenes=16, batch_size=8, width=64, layers=2, autoencoder_steps=2, transformer_steps=2, clip_steps=2
)


def train_tiny(folder: Path, config: BuiltinConfig = TINY) -> Path:
    """Trains a tiny base in `folder` and returns the pipeline's folder."""
    import torch

    from lab.models.builtin.pipeline import train_builtin
    from lab.models.builtin.save import save_builtin

    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    base = train_builtin(config, work, lambda metrics, step: None)
    # Two steps leave every block close to the identity, where neither gamma nor an adapter could be seen.
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in base.pipeline.transformer.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator).half())
    save_builtin(base, config, folder / "base")
    return folder / "base"


@cache
def tiny_base() -> Path:
    """The folder of a tiny base, trained once in a test session."""
    return train_tiny(Path(mkdtemp(prefix="taca-tiny-")))
