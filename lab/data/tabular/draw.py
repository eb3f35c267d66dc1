"""Draws rows from parquet tables: files and row groups in a seeded order, the columns of filters first.

Which rows come, and in which order, depends on the seed, the names of the files and their contents alone.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import file_digest

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lab.data.tabular.files import Files, TableFile, order_key
from lab.data.tabular.filters import Passing
from lab.errors import LabError

BATCH = 2**16  # rows in memory at once, of columns that hold no images
VISIT_SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("digest", pa.string()),
        ("row_group", pa.int32()),
        ("rows", pa.int64()),
        ("passing", pa.int64()),
    ]
)


@dataclass
class Draw:
    """Passing rows of `files`, with the values of `columns`.

    Attributes:
        in_listed_order: take files, row groups and rows as they stand, and not in a seeded order.
        batch: rows in memory at once.
        visits: rows of `VISIT_SCHEMA`, one for each row group that was read.
    """

    files: Files
    columns: Sequence[str]
    passing: Passing
    seed: int
    in_listed_order: bool = False
    batch: int = BATCH
    visits: list[dict] = field(default_factory=list)

    def rows(self, wanted: int) -> list[dict]:
        """The first `wanted` rows of the draw, or all there are: the columns, `file`, `row_group` and `row`.

        Raises:
            LabError: a table is damaged, lacks a column or has one of another type.
            ConnectionError, TimeoutError: who hosts them does not answer.
        """
        found: list[dict] = []
        for file in self._ordered():
            found += self._of_file(file, wanted - len(found))
            if len(found) >= wanted:
                break
        return found

    def each(self) -> Iterator[dict]:
        """All rows of the draw one by one; no file or row group is read before it is come to. Raises as `rows`."""
        for file in self._ordered():
            yield from self._of_file(file, sys.maxsize)

    def look(self) -> None:
        """Opens the first table and sees that it has the columns. Raises as `rows`."""
        file = self._ordered()[0]
        with self._opened(file):
            pass

    def _ordered(self) -> list[TableFile]:
        if self.in_listed_order:
            return sorted(self.files.files, key=lambda file: file.name)
        return self.files.in_order(self.seed)

    def _of_file(self, file: TableFile, wanted: int) -> Iterator[dict]:
        digest = file.digest or _sha256(file)
        with self._opened(file) as table:
            groups = list(range(table.num_row_groups))
            if not self.in_listed_order:
                groups.sort(key=lambda group: order_key(self.seed, file.name, group))
            for group in groups:
                rows = self._passing(table, group)
                self.visits.append(
                    {
                        "file": file.name,
                        "digest": digest,
                        "row_group": group,
                        "rows": table.metadata.row_group(group).num_rows,
                        "passing": len(rows),
                    }
                )
                chosen = self._shuffled(rows, file.name, group)[:wanted]
                yield from self._read(table, file.name, group, chosen)
                wanted -= len(chosen)
                if wanted <= 0:
                    return

    @contextmanager
    def _opened(self, file: TableFile) -> Iterator[pq.ParquetFile]:
        """Raises as `rows`."""
        with _naming(file), file.open() as opened, pq.ParquetFile(opened, pre_buffer=True) as table:
            self._check_columns(file, table.schema_arrow)
            yield table

    def _passing(self, table: pq.ParquetFile, group: int) -> np.ndarray:
        """Numbers of the rows of a row group that pass."""
        if not self.passing.columns:
            return np.arange(table.metadata.row_group(group).num_rows)
        batches = table.iter_batches(self.batch, row_groups=[group], columns=self.passing.columns)
        return np.flatnonzero(np.concatenate([self.passing.mask(batch) for batch in batches] or [np.zeros(0, bool)]))

    def _shuffled(self, rows: np.ndarray, name: str, group: int) -> np.ndarray:
        if self.in_listed_order:
            return rows
        seed = int.from_bytes(order_key(self.seed, name, group, "rows")[:8])
        return np.random.default_rng(seed).permutation(rows)

    def _read(self, table: pq.ParquetFile, name: str, group: int, chosen: np.ndarray) -> Iterator[dict]:
        """The chosen rows in their order; nothing is read where none is."""
        if not len(chosen):
            return
        found, start, wanted = {}, 0, np.sort(chosen)
        for batch in table.iter_batches(self.batch, row_groups=[group], columns=list(self.columns)):
            here = wanted[(wanted >= start) & (wanted < start + len(batch))]
            found |= zip(here.tolist(), batch.take(pa.array(here - start)).to_pylist(), strict=True)
            start += len(batch)
        for row in chosen.tolist():
            yield {**found[row], "file": name, "row_group": group, "row": row}

    def _check_columns(self, file: TableFile, schema: pa.Schema) -> None:
        unclear = [name for name in (*self.columns, *self.passing.columns) if schema.names.count(name) != 1]
        if unclear:
            raise LabError(
                f"`sample` names the column {unclear[0]}, but {self.files.address}/{file.name} has "
                f"{', '.join(schema.names)}: correct `sample.columns` or `sample.filters`."
            )


def _sha256(file: TableFile) -> str:
    with file.open(whole=True) as opened:
        return f"sha256:{file_digest(opened, 'sha256').hexdigest()}"


@contextmanager
def _naming(file: TableFile) -> Iterator[None]:
    """Says which file is damaged. Raises: LabError."""
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0]
        raise LabError(f"The table {file.name} cannot be read ({first}): fetch it again, or leave it out.") from None
