"""Samples as stage `sample` takes them."""

from pathlib import Path

from lab.data.sample import Places, Record, sample


def taken(place: Path, record: Record | None = None, **settings) -> list[dict]:
    """Rows of a sample in `place/out`; what it fetches goes to `place/store`."""
    places = Places(place / "out", place / "scratch", place / "store")
    return sample({"seed": 0, **settings}, places, Record() if record is None else record)


def of_world(place: Path, size: int) -> list[dict]:
    return taken(place, source="world", folder="lab/world", size=size, seed=11)


def of_folder(place: Path, images: Path, size: int) -> list[dict]:
    return taken(place, source="folder", folder=str(images), size=size)
