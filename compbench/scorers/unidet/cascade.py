"""Cascade R-CNN's heads (Cai, Vasconcelos, 2018, arXiv 1712.00726): a stage refines the boxes of the one before."""

import torch
import torch.nn.functional as F
from torch import nn

from compbench.scorers.finite import check_finite
from compbench.scorers.unidet.boxes import clip, decode
from compbench.scorers.unidet.layers import NormedConv
from compbench.scorers.unidet.pooling import SIDE, pool

DELTA_WEIGHTS = ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0))


class BoxHead(nn.Module):
    """Convolutions and then linear layers, each followed by ReLU."""

    def __init__(self, channels: int, hidden: int, convolutions: int, linears: int):
        super().__init__()
        self.convolutions = [f"conv{i + 1}" for i in range(convolutions)]
        self.linears = [f"fc{i + 1}" for i in range(linears)]
        for name in self.convolutions:
            self.add_module(name, NormedConv(channels, channels, 3))
        for name, inputs in zip(self.linears, [channels * SIDE**2, *[hidden] * linears], strict=False):
            self.add_module(name, nn.Linear(inputs, hidden))

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Shape (n, channels, 7, 7) to (n, hidden)."""
        for name in self.convolutions:
            hidden_states = F.relu_(getattr(self, name)(hidden_states))
        hidden_states = hidden_states.flatten(1)
        for name in self.linears:
            hidden_states = F.relu_(getattr(self, name)(hidden_states))
        return hidden_states


class BoxPredictor(nn.Module):
    """A logit for each class and one for none of them; one set of deltas for all classes."""

    def __init__(self, hidden: int, classes: int):
        super().__init__()
        self.cls_score = nn.Linear(hidden, classes + 1)
        self.bbox_pred = nn.Linear(hidden, 4)

    def forward(self, hidden_states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.cls_score(hidden_states), self.bbox_pred(hidden_states)


class CascadeHeads(nn.Module):
    def __init__(self, channels: int, hidden: int, classes: int, convolutions: int, linears: int):
        super().__init__()
        stages = len(DELTA_WEIGHTS)
        self.box_head = nn.ModuleList(BoxHead(channels, hidden, convolutions, linears) for _ in range(stages))
        self.box_predictor = nn.ModuleList(BoxPredictor(hidden, classes) for _ in range(stages))

    def forward(
        self, features: list[torch.Tensor], boxes: torch.Tensor, height: int, width: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Boxes (n, 4) of the last stage, and scores (n, classes) in [0, 1] that are means over the stages.

        Args:
            features: p3, p4 and p5 of one image, each of shape (1, channels, height, width).
            boxes: its proposals, shape (n, 4).
            height, width: of the image before padding; the boxes of each stage are clipped to them.

        Raises: NotFiniteError.
        """
        probabilities = []
        for head, predictor, weights in zip(self.box_head, self.box_predictor, DELTA_WEIGHTS, strict=True):
            logits, deltas = predictor(_read(head, features, boxes))
            check_finite("class logits", logits[None])
            check_finite("boxes", deltas[None])
            boxes = clip(decode(boxes, deltas, weights), height, width)
            # Sigmoids, not a softmax: the label spaces that UniDet joins overlap. The last one is for no class.
            probabilities.append(logits[:, :-1].sigmoid())
        return boxes, sum(probabilities) * (1 / len(probabilities))


def _read(head: BoxHead, features: list[torch.Tensor], boxes: torch.Tensor) -> torch.Tensor:
    """What the head makes of each box, shape (n, hidden)."""
    indices, hidden_states = zip(*((chosen, head(pooled)) for chosen, pooled in pool(features, boxes)), strict=True)
    return torch.cat(hidden_states)[torch.cat(indices).argsort()]
