"""The tables as files: every number as CSV, and the paper's Table 1 layout as Markdown."""

import csv
import io

from taca.report.paper import PaperTable
from taca.report.results import Result, Results
from taca.report.words import CATEGORY_NAMES, bounds, number, signed, signed_bounds

CSV_COLUMNS = (
    *("arm", "category", "metric", "prompts", "mean", "low", "high"),
    *("difference", "difference_low", "difference_high", "scores_md5", "baseline_md5"),
)


def results_csv(results: Results) -> str:
    """One line per arm, category and metric; means and differences with the bounds of their 95 % intervals."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for result in results.table.values():
        writer.writerow(_line(result, results.baseline.md5))
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
            _markdown(["Arm", *names, "Scores"], means),
            f"Difference to {results.baseline.name} on the same prompts, with 95 % intervals; bold where the interval "
            "excludes 0.\n",
            _markdown(["Arm", *names, "Scores"], differences),
            *(_published(paper) if paper else []),
        ]
    )


def _published(paper: PaperTable) -> list[str]:
    rows = [[label, *(f"{value:.4f}" for value in values)] for label, values in paper.rows.items()]
    return [
        f"The paper's own numbers, on other models and prompts ({paper.source}).\n",
        _markdown(["Model", *(CATEGORY_NAMES.get(column, column) for column in paper.columns)], rows),
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


def _cell(result: Result) -> str:
    return f"{number(result.mean.mean)} {bounds(result.mean)}"


def _difference_cell(result: Result) -> str:
    text = f"{signed(result.difference.mean)} {signed_bounds(result.difference)}"
    return f"**{text}**" if result.difference.excludes_zero else text


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
