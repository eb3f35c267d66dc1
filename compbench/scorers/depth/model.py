"""Depth maps of images in the benchmark's frame, exactly as its picture files of depth hold them."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from compbench.scorers.depth.checkpoint import load_network
from compbench.scorers.depth.network import DptHybrid
from compbench.scorers.finite import NotFiniteError, check_finite
from compbench.scorers.geometry import frame_size

SIDE = 480  # pixels of the network's input, whatever the image's shape
BATCH_SIZE = 8  # images in one pass, so that memory does not grow with the number of images


class DepthModel:
    """DPT-Hybrid as the benchmark uses it.

    Args:
        dtype: "float32", or "float16" for the mixed precision of the benchmark's own code.
        side: of the network's input in pixels, a multiple of 32.
    """

    def __init__(self, network: DptHybrid, device: str = "cpu", dtype: str = "float32", side: int = SIDE):
        self.network, self.side = network.to(device).eval(), side
        self.device, self.dtype = torch.device(device), getattr(torch, dtype)

    @classmethod
    def from_weights(
        cls, weights: Path, device: str = "cpu", dtype: str = "float32", extra_tensors: bool = False
    ) -> "DepthModel":
        """The published network from the folder `weights`; `extra_tensors` as `Choice` has it.

        Raises: CompbenchError when its file is missing or is not what was published.
        """
        return cls(load_network(weights, extra=extra_tensors), device, dtype)

    def depth(self, images: list[Image.Image]) -> list[np.ndarray]:
        """How near each pixel of each RGB image is: 0 for its farthest, 1 for its nearest.

        Returns: for each image an array (height, width) of the benchmark's frame, float64, made of 8-bit values.
        Raises: NotFiniteError with the image's position when its depth is NaN or infinite, or the same everywhere.
        """
        maps = []
        for start in range(0, len(images), BATCH_SIZE):
            try:
                maps += self._batch(images[start : start + BATCH_SIZE])
            except NotFiniteError as error:
                raise NotFiniteError(error.what, start + error.position) from None
        return maps

    def _batch(self, images: list[Image.Image]) -> list[np.ndarray]:
        pixels = torch.stack([self._pixels(image) for image in images]).to(self.device)
        with torch.inference_mode(), ExitStack() as precision:
            # float32 is whole: convolutions on a GPU would else round to TF32.
            precision.enter_context(torch.backends.cudnn.flags(enabled=True, allow_tf32=False))
            precision.enter_context(torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32))
            predicted = self.network(pixels).float()
        stretched = stretch(predicted)
        check_finite("depth map", stretched)
        return [quantise(one, image.size) for one, image in zip(stretched, images, strict=True)]

    def _pixels(self, image: Image.Image) -> torch.Tensor:
        """Shape (3, side, side), in [-1, 1]; the aspect is not kept."""
        resized = np.array(image.resize((self.side, self.side), Image.Resampling.BILINEAR))
        return (torch.from_numpy(resized).permute(2, 0, 1).float() / 255 - 0.5) / 0.5


def stretch(depth: torch.Tensor) -> torch.Tensor:
    """Each map of (batch, height, width) from its own range to [0, 1]; NaN where a map is flat."""
    low, high = depth.amin((1, 2), keepdim=True), depth.amax((1, 2), keepdim=True)
    return (depth - low) / (high - low)


def quantise(depth: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """A map in [0, 1] as the benchmark reads it back from the grey picture, of the image's size, that it writes.

    Args:
        depth: shape (height, width).
        size: (width, height) of the image.

    Returns: multiples of 1/255, float64, shape (height, width) of the benchmark's frame.
    """
    width, height = size
    full = F.interpolate(depth[None, None], size=(height, width), mode="bilinear", align_corners=True)[0, 0]
    picture = Image.fromarray((full * 255).cpu().numpy()).convert("L")  # towards zero
    return np.array(picture.resize(frame_size(width, height), Image.Resampling.BILINEAR)) / 255
