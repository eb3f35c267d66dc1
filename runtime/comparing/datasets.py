"""Data that a run reads, as MLflow's data sets: DVC's hash is the digest; what for, and their columns."""

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow
import pyarrow.parquet
from mlflow.entities import Dataset, DatasetInput, InputTag

CONTEXT = "mlflow.data.context"
INDEX = "index.parquet"  # of a folder: its table


def data_set(entry: Mapping, root: Path) -> DatasetInput:
    """The data set of an input: name, path, md5, size in bytes and context, what it is read for.

    One that others host has name, address as its path, and what tells its version in place of an md5.
    """
    if entry.get("hosted"):
        source = json.dumps({"uri": entry["path"]})
        return DatasetInput(Dataset(entry["name"], entry["md5"], "hosted", source), [])
    schema = _schema(root / entry["path"])
    return DatasetInput(
        Dataset(
            name=entry["name"],
            digest=entry["md5"],
            source_type="local",
            source=json.dumps({"uri": entry["path"]}),
            schema=schema and json.dumps({"mlflow_colspec": schema}),
            profile=json.dumps({"bytes": entry["size"]}),
        ),
        [InputTag("dvc.path", entry["path"]), InputTag("dvc.md5", entry["md5"]), InputTag(CONTEXT, entry["context"])],
    )


def _schema(path: Path) -> list[dict[str, object]] | None:
    """The columns of a table, or of a folder's index; None for other data, and a table that is damaged."""
    table = path / INDEX if path.is_dir() else path
    if table.suffix != ".parquet" or not table.exists():
        return None
    try:
        columns = pyarrow.parquet.read_schema(table)
    except (OSError, pyarrow.ArrowException):
        return None  # the stage that reads it will say so, and has a run that can hold that
    return [{"name": column.name, "type": _type(column.type), "required": not column.nullable} for column in columns]


def _type(column: pyarrow.DataType) -> str:
    """As MLflow calls it; of what it has no name for, arrow's."""
    names = {"int32": "integer", "int64": "long", "double": "double", "float": "float", "bool": "boolean"}
    return names.get(str(column), str(column))
