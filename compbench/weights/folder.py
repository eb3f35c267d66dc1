"""Weights out of a folder that has the layout of the weights folder: for machines without a network."""

import shutil
from pathlib import Path

from compbench.errors import CompbenchError
from compbench.weights.origin import Offer
from compbench.weights.registry import WeightFile


class Folder:
    """Copies, so that the weights do not depend on a disk that may be taken away."""

    def __init__(self, root: Path):
        self.root = root

    def offer(self, file: WeightFile) -> Offer:
        """Raises: CompbenchError when the folder lacks the file."""
        path = self.root / file.path
        if not path.is_file():
            raise CompbenchError(
                f"{path} does not exist: save {file.url} under this name, or give another folder to --from."
            )
        return Offer(path.stat().st_size)

    def bring(self, file: WeightFile, part: Path, offer: Offer) -> None:
        """Copies the file to `part`."""
        shutil.copyfile(self.root / file.path, part)
