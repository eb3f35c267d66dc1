"""A folder of images with captions, as a source of stage `sample`."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from compbench.reading import unreadable
from compbench.tables import write_table
from lab.data.fetching.outcomes import REASONS
from lab.data.folder import LeftOut, read_folder
from lab.data.shown import read_shown
from lab.data.tables import spelled
from lab.errors import LabError

LEFT_OUT = "left_out.parquet"
LEFT_OUT_SCHEMA = pa.schema([("name", pa.string()), ("reason", pa.string())])
NO_COLOURS = f"has {REASONS['colours']}"


@dataclass(frozen=True)
class Source:
    """Section `sample` of params.yaml."""

    folder: str
    size: int
    seed: int

    def images(self, places, record) -> Iterator[tuple[Image.Image, str, str]]:
        """Images in a seeded order, until there are enough; what cannot be read is left out and named in a table."""
        found = read_folder(Path(self.folder), places.scratch / "unpacked")
        left_out, good = list(found.left_out), 0
        for index in np.random.default_rng(self.seed).permutation(len(found.files)):
            if good == self.size:
                break
            file = found.files[index]
            try:
                image = read_shown(file.path)
            except LabError as error:
                reason = unreadable(error.__cause__) if error.__cause__ else NO_COLOURS
                left_out.append(LeftOut(file.name, reason))
                continue
            good += 1
            yield image, file.caption, file.name
        rows = [{"name": spelled(one.name), "reason": one.reason} for one in sorted(left_out)]
        write_table(places.target / LEFT_OUT, rows, LEFT_OUT_SCHEMA)
        if good < self.size:
            raise LabError(self._too_few(good, len(found.files), left_out))
        record.metrics |= {"left_out": len(left_out)}
        record.provenance |= {"images": len(found.files), "left_out": len(left_out)}

    def _too_few(self, good: int, count: int, left_out: Sequence[LeftOut]) -> str:
        holds = f"{self.folder!r} holds {count} images"
        if left_out:
            holds += f" of which {good} are good ({_commonest(left_out)})"
        return f"`sample.size` is {self.size}, but {holds}; lower it or add images."


def _commonest(left_out: Sequence[LeftOut]) -> str:
    """The three commonest reasons, each with an example."""
    counts = Counter(one.reason for one in left_out)
    examples = {one.reason: one.name for one in reversed(left_out)}
    return "; ".join(
        f"{examples[reason]} {reason}" + (f", as {count - 1} more" if count > 1 else "")
        for reason, count in counts.most_common(3)
    )
