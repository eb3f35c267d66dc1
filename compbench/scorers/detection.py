"""What an object detector is to the scorers, whatever it was trained on."""

from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from compbench.scorers.geometry import Box


@dataclass(frozen=True)
class LabelledBox:
    """A found object. `box` is in the benchmark's frame (`geometry.to_frame`), `confidence` in [0, 1]."""

    label: str
    box: Box
    confidence: float


class Detector(Protocol):
    """Finds objects in images."""

    def detect(self, images: list[Image.Image]) -> list[list[LabelledBox]]:
        """The objects of each image, highest confidence first."""
        ...


def best(detections: list[LabelledBox], label: str) -> LabelledBox | None:
    """The most confident detection whose label is exactly `label`."""
    return next((found for found in detections if found.label == label), None)
