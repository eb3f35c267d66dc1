"""UniDet as a detector of the scorers: from PIL images to labelled boxes in the benchmark's frame."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from compbench.errors import CompbenchError
from compbench.scorers.detection import LabelledBox
from compbench.scorers.finite import NotFiniteError
from compbench.scorers.geometry import frame_size
from compbench.scorers.mode import Mode
from compbench.scorers.unidet.checkpoint import load_model
from compbench.scorers.unidet.detections import Detections
from compbench.scorers.unidet.labels import read_labels
from compbench.scorers.unidet.model import R50, RS200, UniDet

VARIANTS = {"rs200": RS200, "r50": R50}
FILES = {name: f"unidet/Unified_learned_OCIM_{name.upper()}_6x+2x.pth" for name in VARIANTS}
LABEL_SPACE = "unidet/learned_mAP+M.json"
BATCH_SIZE = 8  # images in one pass, so that memory does not grow with the number of images


class UniDetDetector:
    """Finds objects of 722 classes. It keeps its last batch's result, so that two scorers share one look.

    Images of one size are batched together: with split attention, padding one image to the size of another would
    change what is found in it.
    """

    def __init__(self, model: UniDet, labels: Sequence[str], mode: Mode, device: str = "cpu", dtype: str = "float32"):
        """
        Args:
            labels: of each class (`labels.read_labels`).
            mode: OFFICIAL gives every model BGR pixels, though RS200 was trained on RGB; CORRECTED gives it RGB.
            dtype: "float32", or "float16" for the mixed precision of the benchmark's own code.

        Raises: CompbenchError when there is not one label for each class.
        """
        if len(labels) != model.variant.classes:
            raise CompbenchError(
                f"UniDet has {model.variant.classes} classes, but its label space names {len(labels)}: fetch "
                f"{LABEL_SPACE} again with the weights."
            )
        self.model, self.labels = model.to(device).eval(), tuple(labels)
        self.bgr = mode is Mode.OFFICIAL or not model.variant.rgb
        self.device, self.dtype = torch.device(device), getattr(torch, dtype)
        self._images: list[Image.Image] | None = None
        self._found: list[list[LabelledBox]] = []

    @classmethod
    def from_weights(
        cls,
        weights: Path,
        variant: str,
        mode: Mode,
        device: str = "cpu",
        dtype: str = "float32",
        extra_tensors: bool = False,
    ) -> "UniDetDetector":
        """The published detector "rs200" or "r50" from the folder `weights`; `extra_tensors` as `Choice` has it.

        Raises: CompbenchError when a file is missing or is not what was published.
        """
        model = load_model(VARIANTS[variant], weights, FILES[variant], extra_tensors)
        return cls(model, read_labels(weights / LABEL_SPACE), mode, device, dtype)

    def detect(self, images: list[Image.Image]) -> list[list[LabelledBox]]:
        """At most 300 objects of each RGB image, highest confidence first.

        Raises: CompbenchError naming the image by its place in the list when a number is NaN or infinite.
        """
        if images is not self._images:
            # In this order: a batch that fails leaves nothing behind.
            self._found = self._detect(images)
            self._images = images
        return self._found

    def _detect(self, images: list[Image.Image]) -> list[list[LabelledBox]]:
        found: dict[int, list[LabelledBox]] = {}
        for places in _batches(images):
            pixels = torch.stack([self._pixels(images[place]) for place in places])
            try:
                with torch.inference_mode(), self._precision():
                    detections = self.model(pixels.to(self.device))
            except NotFiniteError as error:
                raise CompbenchError(_not_finite(error.what, places[error.position], len(images))) from None
            found |= {place: self._labelled(one) for place, one in zip(places, detections, strict=True)}
        return [found[place] for place in range(len(images))]

    def _pixels(self, image: Image.Image) -> torch.Tensor:
        """Shape (3, height, width) of the frame, float32 in [0, 255]."""
        resized = np.array(image.resize(frame_size(*image.size), Image.Resampling.BILINEAR))
        channels_first = torch.from_numpy(resized).permute(2, 0, 1).float()
        return channels_first.flip(0) if self.bgr else channels_first

    def _precision(self) -> AbstractContextManager:
        """float32 is whole: convolutions on a GPU would else round to TF32."""
        stack = ExitStack()
        stack.enter_context(torch.backends.cudnn.flags(enabled=True, allow_tf32=False))
        stack.enter_context(torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32))
        return stack

    def _labelled(self, found: Detections) -> list[LabelledBox]:
        boxes, scores, classes = (values.tolist() for values in found)
        return [
            LabelledBox(self.labels[index], tuple(box), score)
            for box, score, index in zip(boxes, scores, classes, strict=True)
        ]


def _batches(images: list[Image.Image]) -> Iterator[list[int]]:
    """Places in the list of at most `BATCH_SIZE` images that have one size in the frame."""
    by_size: dict[tuple[int, int], list[int]] = {}
    for place, image in enumerate(images):
        by_size.setdefault(frame_size(*image.size), []).append(place)
    for places in by_size.values():
        for start in range(0, len(places), BATCH_SIZE):
            yield places[start : start + BATCH_SIZE]


def _not_finite(what: str, place: int, total: int) -> str:
    return (
        f"UniDet's {what} of image {place + 1} of {total} are NaN or infinite, so it cannot be scored: use float32 if "
        "this was float16, else fetch the weights again."
    )
