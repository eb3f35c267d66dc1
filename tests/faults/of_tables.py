"""Faults of tables of addresses and of shards, which images are drawn from."""

import io
import tarfile
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq

from tests.faults.fault import Fault, Place

SAMPLE = "python -m stages.sample"
ROWS = [{"url": f"ftp://images.example/{number}.jpg", "caption": f"{number}", "width": 300} for number in range(3)]
COLUMNS = {"url": "url", "caption": "caption", "width": None, "height": None, "sha256": None}
BOUNDS = {"min_side": 8, "max_pixels": 10**6, "max_bytes": 10**6, "duplicate_distance": None}
HERE = {"folder": "mine", "repo": None, "revision": None, "address": None, "size": 2, "seed": 0}


def addresses(content: list[dict] | bytes | None = None, **changes) -> Callable[[Place], None]:
    """A table of addresses that nobody serves, as the source."""

    def arrange(place: Place) -> None:
        table = ROWS if content is None else content
        place.write("mine/table.parquet", table if isinstance(table, bytes) else parquet(table))
        settings = {"source": "urls", **HERE, **BOUNDS, "files": "*.parquet", "columns": COLUMNS, "filters": {}}
        settings |= {"max_aspect": None, "candidates": 1, "contact": "me@example.org", "honour_opt_outs": True}
        place.edit({"sample": settings | {"loopback_port": None} | changes, "train.held_out": 1})

    return arrange


def parquet(rows: list[dict]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


def shard(content: bytes) -> Callable[[Place], None]:
    """A tar file as the source."""

    def arrange(place: Place) -> None:
        place.write("mine/0.tar", content)
        place.edit({"sample": {"source": "webdataset", **HERE, **BOUNDS, "files": "*.tar", "caption": "txt"}})

    return arrange


def tar(**files: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        for name, content in files.items():
            about = tarfile.TarInfo(f"0.{name}")
            about.size = len(content)
            made.addfile(about, io.BytesIO(content))
    return file.getvalue()


OF_TABLES = [
    Fault(
        "a column that a table has not",
        SAMPLE,
        (
            "sample: `sample` names the column TEXT, but mine/table.parquet has url, caption, width: correct "
            "`sample.columns` or `sample.filters`."
        ),
        addresses(columns=COLUMNS | {"caption": "TEXT"}),
        recorded=True,
    ),
    Fault(
        "a filter that leaves nothing",
        SAMPLE,
        (
            "sample: `sample.size` is 2, but of the 3 rows of mine none pass (by width): loosen `sample.filters`, or "
            "lower it."
        ),
        addresses(filters={"width": {"min": 1024}}),
        recorded=True,
    ),
    Fault(
        "a filter of numbers on a text",
        SAMPLE,
        (
            "sample: `sample.filters.caption` does not go with the column caption, which holds string: min and max are "
            "for numbers, any_of and none_of need values of the column's type."
        ),
        addresses(filters={"caption": {"min": 3}}),
        recorded=True,
    ),
    Fault(
        "addresses that are numbers",
        SAMPLE,
        "sample: `sample.columns.url` is width, but that column holds int, not text: name another.",
        addresses(columns=COLUMNS | {"url": "width"}),
        recorded=True,
    ),
    Fault(
        "addresses that give too few images",
        SAMPLE,
        (
            "sample: `sample.size` is 2, but of 2 candidates only 0 are good: url (2). Lower it, or raise "
            "`sample.candidates`; refused.parquet in … says more, and what was fetched is kept."
        ),
        addresses(),
        recorded=True,
    ),
    Fault(
        "no network",
        SAMPLE,
        (
            "sample: None of the last 20 images' servers could be reached (the last: …): check the network and run "
            "again, which goes on from what is fetched."
        ),
        addresses([{"url": f"http://host{number}.invalid/a.jpg", "caption": "a"} for number in range(40)], size=30),
        recorded=True,
    ),
    Fault(
        "nobody that servers may write to",
        SAMPLE,
        (
            "sample: `sample.contact` is null and TACA_CONTACT is not set: set one of them to an address of yours, by "
            "mail or on the web, since every server that is asked for an image is told whom to write to."
        ),
        addresses(contact=None),
        recorded=True,
    ),
    Fault(
        "a table of addresses that is damaged",
        SAMPLE,
        "sample: The table table.parquet cannot be read (…): fetch it again, or leave it out.",
        addresses(b"PAR1 is no table"),
        recorded=True,
    ),
    Fault(
        "a shard without words",
        SAMPLE,
        "sample: `sample.caption` is 'txt', but 0 of 0.tar has no such words in UTF-8; it has jpg, json.",
        shard(tar(jpg=b"an image", json=b"{}")),
        recorded=True,
    ),
    Fault(
        "a shard that is cut short",
        SAMPLE,
        "sample: The shard 0.tar cannot be read (…): fetch it again, or leave it out by `sample.files`.",
        shard(tar(jpg=bytes(5000), txt=b"a")[:2000]),
        recorded=True,
    ),
    Fault(
        "a bucket with a repository",
        "python -m stages.check",
        ("check: params.yaml: `sample.address` must be null where `sample.repo` is given: files come from one place."),
        addresses(folder="lab/hosted", repo="some/table", revision="main", address="s3://bucket/folder"),
    ),
    Fault(
        "a repository that no revision is named of",
        "python -m stages.check",
        ("check: params.yaml: `sample.revision` is null, but must be given with `sample.repo`, or both be null."),
        addresses(folder="lab/hosted", repo="some/table"),
    ),
]
