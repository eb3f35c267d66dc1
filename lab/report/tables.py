"""The tables as files: every number as CSV, and the layouts of the paper's Tables 1 and 2 as Markdown."""

import csv
import io

from lab.report.contrasts import NOTE, Contrasts
from lab.report.paper import PaperTable
from lab.report.provenance import Manifest, corrections, never_scored, parsers, scored_by, scorer_of
from lab.report.results import ALL, Result, Results
from lab.report.words import CATEGORY_NAMES, QUALITY_NAMES, bounds, number, percent, signed, signed_bounds

CSV_COLUMNS = (
    *("arm", "category", "metric", "prompts", "mean", "low", "high"),
    *("difference", "difference_low", "difference_high", "scores_md5", "baseline_md5", "scorer", "mode", "parser"),
)


def results_csv(results: Results) -> str:
    """One line per arm, category and metric; means and differences with the bounds of their 95 % intervals."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for result in results.table.values():
        writer.writerow(_line(result, results.baseline.md5) | _origin(result.metric, results.manifest))
    return text.getvalue()


def results_markdown(results: Results, paper: PaperTable | None) -> str:
    """Means, then paired differences, then a table of the paper, if there is one to compare with."""
    names = [CATEGORY_NAMES[category] for category in results.categories]
    means = [
        [arm.name, *(_cell(results.of(arm, category)) for category in results.categories), f"`{arm.hash}`"]
        for arm in results.arms
    ]
    differences = [
        [
            arm.name,
            *(_difference_cell(results.of(arm, category)) for category in results.categories),
            f"`{arm.hash}` − `{results.baseline.hash}`",
        ]
        for arm in results.compared
    ]
    return "\n".join(
        [
            "Means over prompts with 95 % intervals. `make run HASH=…` finds the run behind a row.\n",
            f"{scored_by(results.manifest)}\n",
            markdown_table(["Arm", *names, "Scores"], means),
            f"Difference to {results.baseline.name} on the same prompts, with 95 % intervals; bold where the interval "
            "excludes 0.\n",
            markdown_table(["Arm", *names, "Scores"], differences),
            *_effects(results, results.manifest),
            *(published_lines("Model", paper) if paper else []),
        ]
    )


def contrasts_markdown(contrasts: Contrasts) -> str:
    """Every question with its answer, whatever its sign, and the questions that could not be asked."""
    head = ["Question", "Arms", "Difference", "Standard error", "p", "Seen with power .8", "Scores"]
    rows = [
        [
            f"**{answer.question.name}** (primary)" if answer.question.primary else answer.question.name,
            answer.question.arms,
            f"{signed(answer.interval.mean)} {signed_bounds(answer.interval)}",
            number(answer.error),
            f"{answer.p_value:.3f}",
            number(answer.detectable),
            ", ".join(f"`{digest}`" for digest in answer.hashes.values()),
        ]
        for answer in contrasts.answers
    ]
    missing = [f"Not asked, since an arm was not drawn: {contrasts.not_asked}.\n"] if contrasts.unasked else []
    return "\n".join([f"{NOTE}\n", markdown_table(head, rows), *missing])


def quality_markdown(results: Results, paper: PaperTable) -> str:
    """Means of the image quality metrics with their paired differences, in the layout of the paper's Table 2."""
    rows = [
        row for metric in results.quality for row in (_quality_row(results, metric), _quality_gains(results, metric))
    ]
    return "\n".join(
        [
            "Image quality: means over all prompts with 95 % intervals, and under them the difference to "
            f"{results.baseline.name} on the same prompts; bold where the interval excludes 0.\n",
            f"{scored_by(results.manifest)}\n",
            markdown_table(["Metric", *(arm.name for arm in results.arms)], [*rows, _hashes(results)]),
            *published_lines("Metric", paper),
        ]
    )


def _quality_row(results: Results, metric: str) -> list[str]:
    return [QUALITY_NAMES[metric], *(_cell(results.of(arm, ALL, metric)) for arm in results.arms)]


def _quality_gains(results: Results, metric: str) -> list[str]:
    found = [results.of(arm, ALL, metric) for arm in results.arms]
    return ["difference", *("" if one.difference is None else _difference_cell(one) for one in found)]


def _hashes(results: Results) -> list[str]:
    return ["Scores", *(f"`{arm.hash}`" for arm in results.arms)]


def _effects(results: Results, manifest: Manifest) -> list[str]:
    """What the mode does to the prompts."""
    lost = [
        f"- {CATEGORY_NAMES[category]}: {sum(reasons.values())} of {results.of(results.baseline, category).mean.n}"
        for category, reasons in never_scored(manifest).items()
    ]
    mended = [
        f"- {one['name']}: {percent(one['share'])} of the prompts; {one['what']}" for one in corrections(manifest)
    ]
    return [
        *(
            [f"Prompts whose positions or numbers {manifest['mode']} mode scores 0 whatever the image:\n", *lost, ""]
            if lost
            else []
        ),
        *(["Corrections of the benchmark, with the prompts that each reaches:\n", *mended, ""] if mended else []),
    ]


def published_lines(first: str, paper: PaperTable) -> list[str]:
    """A table of the paper with its source."""
    rows = [[label, *(f"{value:.4f}" for value in values)] for label, values in paper.rows.items()]
    return [
        f"The paper's own numbers, on other models and prompts ({paper.source}).\n",
        markdown_table([first, *(CATEGORY_NAMES.get(column, column) for column in paper.columns)], rows),
    ]


def _line(result: Result, baseline_md5: str) -> dict[str, object]:
    line = {
        "arm": result.arm.name,
        "category": result.category,
        "metric": result.metric,
        "prompts": result.mean.n,
        "mean": f"{result.mean.mean:.6f}",
        "low": f"{result.mean.low:.6f}",
        "high": f"{result.mean.high:.6f}",
        "scores_md5": result.arm.md5,
        "baseline_md5": baseline_md5,
    }
    if result.difference is not None:
        line["difference"] = f"{result.difference.mean:.6f}"
        line["difference_low"] = f"{result.difference.low:.6f}"
        line["difference_high"] = f"{result.difference.high:.6f}"
    return line


def _origin(metric: str, manifest: Manifest) -> dict[str, str]:
    return {"scorer": scorer_of(metric, manifest), "mode": manifest["mode"], "parser": parsers(manifest)}


def _cell(result: Result) -> str:
    return f"{number(result.mean.mean)} {bounds(result.mean)}"


def _difference_cell(result: Result) -> str:
    text = f"{signed(result.difference.mean)} {signed_bounds(result.difference)}"
    return f"**{text}**" if result.difference.excludes_zero else text


def markdown_table(head: list[str], rows: list[list[str]]) -> str:
    """The rows under their heads, with a line for each."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
