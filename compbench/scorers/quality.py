"""Image quality without a reference: MUSIQ and MANIQA, both trained on KonIQ-10k, by pyiqa's models.

MUSIQ (Ke et al., 2021, arXiv 2108.05997) reads the whole image at its own size and at 384 and 224 pixels; MANIQA
(Yang et al., 2022, arXiv 2204.08958) averages 20 crops of 224 pixels on an even grid. Neither draws anything at random.

pyiqa's licence, PolyForm-Noncommercial-1.0.0, allows non-commercial use only. So it is no part of the ordinary
installation: `make quality` adds it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
from PIL import Image
from torchvision.transforms.functional import to_tensor

from compbench.errors import CompbenchError
from compbench.scorers.interface import Prompt
from compbench.weights.checkpoint import Checkpoint, load


class ImageQualityScorer:
    """What people would say of an image, 0 (bad) to about 1 (excellent), computed in float32.

    Args:
        metric: "musiq" or "maniqa".
        model: from (1, 3, height, width) in [0, 1] to one number, on the metric's own scale.
    """

    def __init__(self, metric: str, model: torch.nn.Module, device: str = "cpu"):
        self.name, self.scale = metric, _metric(metric).scale
        self.model, self.device = model.to(device=device, dtype=torch.float32).eval(), device

    @classmethod
    def from_weights(cls, weights: Path, metric: str, device: str = "cpu") -> "ImageQualityScorer":
        """The published model, from the folder that `python -m compbench.weights quality` fills.

        Raises: CompbenchError when pyiqa is not installed, or when the checkpoint is missing or does not fit the model.
        """
        # Other versions of pyiqa may have other tensors.
        named = f"the {metric} model that `make quality` installs"
        model = load(build(metric), Checkpoint(weights, _metric(metric).file, named))
        return cls(metric, model, device)

    @torch.inference_mode()
    def score(self, images: list[Image.Image], prompts: list[Prompt]) -> list[float]:
        """One image at a time, as sizes may differ and MANIQA makes a batch of each. Prompts play no part."""
        # As pyiqa runs its metrics.
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
            return [self.model(to_tensor(image)[None].to(self.device)).item() / self.scale for image in images]


def build(metric: str, **sizes: int) -> torch.nn.Module:
    """The metric's model with random weights; `sizes` are pyiqa's own arguments, published values by default.

    Raises: CompbenchError when pyiqa is not installed.
    """
    try:
        return _metric(metric).build(**sizes)
    except ModuleNotFoundError as fault:
        if fault.name.split(".")[0] != "pyiqa":
            raise
        raise needs_pyiqa(metric) from None


def needs_pyiqa(metric: str) -> CompbenchError:
    """What to say where pyiqa is not installed."""
    return CompbenchError(
        f"The {metric} scorer needs pyiqa, which is no part of the ordinary installation because its licence "
        "(PolyForm-Noncommercial-1.0.0) allows non-commercial use only: if yours is, run `make quality`."
    )


def _musiq(**sizes: int) -> torch.nn.Module:
    from pyiqa.archs.musiq_arch import MUSIQ

    return MUSIQ(pretrained=False, **sizes)


def _maniqa(embed_dim: int = 768, **sizes: int) -> torch.nn.Module:
    """The scale is that of pyiqa's metric "maniqa"."""
    from pyiqa.archs import maniqa_arch

    # MANIQA's constructor always downloads ImageNet weights for its backbone, which the checkpoint then replaces.
    timm = maniqa_arch.timm
    maniqa_arch.timm = SimpleNamespace(
        create_model=lambda name, pretrained: timm.create_model(name, pretrained=False, embed_dim=embed_dim)
    )
    try:
        return maniqa_arch.MANIQA(embed_dim=embed_dim, scale=0.8, pretrained=False, **sizes)
    finally:
        maniqa_arch.timm = timm


@dataclass(frozen=True)
class _Metric:
    """`scale` is what an excellent image gets."""

    file: str
    scale: float
    build: Callable[..., torch.nn.Module]


_METRICS = {
    "musiq": _Metric("quality/musiq_koniq_ckpt-e95806b9.pth", 100, _musiq),
    "maniqa": _Metric("quality/ckpt_koniq10k.pt", 1, _maniqa),
}


def _metric(name: str) -> _Metric:
    if name not in _METRICS:
        raise CompbenchError(f"There is no image quality metric {name!r}; choose {' or '.join(_METRICS)}.")
    return _METRICS[name]
