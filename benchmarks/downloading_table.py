"""The section of docs/benchmarks.md on downloads."""

import statistics

from benchmarks.markdown import line

TEXT = """\
{images} images ({megabytes:.0f} MB) and {missing} addresses with status 404, from a server on the same machine of
{processors} processors that responds after {latency:.0f} ms. Programs have {concurrency} requests in parallel and write
files; times are those of whole programs, run in turn. img2dataset {version} `checked` decodes each image and keeps its
bytes, as ours does; ours also detects near-duplicates. `unchecked` stores the bytes without decoding. The ratio is the
median of img2dataset / ours in the same turn."""


def downloading_lines(report: dict) -> list[str]:
    """Seconds, processor seconds and ratio of each program."""
    text = TEXT.format(
        **{name: report[name] for name in ("images", "missing", "concurrency", "processors")},
        megabytes=report["bytes"] / 1e6,
        latency=1000 * report["latency_s"],
        version=report["img2dataset"],
    )
    lines = [text, "", line(["program", "seconds", "images a second", "processor, s", "ratio"]), line(["---"] * 5)]
    for name, ratio in report["ratio_to_ours"].items():
        rows = [row for row in report["rows"] if row["program"] == name]
        seconds, processor = (statistics.median(row[key] for row in rows) for key in ("seconds", "cpu_s"))
        lines.append(
            line([name, f"{seconds:.1f}", f"{report['images'] / seconds:.0f}", f"{processor:.1f}", f"{ratio:.2f}"])
        )
    return lines
