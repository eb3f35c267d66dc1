"""Writes the report's folder."""

from collections.abc import Mapping
from pathlib import Path

from lab.report.analysed import Analysed
from lab.report.contrasts import Contrasts
from lab.report.figures import differences_figure, loss_figure, means_figure
from lab.report.grid import write_grid
from lab.report.page import render_page
from lab.report.paper import PaperTable, paper_table
from lab.report.results import Results
from lab.report.tables import contrasts_markdown, quality_markdown, results_csv, results_markdown


def write_report(
    folder: Path,
    results: Results,
    *,
    protocol: Mapping[str, object],
    thumbnails: Mapping[str, Path],
    score_paths: Mapping[str, str],
    histories: Mapping[str, Path],
    grid_prompts: int,
    contrasts: Contrasts,
    analysed: Analysed,
    doses: Mapping[str, Mapping[str, str] | None],
) -> None:
    """Writes index.html, table1.csv, table1.md, contrasts.md, grid.png and the figures as SVG into `folder`, and
    table2.md if image quality was scored.

    Args:
        protocol: what a reader needs to repeat the run, by label.
        thumbnails: the folder of each arm's, by the arm's name.
        score_paths: by the arm's name.
        doses: as in `render_page`.
        histories: loss history (columns step, loss, held_out_loss) by the adapter's name; only of trained adapters.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paper, paper_quality = paper_table("table1"), paper_table("table2")
    figures = write_results(folder, results, paper, csv="table1.csv", markdown="table1.md")
    (folder / "contrasts.md").write_text(contrasts_markdown(contrasts), encoding="utf-8")
    if results.quality:
        (folder / "table2.md").write_text(quality_markdown(results, paper_quality), encoding="utf-8")
    figures["grid"] = folder / "grid.png"
    write_grid(results, thumbnails, grid_prompts, figures["grid"])
    if histories:
        figures["loss"] = folder / "loss.svg"
        loss_figure(histories, figures["loss"])
    page = render_page(results, paper, paper_quality, protocol, figures, score_paths, contrasts, analysed, doses)
    (folder / "index.html").write_text(page, encoding="utf-8")


def write_results(
    folder: Path, results: Results, paper: PaperTable | None, *, csv: str, markdown: str
) -> dict[str, Path]:
    """Writes the main table into `folder`, as two files of these names, and its figures, which it returns by name."""
    (folder / csv).write_text(results_csv(results), encoding="utf-8")
    (folder / markdown).write_text(results_markdown(results, paper), encoding="utf-8")
    figures = {"means": folder / "means.svg"}
    means_figure(results, figures["means"])
    if results.compared:
        figures["differences"] = folder / "differences.svg"
        differences_figure(results, figures["differences"])
    return figures
