"""The command's results: a table of all scores, means with intervals, the manifest, and the same in words."""

import csv
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from compbench.parsing import describe_parser
from compbench.scorers.interface import Prompt
from compbench.statistics import mean_interval
from compbench.table import SCHEMA, ScoreRow, scores_by_prompt
from compbench.tables import write_table

LABELLED = SCHEMA.append(pa.field("mode", pa.string())).append(pa.field("parser", pa.string()))
Summary = dict[str, dict[str, dict[str, float | None]]]


def summarize_metrics(rows: Sequence[ScoreRow]) -> Summary:
    """{category: {metric: {"mean", "low", "high", "n"}}} over prompts, to six decimals; no interval for one prompt."""
    summary: Summary = {}
    for (category, metric), scores in scores_by_prompt(rows).items():
        summary.setdefault(category, {})[metric] = _summarize(scores)
    return summary


def write_results(folder: Path, rows: Sequence[ScoreRow], prompts: Sequence[Prompt], manifest: Mapping) -> Summary:
    """Writes `scores.parquet`, `scores.csv`, `summary.json` and last `manifest.json`, each whole or not at all."""
    parsers = {prompt.index: describe_parser(prompt.parser) for prompt in prompts}
    labelled = [{**row.as_dict(), "mode": manifest["mode"], "parser": parsers[row.prompt_index]} for row in rows]
    summary = summarize_metrics(rows)
    _write(folder / "scores.parquet", lambda path: write_table(path, labelled, LABELLED))
    _write(folder / "scores.csv", lambda path: _write_csv(path, labelled))
    _write_json(folder / "summary.json", {**labels_of(manifest), "scores": summary})
    _write_json(folder / "manifest.json", manifest)
    return summary


def labels_of(manifest: Mapping) -> dict:
    """What every result is labelled with."""
    parser = ", ".join(parser["label"] for parser in manifest["parsers"])
    return {"mode": manifest["mode"], "protocol": manifest["protocol"]["label"], "parser": parser}


def table_lines(summary: Summary, manifest: Mapping) -> list[str]:
    """The means as a table of text."""
    labels = labels_of(manifest)
    lines = [
        f"CompBench, {labels['mode']} mode, {labels['protocol']}, parser {labels['parser']}",
        f"{'category':<12} {'metric':<11} {'mean':>7}  {'95 % interval':<18} {'prompts':>7}",
    ]
    for category, metrics in summary.items():
        for metric, found in metrics.items():
            interval = "-" if found["low"] is None else f"{found['low']:.4f} to {found['high']:.4f}"
            lines.append(f"{category:<12} {metric:<11} {found['mean']:>7.4f}  {interval:<18} {found['n']:>7}")
    return lines


def _summarize(scores: Mapping[int, float]) -> dict[str, float | None]:
    if len(scores) == 1:
        [mean] = scores.values()
        return {"mean": round(mean, 6), "low": None, "high": None, "n": 1}
    return {key: round(value, 6) for key, value in vars(mean_interval(scores)).items()}


def _write_csv(path: Path, rows: Sequence[Mapping]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, LABELLED.names)
        writer.writeheader()
        writer.writerows(rows)


def _write_json(path: Path, content: Mapping) -> None:
    _write(path, lambda unfinished: unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8"))


def _write(path: Path, write: Callable[[Path], object]) -> None:
    unfinished = path.with_name(f"{path.name}.unfinished")
    write(unfinished)
    os.replace(unfinished, path)
