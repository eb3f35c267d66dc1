"""Random checkpoints in the layouts of the published Stable Diffusion 3.5 and FLUX.1, too small to draw anything."""

from tests.published.checkpoint import make_checkpoint, published_config

__all__ = ["make_checkpoint", "published_config"]
