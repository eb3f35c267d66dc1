"""The geometric rules of T2I-CompBench (Huang et al., 2023, arXiv 2307.06350) for two boxes in its 479-pixel frame.

The benchmark resizes every image before it looks for objects, and its distances are pixels of the resized image, so
boxes of any image size are put into that frame first. Boxes are (x0, y0, x1, y1), y downwards.
"""

SHORT_SIDE = 479
LONG_SIDE = 480  # cap: a longer side is brought down to it
IOU_THRESHOLD = 0.1
NEAR = 150.0  # pixels of the frame

Box = tuple[float, float, float, float]

BESIDE = ("next to", "on side of", "near")
# Of the difference of centres (second minus first): which axis must dominate, and the sign that it must have.
DIRECTIONS = {
    "on the left of": (0, 1),
    "on the right of": (0, -1),
    "on the top of": (1, 1),
    "on the bottom of": (1, -1),
}


# The benchmark reads this relation from complex prompts and then has no rule for it.
UNSCORED = "on top of"


def frame_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) of an image after the benchmark's resize: short side 479, then the long side at most 480."""
    short, long = min(width, height), max(width, height)
    new_short, new_long = SHORT_SIDE, int(SHORT_SIDE * long / short)
    if new_long > LONG_SIDE:
        new_short, new_long = int(LONG_SIDE * new_short / new_long), LONG_SIDE
    return (new_short, new_long) if width <= height else (new_long, new_short)


def to_frame(box: Box, width: int, height: int) -> Box:
    """A box in pixels of a `width` x `height` image, in pixels of the benchmark's frame."""
    frame_width, frame_height = frame_size(width, height)
    x, y = frame_width / width, frame_height / height
    return (box[0] * x, box[1] * y, box[2] * x, box[3] * y)


def intersection_over_union(first: Box, second: Box) -> float:
    """Share of the union of two non-empty boxes that both cover, in [0, 1]."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    common = max(width, 0.0) * max(height, 0.0)
    return common / (_area(first) + _area(second) - common)


def position_score(first: Box, second: Box, relation: str | None) -> float:
    """How well the first box stands in `relation` to the second, in [0, 1]; both boxes in the frame.

    A relation that the benchmark has no rule for, "on top of" without "the" among them, scores 0 as it does there.
    """
    difference = [_centre(second, axis) - _centre(first, axis) for axis in (0, 1)]
    distance = [abs(value) for value in difference]
    if relation in BESIDE:
        return 1.0 if min(distance) < NEAR else NEAR / max(distance)
    if relation not in DIRECTIONS:
        return 0.0
    axis, sign = DIRECTIONS[relation]
    if difference[axis] * sign <= 0 or distance[axis] <= distance[1 - axis]:
        return 0.0
    overlap = intersection_over_union(first, second)
    return 1.0 if overlap < IOU_THRESHOLD else IOU_THRESHOLD / overlap


def corrected_relation(relation: str | None) -> str | None:
    """The relation that has the rule for what the prompt means: "on top of" is "on the top of"."""
    return "on the top of" if relation == UNSCORED else relation


def one_thing(first: Box, second: Box, threshold: float) -> bool:
    """Whether the boxes overlap by more than `threshold` of their union or of either one.

    As the benchmark's counting does, a box is taken as the pixels from corner to corner, both included.
    """
    width = min(first[2], second[2]) - max(first[0], second[0]) + 1
    height = min(first[3], second[3]) - max(first[1], second[1]) + 1
    common = max(width, 0.0) * max(height, 0.0)
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (first, second)]
    return any(common / whole > threshold for whole in (sum(areas) - common, *areas))


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _centre(box: Box, axis: int) -> float:
    return (box[axis] + box[axis + 2]) / 2
