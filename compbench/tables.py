"""Parquet files with the same bytes for the same rows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from compbench.errors import CompbenchError

BATCH = 4096  # rows that are Python objects at a time


def write_table(path: Path, rows: Iterable[Mapping], schema: pa.Schema) -> None:
    """Writes rows (mappings of the schema's names) in their order, without dates or a library's own metadata.

    They are taken and written in batches: memory does not grow with their number.
    """
    rows = iter(rows)
    batch = list(islice(rows, BATCH))
    with pq.ParquetWriter(path, schema, compression="zstd", store_schema=False) as writer:
        writer.write_table(pa.Table.from_pylist(batch, schema))  # of no rows too
        while batch := list(islice(rows, BATCH)):
            writer.write_table(pa.Table.from_pylist(batch, schema))


def read_table(path: Path, columns: Sequence[str] | None = None) -> list[dict]:
    """The rows of a parquet file, of all its columns or of these; raises as `read_columns`."""
    return list(iterate_table(path, columns))


def iterate_table(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict]:
    """The rows of a parquet file, one after the other; raises as `read_columns`."""
    with _readable(path), pq.ParquetFile(path) as file:
        _check(path, file.schema_arrow.names, columns)
        for batch in file.iter_batches(BATCH, columns=columns):
            yield from batch.to_pylist()


def read_columns(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A parquet file, or these columns of it.

    Raises:
        CompbenchError: the file is missing or damaged, or lacks a column.
    """
    with _readable(path):
        table = pq.read_table(path, columns=columns)
    _check(path, table.column_names, columns)
    return table


def _check(path: Path, there: Sequence[str], columns: Sequence[str] | None) -> None:
    missing = [name for name in columns or () if name not in there]
    if missing:
        raise CompbenchError(f"The table {path} has no column {missing[0]}: make it again.")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0].rstrip(".")
        raise CompbenchError(f"The table {path} cannot be read ({reason}): make it again.") from None
