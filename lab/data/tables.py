"""The tables that say what each image of a folder shows: metadata.csv, metadata.jsonl, metadata.parquet.

They are those of `datasets`' imagefolder, whose readers guess: a caption 007 becomes 7, and NA none. Here a caption is
the text that stands in the table.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from compbench.text import read_text, split_lines
from lab.errors import LabError

FILE_NAME = "file_name"
CAPTIONS = ("text", "caption")  # the first of them that is there
Row = tuple[str | None, str | None]  # file name, caption


def read_rows(path: Path) -> Iterator[Row]:
    """File name and caption of each row, None where there is none.

    Raises:
        LabError: the table is damaged or lacks a column, with the line where there is one, or has a caption that no
            file can hold.
        CompbenchError: its text is not in UTF-8.
    """
    for file_name, caption in READERS[path.suffix.lower()](path):
        if caption is not None and not is_text(caption):
            raise LabError(f"The caption of the image {file_name} in {path}, {caption!r}, is no text: correct it.")
        yield file_name, caption


def is_text(text: str) -> bool:
    """Whether it has no NUL and no half of a character, as escapes of JSON may spell them."""
    return "\0" not in text and spelled(text) == text


def spelled(text: str) -> str:
    """The text with halves of characters spelled out (`\\udce9`), which names of files and JSON hold, and no table."""
    return text.encode(errors="backslashreplace").decode()


def _csv(path: Path) -> Iterator[Row]:
    # Strict: a quote that nothing closes would make one caption of all rows that follow.
    rows = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        header = next(rows, [])
        columns = [header.index(name) for name in _columns(path, header)]
        for row in rows:
            if len(row) > len(header):
                raise csv.Error(f"{len(row)} fields under {len(header)} columns")
            if row:
                file_name, caption = (row[column] if column < len(row) else None for column in columns)
                yield file_name, caption
    except csv.Error as error:
        raise LabError(
            f"Line {rows.line_num} of {path} is no row of a CSV table ({error}): put a text that holds a comma or a "
            "quote in quotes, with its own quotes doubled."
        ) from None


def _jsonl(path: Path) -> Iterator[Row]:
    for number, line in enumerate(split_lines(read_text(path)), start=1):
        if line.strip():
            row = _json_row(path, number, line)
            yield row.get(FILE_NAME), next((row[name] for name in CAPTIONS if name in row), None)


def _json_row(path: Path, number: int, line: str) -> Mapping[str, str | None]:
    """Numbers, true and false as they are spelled; NaN, which some programs write for nothing, as None."""
    try:
        pairs = json.loads(
            line,
            object_pairs_hook=tuple,
            parse_int=str,
            parse_float=str,
            parse_constant=lambda _: None,
        )
        if not isinstance(pairs, tuple):  # as an object's are, and no list's
            raise TypeError
        found = [(key, _spelled(value)) for key, value in pairs if key in (FILE_NAME, *CAPTIONS)]
    except (ValueError, TypeError, RecursionError):
        found = None
    if found is None or len(dict(found)) < len(found):
        raise LabError(
            f"Line {number} of {path} is no row (a JSON object with {FILE_NAME} and {CAPTIONS[0]}, each once and a "
            "text): correct it."
        )
    return dict(found)


def _spelled(value: object) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, str):
        return value
    raise TypeError


def _parquet(path: Path) -> Iterator[Row]:
    try:
        schema = pq.read_schema(path)
        names = _columns(path, schema.names)
        table = pq.read_table(path, columns=names)
        return zip(*(_texts(path, name, table[name]) for name in names), strict=True)
    except UnicodeDecodeError as error:
        raise LabError(f"The table {path} has text that is not in UTF-8 ({error}): write it in UTF-8.") from None
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise LabError(f"The table {path} cannot be read ({reason}): replace it.") from None


def _texts(path: Path, name: str, column: pa.ChunkedArray) -> list[str | None]:
    """Integers and booleans have one spelling; 1e5 and 100000.0 are one float. Raises: UnicodeDecodeError too."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    tests = ("is_string", "is_large_string", "is_string_view", "is_integer", "is_boolean", "is_null")
    if not any(getattr(pa.types, test)(kind) for test in tests):
        raise LabError(f"The column {name} of {path} holds {kind}, not text: write its values as strings.")
    return [value if value is None else _spelled_whole(value) for value in column.to_pylist()]


def _spelled_whole(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _columns(path: Path, names: Sequence[str]) -> list[str]:
    """The two columns that are read. Raises: LabError where one is missing or there twice."""
    caption = next((name for name in CAPTIONS if name in names), None)
    found = [FILE_NAME, caption]
    if any(list(names).count(name) != 1 for name in found):
        raise LabError(
            f"{path} has the columns {', '.join(names) or 'of no table'}, but must have {FILE_NAME} and {CAPTIONS[0]} "
            f"(or {CAPTIONS[1]}), each once: name its columns so."
        )
    return found


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
