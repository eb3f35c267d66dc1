"""What a seeded draw of addresses reads, and how long it takes.

    python -m benchmarks.drawing [--tables 200] [--rows 5000] [--wanted 10000] [--large 10000000]

A hub of this machine serves `--tables` parquet files, of whose rows 2 % have both sides of 1024 and more, in row groups
of 1,000; drawn are `--wanted` of these: with none of the files here, with every fourth in the hub client's cache, and
with all in a folder. Needed are the columns of the filters in the row groups that were visited, and of those in which a
row was taken also the columns that are kept. The large table is a local file; of it 2 % pass, then so few that all of
it must be read.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SHARE = 0.02
GROUP = 1000  # rows, of the hosted tables
CHUNK = 200_000  # rows, of a row group of the large one
REPO = "some/table"
FILTERED, KEPT = ("WIDTH", "HEIGHT"), ("URL", "TEXT")


def rows_of(number: int, count: int, seed: int) -> pa.Table:
    """As LAION's: an address, words, sides and scores, 200 bytes a row."""
    chance = np.random.default_rng([seed, number])
    letters = chance.integers(97, 123, (count, 120), np.uint8).view("S120").ravel().astype(str)
    passing, rare = chance.random(count) < SHARE, chance.random(count) < SHARE / 15
    return pa.table(
        {
            "URL": np.char.add("https://images.example/", letters.astype("U60")),
            "TEXT": letters,
            "WIDTH": np.where(passing, 1600, 320),
            "HEIGHT": np.where(passing, 1200, 240),
            "rare": rare.astype(float),
            "similarity": chance.random(count),
            "unwanted": chance.random(count),
        }
    )


def draw(options: argparse.Namespace) -> dict:
    """In a process of its own: a digest of the rows drawn, and what it took."""
    from lab.data.fetching.store import place
    from lab.data.tabular.draw import Draw
    from lab.data.tabular.files import find_files
    from lab.data.tabular.filters import Passing, conditions

    hosted = (None, None) if options.folder != "lab/hosted" else (REPO, "main")
    start = time.perf_counter()
    files = find_files(options.folder, *hosted, None, "*.parquet", place())
    said = {"rare": {"min": 0.5}} if options.rare else {name: {"min": 1024} for name in FILTERED}
    drawing = Draw(files, list(KEPT), Passing(conditions(said)), 0)
    rows = drawing.rows(options.wanted)
    taken = {(row["file"], row["row_group"]) for row in rows}
    visits = [(v["file"], v["row_group"], v["rows"], (v["file"], v["row_group"]) in taken) for v in drawing.visits]
    return {
        "urls": [row["URL"] for row in rows],
        "visits": visits,
        "seconds": time.perf_counter() - start,
        "peak_bytes": peak_bytes(),
    }


def peak_bytes() -> int:
    """Of this process alone; what `getrusage` says begins with the memory of the one that started it."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


def drawn(folder: Path | str, home: Path, wanted: int, endpoint: str = "", rare: bool = False) -> dict:
    command = [sys.executable, "-m", "benchmarks.drawing", "--draw", "--folder", str(folder), "--wanted", str(wanted)]
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_", "TACA_"))
    }
    environment |= {"HF_HOME": str(home)} | ({"HF_ENDPOINT": endpoint} if endpoint else {})
    done = subprocess.run(
        [*command, *(["--rare"] if rare else [])], env=environment, stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout)


def cached(names: Iterable[str], home: Path, endpoint: str) -> None:
    """Fetches whole files by the hub's own client."""
    code = "import sys; from huggingface_hub import hf_hub_download as get\nfor name in sys.argv[2:]: "
    code += "get(sys.argv[1], name, repo_type='dataset')"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
    environment |= {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1"}
    subprocess.run([sys.executable, "-c", code, REPO, *names], env=environment, check=True)


def needed(tables: Path, visits: Iterable) -> int:
    """Bytes of the column chunks that hold the answer."""
    total = 0
    for name, group, _, taken in visits:
        about = pq.read_metadata(tables / name).row_group(group)
        columns = [about.column(number) for number in range(about.num_columns)]
        wanted = (*FILTERED, *(KEPT if taken else ()))
        total += sum(column.total_compressed_size for column in columns if column.path_in_schema in wanted)
    return total


def of_hosted(options: argparse.Namespace, place: Path) -> dict:
    """Bytes sent beside those needed, and whether the same rows come whichever files are here."""
    from tests.hub_server import HubServer

    (tables := place / "tables").mkdir()
    for number in range(options.tables):
        table = rows_of(number, options.rows, 0)
        pq.write_table(table, tables / f"part-{number:05d}.parquet", row_group_size=GROUP)
    hub = HubServer()
    hub.add(REPO, tables)
    remote = drawn("lab/hosted", place / "none", options.wanted, hub.url)
    sent = hub.sent
    again = drawn("lab/hosted", place / "none", options.wanted, hub.url)
    sent_again = hub.sent - sent
    cached([f"part-{number:05d}.parquet" for number in range(0, options.tables, 4)], place / "part", hub.url)
    some = drawn("lab/hosted", place / "part", options.wanted, hub.url)
    hub.close()
    here = drawn(tables, place / "none", options.wanted)
    return {
        "drawn": len(remote["urls"]),
        "rows_read": sum(rows for _, _, rows, _ in remote["visits"]),
        "bytes_of_tables": sum(path.stat().st_size for path in tables.iterdir()),
        "bytes_needed": (least := needed(tables, remote["visits"])),
        "bytes_sent": sent,
        "ratio": sent / least,
        "bytes_sent_again": sent_again,
        "same_rows": remote["urls"] == again["urls"] == some["urls"] == here["urls"],
        "seconds": remote["seconds"],
    }


def of_large(options: argparse.Namespace, place: Path) -> dict:
    """Seconds, the reckoning of the file's sha256 included, and peak memory of a process that draws from one table."""
    (folder := place / "large").mkdir()
    with pq.ParquetWriter(folder / "table.parquet", rows_of(0, 1, 1).schema) as writer:
        for start in range(0, options.large, CHUNK):
            writer.write_table(rows_of(start, min(CHUNK, options.large - start), 1))
    found = {"rows": options.large, "bytes": (folder / "table.parquet").stat().st_size}
    for name, rare in (("2 % pass", False), ("all is read", True)):
        made = drawn(folder, place / name, options.wanted * (2 if rare else 1), rare=rare)
        read = sum(rows for _, _, rows, _ in made["visits"])
        found[name] = {"drawn": len(made["urls"]), "rows_read": read} | {
            key: made[key] for key in ("seconds", "peak_bytes")
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("tables", 200), ("rows", 5000), ("wanted", 10_000), ("large", 10_000_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/drawing.json"))
    parser.add_argument("--draw", action="store_true", help="be the process that draws")
    parser.add_argument("--folder")
    parser.add_argument("--rare", action="store_true")
    options = parser.parse_args()
    if options.draw:
        print(json.dumps(draw(options)))
        return
    from benchmarks.timing import provenance

    with TemporaryDirectory() as temporary:
        place = Path(temporary)
        report = {"provenance": provenance("cpu"), "processors": os.cpu_count()}
        report |= {name: getattr(options, name) for name in ("tables", "rows", "wanted")}
        report |= {"hosted": of_hosted(options, place), "large": of_large(options, place)}
    options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
