"""The page of a sweep: its cells as arms of a report, beside a table of the paper."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lab.report.curves import write_curves
from lab.report.page import data_address, template
from lab.report.paper import paper_table
from lab.report.results import Results
from lab.report.write import write_results

CELLS = "cells.json"  # facts of a sweep's finished cells, beside its page


def write_sweep(
    folder: Path,
    results: Results | None,
    cells: Mapping[str, Mapping[str, object]],
    notes: Sequence[str],
    settings: Mapping[str, Mapping[str, object]],
    *,
    name: str,
    title: str,
    compare_with: str,
    paper: str | None,
    marked: Callable[[], float],
) -> None:
    """Writes index.html and cells.json into `folder` and, once there are results, cells.csv, table.md and two figures.

    Args:
        results: of the finished cells; None as long as the one labelled `compare_with` is missing.
        cells: facts of the finished cells by label, among them `experiment`, the commit.
        notes: lines on cells that have no results.
        settings: by label what makes a finished cell, as `lab.params.settings.arm_settings` names it.
        paper: name of the paper's table to show beside them.
        marked: as in `write_curves`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CELLS).write_text(json.dumps(list(cells.values()), indent=2) + "\n", encoding="utf-8")
    table = paper_table(paper) if paper else None
    figures = write_results(folder, results, table, csv="cells.csv", markdown="table.md") if results else {}
    if results:
        figures |= write_curves(results, settings, marked, folder)
    page = template("sweep.html.j2").render(
        title=title,
        name=name,
        compare_with=compare_with,
        results=results,
        paper=table,
        figures=[data_address(path) for path in figures.values()],
        notes=notes,
        cells=cells,
    )
    (folder / "index.html").write_text(page, encoding="utf-8")
