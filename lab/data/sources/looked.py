"""Images that come as bytes, from tar files or tables: each is looked at as one from the web is."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import pyarrow as pa
from PIL import Image

from compbench.tables import write_table
from lab.data.fetching.duplicates import Duplicates
from lab.data.fetching.look import look
from lab.data.fetching.outcomes import REFUSED_SCHEMA, Candidate, Denied, Kept, Refused
from lab.data.fetching.settings import Settings
from lab.data.fetching.tally import Tally
from lab.data.shown import read_shown
from lab.errors import LabError

KEPT_SCHEMA = pa.schema([("rank", pa.int64()), ("origin", pa.string()), ("sha256", pa.string())])


@dataclass(frozen=True)
class Item:
    """An image file with the words it came with; `origin` says where it lies."""

    origin: str
    caption: str
    content: bytes


@dataclass(frozen=True)
class Bounds:
    """What is asked of an image; keys of section `sample`."""

    min_side: int
    max_pixels: int
    max_bytes: int
    duplicate_distance: int | None

    @classmethod
    def of(cls, source) -> "Bounds":
        """Those of a source, which has them among its fields."""
        return cls(**{field.name: getattr(source, field.name) for field in fields(cls)})


def looked(
    items: Iterator[Item], size: int, bounds: Bounds, places, record, nothing: Callable[[], str]
) -> Iterator[tuple[Image.Image, str, str]]:
    """The first `size` good images, in the order in which they come; no item is read beyond.

    Writes which were kept and which were refused.

    Args:
        nothing: why no item came, in a sentence.

    Raises:
        LabError: there are fewer.
    """
    settings = Settings(contact="", **{field.name: getattr(bounds, field.name) for field in fields(bounds)})
    places.scratch.mkdir(parents=True, exist_ok=True)
    file, duplicates, tally = places.scratch / "looked-at", Duplicates(bounds.duplicate_distance), Tally()
    kept, refused = [], []
    for rank, item in enumerate(items):
        candidate = Candidate(rank, item.origin, item.caption)
        try:
            outcome = _kept(candidate, item.content, file, settings)
            duplicates.add(outcome)
        except Denied as denied:
            outcome = Refused(candidate, denied.reason, denied.detail)
            refused.append(outcome.row())
        tally.add(outcome)
        if isinstance(outcome, Kept):
            kept.append({"rank": rank, "origin": item.origin, "sha256": outcome.sha256})
            yield read_shown(file), item.caption, item.origin
            if len(kept) == size:
                break
    write_table(places.target / "kept.parquet", kept, KEPT_SCHEMA)
    write_table(places.target / "refused.parquet", refused, REFUSED_SCHEMA)
    record.metrics |= tally.metrics()
    if not kept and not refused:
        raise LabError(nothing())
    if len(kept) < size:
        raise LabError(
            f"`sample.size` is {size}, but of {len(kept) + len(refused)} images only {len(kept)} are good: "
            f"{tally.commonest()}. Lower it, or loosen what is asked of them; refused.parquet in {places.target} says "
            "more."
        )


def _kept(candidate: Candidate, content: bytes, file: Path, settings: Settings) -> Kept:
    """Raises: Denied."""
    if not content:
        raise Denied("empty", "no bytes")
    if len(content) > settings.max_bytes:
        raise Denied("bytes", str(len(content)))
    file.write_bytes(content)
    seen = look(file, settings)
    digest = hashlib.sha256(content).hexdigest()
    return Kept(candidate, file, seen.width, seen.height, len(content), digest, seen.phash)
