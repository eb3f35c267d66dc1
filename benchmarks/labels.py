"""Holds the world's detector to what an eye sees: `python -m benchmarks.labels` (see benchmarks/labelled/README.md)."""

import csv
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest

from lab.world.detector import Detection, detect
from lab.world.geometry import CANVAS

FOLDER = Path(__file__).parent / "labelled"
FIELDS = ("shape", "color", "texture")
UNCLEAR = "?"
# Labelled centres are estimates; two objects are at least 15 pixels apart unless one stands in the other.
NEAR = 8.0
HELD_OUT = range(200, 300)


@dataclass(frozen=True)
class Label:
    """One object that an eye sees: about where its centre is, in pixels, and its look, `UNCLEAR` where in doubt."""

    x: float
    y: float
    shape: str
    color: str
    texture: str

    @property
    def clear(self) -> bool:
        return UNCLEAR not in (self.shape, self.color, self.texture)


@dataclass(frozen=True)
class Picture:
    """One labelled picture; `file` is its path below `results/images` of the run that drew it."""

    number: int
    file: str
    image: Image.Image
    labels: tuple[Label, ...]


def read_labels(name: str) -> dict[int, tuple[Label, ...]]:
    """The labels in one of the folder's tables, by picture."""
    found = defaultdict(list)
    with (FOLDER / name).open(newline="") as file:
        for row in csv.DictReader(file):
            look = (row[field] for field in FIELDS)
            found[int(row["number"])].append(Label(float(row["x"]), float(row["y"]), *look))
    return {number: tuple(labels) for number, labels in found.items()}


