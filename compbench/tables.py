"""Parquet files with the same bytes for the same rows."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

BATCH = 4096  # rows that are Python objects at a time


def write_table(path: Path, rows: Iterable[Mapping], schema: pa.Schema) -> None:
    """Writes rows (mappings of the schema's names) in their order, without dates or a library's own metadata."""
    rows = iter(rows)
    batches = iter(lambda: list(islice(rows, BATCH)), [])
    table = pa.concat_tables([schema.empty_table(), *(pa.Table.from_pylist(batch, schema) for batch in batches)])
    pq.write_table(table, path, compression="zstd", store_schema=False)


def read_table(path: Path, columns: list[str] | None = None) -> list[dict]:
    """The rows of a parquet file, of all its columns or of these."""
    return list(iterate_table(path, columns))


def iterate_table(path: Path, columns: list[str] | None = None) -> Iterator[dict]:
    """The rows of a parquet file, one after the other."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH, columns=columns):
            yield from batch.to_pylist()
