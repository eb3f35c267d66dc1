"""Samples of images with the words they came with, from any of the sources."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import pyarrow as pa

from lab.data.tables import spelled

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("path", pa.string()),
        ("caption", pa.string()),
        ("source", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)
# zlib's level. Photographs gain a tenth by the default, which takes three times as long; the world's are drawings.
COMPRESSION = {"world": -1}
FAST = 1
# By name and not by import: an edit of one source's code is no reason to sample from another again (see dvc.yaml).
SOURCES = {
    "world": "lab.world.sampling",
    "folder": "lab.data.sources.folder",
    "urls": "lab.data.sources.urls",
    "webdataset": "lab.data.sources.webdataset",
    "hub": "lab.data.sources.hub",
}


@dataclass(frozen=True)
class Places:
    """Folders of a run.

    Attributes:
        target: what becomes the stage's output.
        scratch: for this run alone, which finds it again when it was killed.
        store: what was fetched, by this run or by others.
    """

    target: Path
    scratch: Path
    store: Path


@dataclass
class Record:
    """What a source says of itself beside its images.

    Attributes:
        provenance: written to `provenance.json`, if there is any.
        metrics: for MLflow.
        inputs: name, address and digest of each data set that it read.
    """

    provenance: dict = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    inputs: list[tuple[str, str, str]] = field(default_factory=list)


def source_of(settings: Mapping):
    """The source that section `sample` of params.yaml names, whatever its class."""
    return import_module(SOURCES[settings["source"]]).Source(
        **{key: value for key, value in settings.items() if key != "source"}
    )


def sample(
    source: str,
    folder: str,
    size: int,
    seed: int,
    target: Path,
    scratch: Path,
    store: Path | None = None,
    record: Record | None = None,
    **settings: object,
) -> list[dict]:
    """Writes images to `images/` in `target` and returns their rows (`SCHEMA`), with paths from there on.

    Args:
        source, folder, size, seed, settings: section `sample` of params.yaml.
        target, scratch, store: see `Places`; `scratch` is the store where there is none.
        record: takes what the source says of itself.

    Raises:
        LabError: the source has too few good images, or is not what it should be.
        CompbenchError: a table of captions is not in UTF-8.
        ConnectionError, TimeoutError: who hosts the images cannot be reached.
    """
    places, record = Places(target, scratch, store or scratch), record or Record()
    (target / "images").mkdir(parents=True, exist_ok=True)
    level = COMPRESSION.get(source, FAST)
    chosen = source_of({"source": source, "folder": folder, "size": size, "seed": seed, **settings})
    rows = []
    for number, (image, caption, origin) in enumerate(chosen.images(places, record)):
        path = f"images/{number:06d}.png"
        image.save(target / path, compress_level=level)
        width, height = image.size
        said = {"caption": spelled(caption), "source": spelled(origin)}
        rows.append({"id": number, "path": path, **said, "width": width, "height": height})
    if record.provenance:
        provenance = json.dumps(record.provenance, indent=1, ensure_ascii=False, sort_keys=True)
        (target / "provenance.json").write_text(f"{provenance}\n", encoding="utf-8")
    return rows
