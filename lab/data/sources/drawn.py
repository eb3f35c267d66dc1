"""What sources that draw from tables share: the draw is made once, and noted."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa

from compbench.tables import read_table, write_table
from lab.data.tabular.draw import VISIT_SCHEMA, Draw
from lab.data.tabular.files import Files


def draw_rows(draw: Draw, wanted: int, schema: pa.Schema, named: Callable[[int, Mapping], dict], place: Path) -> list:
    """Up to `wanted` rows by rising rank, as `named` makes them of rank and row.

    Args:
        place: where they stay, for a run that was killed or that changes nothing of the draw.
    """
    place = place / "draws" / _identity(draw, wanted)
    drawn, visits = place / "drawn.parquet", place / "visits.json"
    if not visits.exists():
        rows = [named(rank, row) for rank, row in enumerate(draw.rows(wanted))]
        place.mkdir(parents=True, exist_ok=True)
        write_table(drawn, rows, schema)
        part = visits.with_suffix(".part")
        part.write_text(json.dumps(draw.visits))
        part.rename(visits)  # the last, so that both are whole
    draw.visits[:] = json.loads(visits.read_text())
    return read_table(drawn)


def _identity(draw: Draw, wanted: int) -> str:
    """Stands for all that the rows depend on. Files without a digest count by size and date, as for `make`."""
    files = sorted((file.name, file.size, file.identity) for file in draw.files.files)
    said = [draw.columns, repr(draw.passing), draw.seed, draw.in_listed_order, wanted, files]
    return hashlib.sha256(json.dumps(said).encode(errors="surrogatepass")).hexdigest()[:32]


def note_draw(draw: Draw, record, target: Path) -> None:
    """Writes which row groups were read, and notes where they come from."""
    write_table(target / "read.parquet", draw.visits, VISIT_SCHEMA)
    read = {visit["file"]: visit["digest"] for visit in draw.visits}
    note_files(draw.files, read, record)
    record.metrics |= {
        "rows_read": sum(visit["rows"] for visit in draw.visits),
        "rows_passing": sum(visit["passing"] for visit in draw.visits),
        "files_read": len(read),
    }


def note_files(files: Files, read: Mapping[str, str], record) -> None:
    """Notes address, revision, licence and the digests of files that were read."""
    record.provenance |= {**files.said, "files": dict(sorted(read.items()))}
    if "revision" in files.said or "address" in files.said:
        of_files = hashlib.sha256(json.dumps(sorted(read.items())).encode(errors="surrogatepass")).hexdigest()
        digest = files.said.get("revision") or of_files
        record.inputs.append(("sample", files.address, digest))


def too_few(size: int, draw: Draw, passing: int) -> str:
    """Why the tables give fewer rows than images are asked for."""
    rows = sum(visit["rows"] for visit in draw.visits)
    filters = ", ".join(draw.passing.columns)
    why = f"of the {rows} rows of {draw.files.address} {passing or 'none'} pass" + (
        f" (by {filters})" if filters else ""
    )
    return f"`sample.size` is {size}, but {why}: loosen `sample.filters`, or lower it."
