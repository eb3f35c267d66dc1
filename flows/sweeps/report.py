"""What a sweep has found so far, beside the paper's numbers: tables, figures and one HTML page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.sweeps.cells import Cell
from flows.sweeps.definition import Sweep
from flows.sweeps.experiments import lock_of
from runtime.errors import StageError

FOLDER = Path("results") / "sweeps"


@dataclass(frozen=True)
class Done:
    """A finished cell: its experiment's commit, the hash and place of its scores, and the place of their manifest."""

    cell: Cell
    commit: str
    md5: str
    scores: Path
    manifest: Path


def done(root: Path, cell: Cell, commit: str) -> Done:
    """The scores of a finished cell, in DVC's cache.

    Raises:
        StageError: they are not there.
    """
    md5, manifest_md5 = score_files(root, cell, commit).values()
    scores, manifest = in_cache(root, md5), in_cache(root, manifest_md5)
    if not (scores.exists() and manifest.exists()):
        raise StageError(
            f"The scores of {cell.label} ({md5}) are not in DVC's cache: `dvc fetch` them, or remove its "
            f"experiment (`dvc exp remove {commit[:10]}`) to have it run again."
        )
    return Done(cell, commit, md5, scores, manifest)


def score_files(root: Path, cell: Cell, commit: str) -> dict[str, str]:
    """Paths and hashes of a finished cell's scores and of their manifest."""
    from lab.report.provenance import manifest_path

    outs = {out["path"]: out["md5"] for out in lock_of(root, commit)["stages"][f"score@{cell.arm}"]["outs"]}
    path = f"results/scores/{cell.arm}.parquet"
    return {path: outs[path] for path in (path, str(manifest_path(Path(path))))}


def in_cache(root: Path, md5: str) -> Path:
    """Where DVC keeps the file with this hash, in the cache that it is configured with."""
    from dvc.config import Config

    cache = Config(str(root / ".dvc")).read()["cache"].get("dir", root / ".dvc" / "cache")
    return Path(cache, "files", "md5", md5[:2], md5[2:])


def compared(sweep: Sweep, finished: Sequence[Done], report: Mapping):
    """`lab.report.results.Results` of the finished cells; None as long as the one to compare with is missing."""
    from compbench.table import read_scores
    from lab.report.provenance import read_manifest
    from lab.report.results import Arm, compare

    if sweep.compare_with not in {one.cell.label for one in finished}:
        return None
    arms = [
        Arm(one.cell.label, one.cell.overrides, one.md5, read_scores(one.scores), read_manifest(one.manifest))
        for one in finished
    ]
    return compare(arms, sweep.compare_with, report["bootstrap"], report["seed"])


def write(root: Path, name: str, sweep: Sweep, finished: Sequence[Done], notes: Sequence[str], report: Mapping) -> Path:
    """Writes `results/sweeps/<name>/`: index.html, cells.csv, table.md and two figures; the folder.

    Args:
        notes: lines on cells that have no results: running, failed, pruned.
        report: section `report` of params.yaml.
    """
    from jinja2 import Environment, StrictUndefined

    from lab.report import words
    from lab.report.figures import differences_figure, means_figure
    from lab.report.page import data_address
    from lab.report.paper import paper_table
    from lab.report.provenance import scored_by
    from lab.report.tables import results_csv, results_markdown

    folder = root / FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cells.json").write_text(json.dumps([_facts(one) for one in finished], indent=2) + "\n")
    results = compared(sweep, finished, report)
    paper = paper_table(sweep.paper) if sweep.paper else None
    figures = {}
    if results is not None:
        (folder / "cells.csv").write_text(results_csv(results))
        (folder / "table.md").write_text(results_markdown(results, paper))
        means_figure(results, folder / "means.svg")
        figures["means"] = data_address(folder / "means.svg")
        if results.compared:
            differences_figure(results, folder / "differences.svg")
            figures["differences"] = data_address(folder / "differences.svg")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals.update(vars(words), scored_by=scored_by)
    template = environment.from_string(Path(__file__).with_name("sweep.html.j2").read_text())
    cells = {one.cell.label: {**_facts(one)} for one in finished}
    page = template.render(
        sweep=sweep, name=name, results=results, paper=paper, figures=figures, notes=notes, cells=cells
    )
    (folder / "index.html").write_text(page)
    return folder


def _facts(one: Done) -> dict[str, object]:
    return {
        "label": one.cell.label,
        "overrides": one.cell.overrides,
        "experiment": one.commit,
        "arm": one.cell.arm,
        "scores_md5": one.md5,
    }
