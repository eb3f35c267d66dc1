"""Encoded samples: shards of safetensors files, read row by row from memory maps, so that nothing holds them all."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from lab.errors import LabError

KEYS = ("latents", "prompt_embeds", "pooled_prompt_embeds")
EMPTY_CAPTION = "empty-caption.safetensors"  # the last two of `KEYS` for the caption ""


@dataclass(frozen=True)
class Bucket:
    """Samples whose latents have one shape, (C, H, W), in the order of their shards.

    Attributes:
        ends: for each shard, the number of samples up to its end.
    """

    shape: tuple[int, ...]
    shards: tuple[Path, ...]
    ends: tuple[int, ...]

    def __len__(self) -> int:
        return self.ends[-1]

    def read(self, indices: Iterable[int]) -> dict[str, torch.Tensor]:
        """A batch of the samples of these numbers: each of `KEYS` with a tensor (B, ...)."""
        rows = [self._row(index) for index in indices]
        return {key: torch.stack([row[key] for row in rows]) for key in KEYS}

    def _row(self, index: int) -> dict[str, torch.Tensor]:
        shard = bisect_right(self.ends, index)
        first = self.ends[shard - 1] if shard else 0
        with _opened(self.shards[shard]) as tensors:
            return {key: tensors.get_slice(key)[index - first] for key in KEYS}


def read_buckets(folder: Path) -> list[Bucket]:
    """The samples that stage `encode` wrote, by shape, in the order in which the shapes first come.

    Raises:
        LabError: there are none, or a file is damaged.
    """
    shards: dict[tuple[int, ...], list[tuple[Path, int]]] = defaultdict(list)
    for path in sorted(folder.glob("shard-*.safetensors")):
        with _opened(path) as tensors:
            count, *shape = tensors.get_slice("latents").get_shape()
        shards[tuple(shape)].append((path, count))
    if not shards:
        raise LabError(f"{folder.as_posix()} holds no encoded samples: run `dvc repro encode`, which makes them.")
    return [_bucket(shape, found) for shape, found in shards.items()]


def _bucket(shape: tuple[int, ...], shards: Sequence[tuple[Path, int]]) -> Bucket:
    ends, samples = [], 0
    for _, count in shards:
        samples += count
        ends.append(samples)
    return Bucket(shape, tuple(path for path, _ in shards), tuple(ends))


def read_empty_caption(folder: Path) -> dict[str, torch.Tensor]:
    """`prompt_embeds` (L, D) and `pooled_prompt_embeds` (P) of no caption.

    Raises:
        LabError: they were not encoded, or their file is damaged.
    """
    path = folder / EMPTY_CAPTION
    if not path.exists():
        raise LabError("`train.caption_dropout` needs the empty caption: set `encode.empty_caption` to true.")
    with _opened(path) as tensors:
        return {key: tensors.get_tensor(key)[0] for key in KEYS[1:]}


@contextmanager
def _opened(path: Path) -> Iterator[safe_open]:
    """A file of samples. Raises: LabError."""
    try:
        with safe_open(path, "pt") as tensors:
            yield tensors
    except SafetensorError as error:
        raise LabError(
            f"{path.as_posix()} is damaged ({error}): run `dvc repro encode`, which makes it again."
        ) from None
