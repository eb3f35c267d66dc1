"""The report as one HTML page that needs no other file."""

import base64
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template

from compbench.scorers.interface import SCORE_METRICS
from compbench.scorers.three_in_one import PARTS
from lab.report import provenance, words
from lab.report.analysed import Analysed
from lab.report.contrasts import NOTE, Contrasts
from lab.report.findings import chance, findings
from lab.report.paper import PaperTable
from lab.report.results import ALL, Results

MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}


def render_page(
    results: Results,
    paper: PaperTable,
    paper_quality: PaperTable,
    protocol: Mapping[str, object],
    figures: Mapping[str, Path],
    score_paths: Mapping[str, str],
    contrasts: Contrasts,
    analysed: Analysed,
    doses: Mapping[str, Mapping[str, str] | None],
) -> str:
    """The page's HTML.

    Args:
        paper: the paper's Table 1.
        paper_quality: its Table 2, shown where image quality was scored.
        protocol: what else a reader needs to repeat the run, by label, in the order to print.
        figures: image files by the name that the template gives them: means, differences, grid and, if any adapter was
            trained, loss.
        score_paths: each arm's score file as the repository names it.
        doses: by arm, what its method does to logits; None of one that was not measured.
    """
    return template("page.html.j2").render(
        results=results,
        paper=paper,
        paper_quality=paper_quality,
        protocol={**protocol, **provenance.protocol_lines(results.manifest)},
        never_scored=provenance.never_scored(results.manifest),
        corrections=provenance.corrections(results.manifest),
        figures={name: data_address(path) for name, path in figures.items()},
        score_paths=score_paths,
        contrasts=contrasts,
        analysed=analysed,
        doses=doses,
        data_address=data_address,
        contrasts_note=NOTE,
        cells=[(category, SCORE_METRICS[category]) for category in results.categories],
        complex_cells=[("complex", metric) for metric in (*PARTS, "complex")],
        all_categories=ALL,
        findings=findings(results),
        chance=chance(results),
        prompts={category: results.of(results.baseline, category).mean.n for category in results.categories},
    )


def template(name: str) -> Template:
    """A page's template, which knows how numbers and categories are written and who scored."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals.update(vars(words), scored_by=provenance.scored_by)
    return environment.from_string((files("lab.report") / name).read_text(encoding="utf-8"))


def data_address(path: Path) -> str:
    """The file's content as a data: address."""
    return f"data:{MEDIA_TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"
