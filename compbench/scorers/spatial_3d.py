"""The benchmark's 3D-spatial score: which of two objects is nearer, by a detector's boxes and a depth map.

T2I-CompBench++ (Huang et al., 2025, arXiv 2307.06350). Its reference implementation reads the depth map with the
axes exchanged, finds "cat" in "cattle", and gives the position points only where the boxes overlap, which punishes
right images (its authors say so). Corrected, the axes are right, whole names are compared, and the right order in
depth is all that the position asks: an overlap follows from none of the three relations, since a box holds what can be
seen of an object, and half an overlap is neither in the prompts nor in the paper's definition.
"""

from math import ceil, floor, nan
from typing import Protocol

import numpy as np
from PIL import Image

from compbench.errors import CompbenchError
from compbench.scorers.detection import Detector, LabelledBox
from compbench.scorers.finite import NotFiniteError
from compbench.scorers.geometry import Box, intersection_over_union
from compbench.scorers.interface import Prompt
from compbench.scorers.mode import Mode
from compbench.scorers.spatial import Pair, check_two_objects, distinct_pairs, pair_score
from compbench.scorers.vocabulary import as_person

IOU_THRESHOLD = 0.5
# The sign that the first object's mean depth less the second's must have; larger is nearer.
DIRECTIONS = {"in front of": 1, "behind": -1, "hidden": -1}


class Depth(Protocol):
    """Says how near each pixel is."""

    def depth(self, images: list[Image.Image]) -> list[np.ndarray]:
        """A map for each image, shape (height, width) of the benchmark's frame, in [0, 1], larger is nearer.

        Raises: NotFiniteError with the position of an image whose depth is NaN, infinite or the same everywhere.
        """
        ...


def substring_pair(detections: list[LabelledBox], objects: tuple[str, str]) -> Pair:
    """The detections that the benchmark takes for the two objects, by parts of labels.

    It goes down the list until it has met both, and keeps the last that it met of each: the object that is met first
    is not its most confident detection, but the last one before the other's first. An object that is alone in the
    image is its most confident detection.
    """
    first, second = ([i for i, found in enumerate(detections) if as_person(noun) in found.label] for noun in objects)
    if first and second:
        end = max(first[0], second[0])
        return tuple(detections[max(i for i in hits if i <= end)] for hits in (first, second))
    return tuple(detections[hits[0]] if hits else None for hits in (first, second))


def mean_depth(depth: np.ndarray, box: Box, mode: Mode) -> float:
    """Mean of the map, shape (height, width), in a box of the frame.

    Official: x counts rows and y columns, and a box of no pixels gives NaN. Corrected: all pixels that the box touches.
    """
    if mode is Mode.CORRECTED:
        x0, y0, x1, y1 = floor(box[0]), floor(box[1]), ceil(box[2]), ceil(box[3])
        return float(depth[y0:y1, x0:x1].mean())
    x0, y0, x1, y1 = map(int, box)
    crop = depth[x0:x1, y0:y1]
    return float(crop.mean()) if crop.size else nan


def depth_position_score(
    first: Box, second: Box, relation: str | None, depth: np.ndarray, mode: Mode = Mode.OFFICIAL
) -> float:
    """How well the first box stands in `relation` to the second by the depth map, in [0, 1].

    Official, the position needs overlapping boxes: an IoU above one half earns 1, a smaller one its double, and exactly
    one half nothing. Where a mean is NaN no order holds, as in the benchmark.
    """
    if relation not in DIRECTIONS:
        return 0.0
    difference = mean_depth(depth, first, mode) - mean_depth(depth, second, mode)
    if not difference * DIRECTIONS[relation] > 0:
        return 0.0
    if mode is Mode.CORRECTED:
        return 1.0
    overlap = intersection_over_union(first, second)
    if overlap > IOU_THRESHOLD:
        return 1.0
    return overlap / IOU_THRESHOLD if overlap < IOU_THRESHOLD else 0.0


def spatial_3d_score(
    detections: list[LabelledBox],
    objects: tuple[str, str],
    relation: str | None,
    depth: np.ndarray,
    mode: Mode = Mode.OFFICIAL,
) -> float:
    """0.25 for each object's confidence and 0.5 for their order in depth, in [0, 1]. There is no cut-off in 3D."""
    pairs = [substring_pair(detections, objects)] if mode is Mode.OFFICIAL else distinct_pairs(detections, objects)
    return max(
        pair_score(pair, lambda a, b: depth_position_score(a.box, b.box, relation, depth, mode)) for pair in pairs
    )


class Spatial3dScorer:
    """Which of the two objects of a prompt is nearer."""

    name = "spatial_3d"

    def __init__(self, detector: Detector, depth: Depth, mode: Mode = Mode.OFFICIAL):
        self.detector, self.depth, self.mode = detector, depth, mode

    def score(self, images: list[Image.Image], prompts: list[Prompt]) -> list[float]:
        """Raises: CompbenchError when a prompt does not name two objects, or an image has no depth map."""
        for prompt in prompts:
            check_two_objects(prompt)
        detected, maps = self.detector.detect(images), self._maps(images, prompts)
        return [
            spatial_3d_score(detections, prompt.objects, prompt.relation, depth, self.mode)
            for detections, depth, prompt in zip(detected, maps, prompts, strict=True)
        ]

    def _maps(self, images: list[Image.Image], prompts: list[Prompt]) -> list[np.ndarray]:
        try:
            return self.depth.depth(images)
        except NotFiniteError as error:
            prompt = prompts[error.position]
            raise CompbenchError(
                f"The {error.what} of image {error.position + 1} of {len(images)}, of prompt {prompt.index} "
                f'("{prompt.prompt}"), is NaN, infinite or flat, so it cannot be scored: use float32 if this was '
                "float16, else look at the image and fetch the weights again."
            ) from None
