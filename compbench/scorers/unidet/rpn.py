"""Region proposal network (Ren et al., 2015, arXiv 1506.01497): where there may be objects, of whatever class."""

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import batched_nms

from compbench.scorers.finite import check_finite
from compbench.scorers.unidet.anchors import PER_CELL, grid_anchors
from compbench.scorers.unidet.boxes import clip, decode, not_empty

BEFORE_NMS = 1000  # of each level
AFTER_NMS = 1000  # of all levels together
NMS_THRESHOLD = 0.7
DELTA_WEIGHTS = (1.0, 1.0, 1.0, 1.0)


class RpnHead(nn.Module):
    """Logits and deltas of every anchor; all levels share it."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.objectness_logits = nn.Conv2d(channels, PER_CELL, 1)
        self.anchor_deltas = nn.Conv2d(channels, 4 * PER_CELL, 1)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (batch, height * width * 9) and deltas (batch, height * width * 9, 4), in the order of the anchors."""
        hidden_states = F.relu_(self.conv(features))
        logits = self.objectness_logits(hidden_states).permute(0, 2, 3, 1).flatten(1)
        deltas = self.anchor_deltas(hidden_states).unflatten(1, (PER_CELL, 4)).permute(0, 3, 4, 1, 2)
        return logits, deltas.flatten(1, 3)


class ProposalGenerator(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.rpn_head = RpnHead(channels)

    def forward(self, features: list[torch.Tensor], height: int, width: int) -> list[torch.Tensor]:
        """At most 1000 proposals for each image, most likely first, each of shape (n, 4).

        Args:
            features: p3..p7.
            height, width: of the images before padding; proposals are clipped to them.

        Raises: NotFiniteError.
        """
        anchors = grid_anchors([tuple(level.shape[-2:]) for level in features], features[0].device)
        levels = [self._best_of_level(*pair) for pair in zip(features, anchors, strict=True)]
        boxes = clip(torch.cat([boxes for boxes, _ in levels], dim=1), height, width)
        scores = torch.cat([scores for _, scores in levels], dim=1)
        level = torch.cat([torch.full_like(s[0], i, dtype=torch.long) for i, (_, s) in enumerate(levels)])
        return [_suppressed(*image, level) for image in zip(boxes, scores, strict=True)]

    def _best_of_level(self, features: torch.Tensor, anchors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Boxes (batch, n, 4) and logits (batch, n) of the level's best anchors."""
        logits, deltas = self.rpn_head(features)
        check_finite("proposals", logits)
        check_finite("proposals", deltas)
        scores, chosen = logits.topk(min(BEFORE_NMS, logits.shape[1]), dim=1)
        deltas = deltas.gather(1, chosen.unsqueeze(-1).expand(-1, -1, 4))
        return decode(anchors[chosen], deltas, DELTA_WEIGHTS), scores


def _suppressed(boxes: torch.Tensor, scores: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    kept = not_empty(boxes)
    boxes, scores, level = boxes[kept], scores[kept], level[kept]
    return boxes[batched_nms(boxes, scores, level, NMS_THRESHOLD)[:AFTER_NMS]]
