"""The paper's own numbers, kept as data: "Rethinking Cross-Modal Interaction in Multimodal Diffusion Transformers"."""

import json
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper; `rows` by label, one value a column."""

    source: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]


def paper_table(name: str) -> PaperTable:
    """A table of `paper_tables.json` by its name there, such as "table1"."""
    data = json.loads((files("lab.report") / "paper_tables.json").read_text(encoding="utf-8"))
    table = data[name]
    rows = {label: tuple(values) for label, values in table["rows"].items()}
    return PaperTable(f"{data['source']}, {table['where']}", tuple(table["columns"]), rows)
