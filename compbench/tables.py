"""Parquet files with the same bytes for the same rows."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def write_table(path: Path, rows: Iterable[Mapping], schema: pa.Schema) -> None:
    """Writes rows (mappings of the schema's names) in their order, without dates or a library's own metadata."""
    table = pa.Table.from_pylist(list(rows), schema=schema)
    pq.write_table(table, path, compression="zstd", store_schema=False)


def read_table(path: Path) -> list[dict]:
    """The rows of a parquet file."""
    return pq.read_table(path).to_pylist()
