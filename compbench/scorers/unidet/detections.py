"""From scored boxes to the detections of an image."""

from typing import NamedTuple

import torch
from torchvision.ops import batched_nms

from compbench.scorers.unidet.boxes import not_empty

SCORE_THRESHOLD = 0.1  # the benchmark's own; the detector's configuration says 0.5, which is not used
NMS_THRESHOLD = 0.5
MOST = 300


class Detections(NamedTuple):
    """Of one image, highest score first: boxes (n, 4) in pixels, scores (n,) in (0.1, 1], classes (n,)."""

    boxes: torch.Tensor
    scores: torch.Tensor
    classes: torch.Tensor


def detections_of(boxes: torch.Tensor, scores: torch.Tensor) -> Detections:
    """At most 300 detections from boxes (n, 4) and scores (n, classes); one box may serve several classes."""
    rows, classes = (scores > SCORE_THRESHOLD).nonzero(as_tuple=True)
    boxes, scores = boxes[rows], scores[rows, classes]
    kept = batched_nms(boxes, scores, classes, NMS_THRESHOLD)[:MOST]
    kept = kept[not_empty(boxes[kept])]
    return Detections(boxes[kept], scores[kept], classes[kept])
