"""The section of docs/benchmarks.md on draws of addresses."""

from benchmarks.markdown import line

TEXT = """\
{tables} parquet tables of {rows} rows on a hub on this machine ({megabytes:.0f} MB); 2 % of the rows pass the filters.
{drawn} rows are drawn after {rows_read} are read. The row groups that were read have {needed:.1f} MB in the needed
columns; {sent:.1f} MB were sent, {ratio:.2f} times as much. Repeating the draw sent {again:.1f} MB. The rows are {same}
with no file here, with a quarter of the files in the hub client's cache, and with all files in a folder.

One local table of {million:.0f} million rows ({gigabytes:.1f} GB), including the time of its sha256:"""


def drawing_lines(report: dict) -> list[str]:
    """Bytes of the hosted draw; seconds and memory of the large one."""
    hosted, large = report["hosted"], report["large"]
    text = TEXT.format(
        **{name: f"{report[name]:,}" for name in ("tables", "rows")},
        **{name: f"{hosted[name]:,}" for name in ("drawn", "rows_read")},
        megabytes=hosted["bytes_of_tables"] / 1e6,
        needed=hosted["bytes_needed"] / 1e6,
        sent=hosted["bytes_sent"] / 1e6,
        again=hosted["bytes_sent_again"] / 1e6,
        ratio=hosted["ratio"],
        same="the same" if hosted["same_rows"] else "not the same",
        million=large["rows"] / 1e6,
        gigabytes=large["bytes"] / 1e9,
    )
    lines = [text, "", line(["", "drawn", "rows read", "seconds", "peak memory, GB"]), line(["---"] * 5)]
    for name in ("2 % pass", "all is read"):
        row = large[name]
        numbers = (
            f"{row['drawn']:,}",
            f"{row['rows_read']:,}",
            f"{row['seconds']:.1f}",
            f"{row['peak_bytes'] / 1e9:.2f}",
        )
        lines.append(line([name, *numbers]))
    return lines
