"""Samples as stage `sample` takes them; as a program, for clients that read their settings when they are imported.

python -m tests.lab.data.sampled PLACE < settings.json > rows.json
"""

import json
import sys
from pathlib import Path

from lab.data.sample import Record, sample
from lab.errors import LabError


def taken(place: Path, record: Record | None = None, **settings) -> list[dict]:
    """Rows of a sample in `place/out`; what it fetches goes to `place/store`."""
    places = {"target": place / "out", "scratch": place / "scratch", "store": place / "store"}
    return sample(**{"seed": 0, **settings}, **places, record=record)


def of_world(place: Path, size: int) -> list[dict]:
    return taken(place, source="world", folder="lab/world", size=size, seed=11)


def of_folder(place: Path, images: Path, size: int) -> list[dict]:
    return taken(place, source="folder", folder=str(images), size=size)


def main() -> None:
    """Prints the rows, or the fault in one sentence."""
    try:
        print(json.dumps(taken(Path(sys.argv[1]), **json.load(sys.stdin))))
    except (LabError, ConnectionError, TimeoutError) as error:
        print(json.dumps(f"{type(error).__name__}: {error}"))


if __name__ == "__main__":
    main()
