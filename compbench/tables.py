"""Parquet files with the same bytes for the same rows."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from compbench.errors import CompbenchError


def write_table(path: Path, rows: Iterable[Mapping], schema: pa.Schema) -> None:
    """Writes rows (mappings of the schema's names) in their order, without dates or a library's own metadata."""
    table = pa.Table.from_pylist(list(rows), schema=schema)
    pq.write_table(table, path, compression="zstd", store_schema=False)


def read_table(path: Path, columns: Sequence[str] | None = None) -> list[dict]:
    """The rows of a parquet file; raises as `read_columns`."""
    return read_columns(path, columns).to_pylist()


def read_columns(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A parquet file, or these columns of it.

    Raises:
        CompbenchError: the file is missing or damaged, or lacks a column.
    """
    try:
        table = pq.read_table(path, columns=columns)
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0].rstrip(".")
        raise CompbenchError(f"The table {path} cannot be read ({reason}): make it again.") from None
    missing = [name for name in columns or () if name not in table.column_names]
    if missing:
        raise CompbenchError(f"The table {path} has no column {missing[0]}: make it again.")
    return table
