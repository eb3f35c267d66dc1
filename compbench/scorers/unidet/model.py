"""The whole detector, and the two variants of it that the benchmark uses."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from compbench.scorers.finite import NotFiniteError, check_finite
from compbench.scorers.unidet.backbone import BottomUp
from compbench.scorers.unidet.cascade import CascadeHeads
from compbench.scorers.unidet.detections import Detections, detections_of
from compbench.scorers.unidet.fpn import FeaturePyramid
from compbench.scorers.unidet.pooling import LEVELS
from compbench.scorers.unidet.resnest import resnest
from compbench.scorers.unidet.resnet import resnet
from compbench.scorers.unidet.rpn import ProposalGenerator

SIZE_DIVISOR = 32


@dataclass(frozen=True)
class Variant:
    """What a published model is made of. Widths are those of the publication, unless a test makes them smaller.

    `rgb` is the channel order that it was trained on, `pixel_mean` and `pixel_std` are in that order, on the 0..255
    scale. `normed` is for the pyramid.
    """

    backbone: Callable[[int, tuple], BottomUp]
    blocks: tuple[int, int, int, int]
    normed: bool
    head_convolutions: int
    head_linears: int
    rgb: bool
    pixel_mean: tuple[float, float, float]
    pixel_std: tuple[float, float, float]
    width: int = 64
    channels: int = 256
    hidden: int = 1024
    classes: int = 722


RS200 = Variant(
    backbone=resnest,
    blocks=(3, 24, 36, 3),
    normed=True,
    head_convolutions=4,
    head_linears=1,
    rgb=True,
    pixel_mean=(123.68, 116.779, 103.939),
    pixel_std=(58.393, 57.12, 57.375),
)
R50 = Variant(
    backbone=resnet,
    blocks=(3, 4, 6, 3),
    normed=False,
    head_convolutions=0,
    head_linears=2,
    rgb=False,
    pixel_mean=(103.53, 116.28, 123.675),
    pixel_std=(1.0, 1.0, 1.0),
)


class UniDet(nn.Module):
    """A detector of the joint label space of COCO, Objects365, OpenImages and Mapillary."""

    def __init__(self, variant: Variant):
        super().__init__()
        self.variant = variant
        inputs = tuple(4 * variant.width * 2**stage for stage in (1, 2, 3))
        bottom_up = variant.backbone(variant.width, variant.blocks)
        self.backbone = FeaturePyramid(bottom_up, inputs, variant.channels, variant.normed)
        self.proposal_generator = ProposalGenerator(variant.channels)
        self.roi_heads = CascadeHeads(
            variant.channels, variant.hidden, variant.classes, variant.head_convolutions, variant.head_linears
        )

    def forward(self, pixels: torch.Tensor) -> list[Detections]:
        """Detections of images of one size.

        Args:
            pixels: shape (batch, 3, height, width), in [0, 255].

        Raises: NotFiniteError.
        """
        height, width = pixels.shape[-2:]
        features = self.backbone(self.padded(pixels))
        for level in features:
            check_finite("features", level)
        proposals = self.proposal_generator(features, height, width)
        return [self._detect(features, i, boxes, height, width) for i, boxes in enumerate(proposals)]

    def padded(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalised, and then with zeros at the right and the bottom, to multiples of 32."""
        mean, std = (pixels.new_tensor(of)[:, None, None] for of in (self.variant.pixel_mean, self.variant.pixel_std))
        right, bottom = (-side % SIZE_DIVISOR for side in (pixels.shape[-1], pixels.shape[-2]))
        return F.pad((pixels - mean) / std, (0, right, 0, bottom))

    def _detect(self, features: list[torch.Tensor], position: int, boxes: torch.Tensor, height: int, width: int):
        """Image by image: the heads' memory is that of 1000 boxes, whatever the batch."""
        of_image = [level[position : position + 1] for level in features[: len(LEVELS)]]
        try:
            return detections_of(*self.roi_heads(of_image, boxes, height, width))
        except NotFiniteError as error:
            raise NotFiniteError(error.what, position) from None