@cache
def pictures() -> tuple[Picture, ...]:
    """All labelled pictures, by number.

    Raises: ValueError for pixels that are not those that were labelled.
    """
    labels = read_labels("labels.csv")
    sheets = [Image.open(FOLDER / f"pictures-{sheet}.png").convert("RGB") for sheet in range(3)]
    found = []
    with (FOLDER / "images.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            number = int(row["number"])
            left, top = number % 10 * CANVAS, number % 100 // 10 * CANVAS
            image = sheets[number // 100].crop((left, top, left + CANVAS, top + CANVAS))
            if hashlib.sha256(image.tobytes()).hexdigest() != row["pixels_sha256"]:
                raise ValueError(
                    f"Picture {number} of {FOLDER.name} is not the one that was labelled: check it out again."
                )
            found.append(Picture(number, row["file"], image, labels[number]))
    return tuple(found)


Pair = tuple[Label | None, Detection | Label | None]


def pairs(labels: Iterable[Label], found: Iterable[Detection | Label]) -> list[Pair]:
    """Labels and what was found near them, nearest together; None stands for what has no partner."""
    labels, found = list(labels), list(found)
    distance = np.array([[np.hypot(a.x - x, a.y - y) for x, y in map(_centre, found)] for a in labels])
    distance = distance.reshape(len(labels), len(found))
    # Of two objects in one place, each goes to the label of its look: a look counts less than any pixel of distance.
    alike = np.array([[sum(getattr(a, f) == getattr(b, f) for f in FIELDS) for b in found] for a in labels])
    cost = np.where(distance <= NEAR, distance - 0.3 * alike.reshape(distance.shape), 1e3)
    rows, columns = linear_sum_assignment(cost)
    met = [(i, j) for i, j in zip(rows, columns, strict=True) if distance[i, j] <= NEAR]
    alone = [(label, None) for i, label in enumerate(labels) if i not in {i for i, _ in met}]
    extra = [(None, item) for j, item in enumerate(found) if j not in {j for _, j in met}]
    return [(labels[i], found[j]) for i, j in met] + alone + extra


def _centre(item: Detection | Label) -> tuple[float, float]:
    if isinstance(item, Label):
        return item.x, item.y
    return (item.box[0] + item.box[2]) / 2, (item.box[1] + item.box[3]) / 2


@dataclass(frozen=True)
class Share:
    """`part` of `whole`, with Wilson's 95 % interval."""

    part: int
    whole: int

    def __str__(self) -> str:
        low, high = binomtest(self.part, self.whole).proportion_ci(method="wilson")
        return f"{self.part} of {self.whole} = {self.part / self.whole:.3f} [{low:.3f}, {high:.3f}]"


@dataclass(frozen=True)
class Comparison:
    """Answers against labels.

    `missed`: clear objects that no answer stands on. `wrong`: answers that name a clear object falsely or stand where
    no object is; answers on unclear objects are neither right nor wrong. `kappa` is Cohen's, of each attribute, over
    all objects found whose attribute is clear.
    """

    missed: Share
    wrong: Share
    kappa: dict[str, float]


def compare(met: list[Pair]) -> Comparison:
    """The comparison of all pairs of all pictures."""
    clear = [(label, item) for label, item in met if label is not None and label.clear]
    false = [pair for pair in met if is_wrong(pair)]
    answers = [item for label, item in met if item is not None and (label is None or label.clear)]
    both = [(label, item) for label, item in met if label is not None and item is not None]
    return Comparison(
        Share(sum(item is None for _, item in clear), len(clear)),
        Share(len(false), len(answers)),
        {field: _kappa([(getattr(a, field), getattr(b, field)) for a, b in both]) for field in FIELDS},
    )


def is_wrong(pair: Pair) -> bool:
    """Whether an answer names a clear object falsely, or stands where no object is."""
    label, item = pair
    if item is None or label is None:
        return item is not None
    return label.clear and any(getattr(label, field) != getattr(item, field) for field in FIELDS)


def _kappa(answers: list[tuple[str, str]]) -> float:
    """Cohen's kappa of pairs of words, without those in which a label is unclear."""
    answers = [(a, b) for a, b in answers if a != UNCLEAR]
    words = sorted({word for pair in answers for word in pair})
    table = np.array([[answers.count((a, b)) for b in words] for a in words]) / len(answers)
    chance = table.sum(0) @ table.sum(1)
    return float((np.trace(table) - chance) / (1 - chance))


def agreement() -> Share:
    """The objects of the second labelling that have the same look in the first."""
    first, again = read_labels("labels.csv"), read_labels("again.csv")
    met = [pair for number, labels in again.items() for pair in pairs(first[number], labels)]
    same = sum(None not in (a, b) and all(getattr(a, f) == getattr(b, f) for f in FIELDS) for a, b in met)
    return Share(same, len(met))


def answered(detector: Callable = detect, keep: Callable[[Picture], bool] = lambda _: True) -> list[Pair]:
    """All pairs of the pictures that `keep` keeps."""
    return [pair for picture in pictures() if keep(picture) for pair in pairs(picture.labels, detector(picture.image))]


def _is_held_out(picture: Picture) -> bool:
    return picture.number in HELD_OUT


def _is_unlike(picture: Picture) -> bool:
    """Whether a picture is held out and no arm's picture of its prompt was worked on: arms share seeds."""
    worked_on = {other.file.split("/", 1)[1] for other in pictures() if not _is_held_out(other)}
    return _is_held_out(picture) and picture.file.split("/", 1)[1] not in worked_on


SUBSETS = {
    "all": lambda _: True,
    "worked on": lambda picture: not _is_held_out(picture),
    "held out": _is_held_out,
    "held out, other prompts": _is_unlike,
    "held out, without `inside`": lambda picture: _is_held_out(picture) and " inside " not in picture.file,
}


def write_answers() -> None:
    """Writes what the detector says of each picture beside the labels."""
    with (FOLDER / "answers.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["number", "x0", "y0", "x1", "y1", *FIELDS, "confidence"])
        for picture in pictures():
            for item in detect(picture.image):
                look = (getattr(item, field) for field in FIELDS)
                table.writerow([picture.number, *item.box, *look, item.confidence])


def main() -> None:
    write_answers()
    print(f"the eye with itself: {agreement()} objects alike")
    for name, keep in SUBSETS.items():
        comparison = compare(answered(keep=keep))
        kappa = ", ".join(f"{field} {value:.3f}" for field, value in comparison.kappa.items())
        print(f"{name}: missed {comparison.missed}; wrong {comparison.wrong}; kappa {kappa}")


if __name__ == "__main__":
    main()
