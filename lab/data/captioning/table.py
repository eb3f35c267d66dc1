"""Captions from a table of the user's own, found by the images' file names."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from compbench.names import alike
from compbench.text import is_blank
from lab.data.tables import FILE_NAME, READERS, read_rows
from lab.errors import LabError

SCHEMA = pa.schema([("id", pa.int64()), ("caption", pa.string()), ("captioner", pa.string()), ("alt", pa.string())])


def captions_from(table: Path, name: str, rows: Sequence[Mapping]) -> list[dict]:
    """A caption for each sampled image, as rows of `SCHEMA`; rows of the table for other images are left aside.

    Args:
        table: CSV, JSONL or parquet with file_name and text. A name is the one in the user's folder (`source` of the
            sample's index) or the one in the sample (`path`).
        name: of the captioner in the parameters.
        rows: the sample's, with `id`, `path`, `source` and `caption`.

    Raises:
        LabError: the table cannot be read, gives an image no caption or two, or has none of some image.
        CompbenchError: its text is not in UTF-8.
    """
    if table.suffix.lower() not in READERS:
        raise LabError(f"`caption.table` is {str(table)!r}, but must be a file that ends in {', '.join(READERS)}.")
    said = _read(table)
    found = [_caption_of(row, said) for row in rows]
    missing = [row for row, caption in zip(rows, found, strict=True) if caption is None]
    if missing:
        there = ", ".join(list(said)[:3]) or "none"
        raise LabError(
            f"{table} has no caption for {len(missing)} of {len(rows)} sampled images, first of all "
            f"{missing[0]['source']} ({missing[0]['path']} in data/sample); its first {FILE_NAME} are: {there}. Name "
            "each image by one of these two, or sample the images that the table is for."
        )
    return [
        {"id": row["id"], "caption": caption, "captioner": name, "alt": row["caption"]}
        for row, caption in zip(rows, found, strict=True)
    ]


def _caption_of(row: Mapping, said: Mapping[str, str]) -> str | None:
    return next((said[name] for name in map(_plain, (row["source"], row["path"])) if name in said), None)


def _read(table: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, (file_name, caption) in enumerate(read_rows(table), start=1):
        if file_name is None or is_blank(file_name):
            raise LabError(f"Row {number} of {table} has no {FILE_NAME}: fill it in or remove the row.")
        if caption is None or is_blank(caption):
            raise LabError(
                f"{table} says nothing of {file_name!r} (row {number}): write its caption, or remove the row."
            )
        if _plain(file_name) in found:
            raise LabError(f"{table} has two rows for {file_name!r}: keep one.")
        found[_plain(file_name)] = caption
    return found


def _plain(name: str) -> str:
    return alike(name).removeprefix("./")
