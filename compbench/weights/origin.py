"""Where weights can come from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from compbench.weights.registry import WeightFile


@dataclass(frozen=True)
class Offer:
    """What an origin says of a file before it gives it: bytes, None if it does not say, and perhaps the sha256."""

    size: int | None
    sha256: str = ""


class Origin(Protocol):
    """A place that files can be had from."""

    def offer(self, file: WeightFile) -> Offer:
        """Asks for the size only. Raises: CompbenchError when the file cannot be had."""
        ...

    def bring(self, file: WeightFile, part: Path, offer: Offer) -> None:
        """Completes `part`, which may hold the file's beginning. Raises: CompbenchError when that fails."""
        ...
