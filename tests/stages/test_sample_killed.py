"""SIGKILL at ten random moments of stage `sample`, which fetches: nothing is fetched twice but what was on its way."""

import asyncio
import json
import random
import shutil
from hashlib import file_digest
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.lab.data.web import Web, encoded, file, picture, status
from tests.small_copy import Copy
from tests.stages.test_kills_at_random import Program, kill

KILLS = 10
AT_ONCE = 64  # images on their way when a process is killed
ROWS, WANTED = 900, 400
LATENCY = 0.02  # seconds, so that a run lasts long enough to be killed in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def settings(folder: Path, port: int) -> dict:
    columns = {"url": "url", "caption": "caption", "width": None, "height": None, "sha256": None}
    bounds = {"min_side": 32, "max_pixels": 10**6, "max_bytes": 10**6, "duplicate_distance": 2, "size": WANTED}
    manners = {"contact": "tests@example.com", "honour_opt_outs": True, "loopback_port": port, "candidates": 2}
    here = {"folder": str(folder), "repo": None, "revision": None, "address": None, "files": "*.parquet", "seed": 5}
    return {"source": "urls", "columns": columns, "filters": {}, "max_aspect": None, **bounds, **manners, **here}


class Fetching(Program):
    """Stage `sample`, with a store of its own."""

    def __init__(self, copy: Copy):
        super().__init__(copy, "sample")
        self.store = copy.root.parent / "store"
        copy.environment = lambda: Copy.environment(copy) | {"TACA_FETCHED": str(self.store)}

    def noted(self) -> set[str]:
        """Addresses that the store has an answer of."""
        notes = [path for kind in ("answers", "refused") for path in self.store.glob(f"{kind}/*/*")]
        return {json.loads(path.read_text())["url"] for path in notes}

    def output(self) -> dict[str, str]:
        found = {}
        for path in sorted((self.copy.root / "data/sample").rglob("*")):
            if path.is_file():
                with path.open("rb") as content:
                    found[path.relative_to(self.copy.root).as_posix()] = file_digest(content, "sha256").hexdigest()
        return found


@pytest.fixture
def web():
    good = file(lambda number: encoded(picture(number)))

    async def slow(request, number):
        await asyncio.sleep(LATENCY)
        return await good(request, number)

    with Web() as server:
        server.answers = {"good": slow, "gone": status(404)}
        yield server


@pytest.fixture
def program(web, tmp_path) -> Fetching:
    """The stage on a table of which a quarter is gone."""
    (tmp_path / "tables").mkdir()
    rows = [{"url": f"{web.url}/{'good' if n % 4 else 'gone'}/{n}", "caption": f"picture {n}"} for n in range(ROWS)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "tables/a.parquet", row_group_size=100)
    copy = Copy(tmp_path / "repository")
    copy.write(copy.params() | {"sample": settings(tmp_path / "tables", web.port)})
    assert copy.run("python", "-m", "stages.check").returncode == 0
    return Fetching(copy)


def test_killed_at_ten_moments_the_stage_fetches_nothing_twice_and_ends_with_the_same_bytes(web, program):
    """Of what the store has an answer of when a process is killed, no later one asks again."""
    life, moments, killed = program.finish(), random.Random(11), 0
    expected, all_asked = program.output(), web.asked.total()
    program.forget()
    shutil.rmtree(program.store)
    web.asked.clear()
    while killed < KILLS:
        known, before = program.noted(), web.asked.copy()
        # Most of a life is the start of a process and of its record.
        killed += kill(program.start(), moments.uniform(0.2, 0.9) * life, alone=moments.random() < 0.5) is None
        asked = {url for url in known if web.asked[url.removeprefix(web.url)] > before[url.removeprefix(web.url)]}
        assert not asked
        if len(program.noted()) == len(known):  # nothing is left to fetch, or it was killed before
            program.forget()
    program.finish()
    assert program.output() == expected
    # What is on its way is given up by a kill, and also once there are images enough.
    assert all_asked - AT_ONCE <= web.asked.total() <= all_asked + (KILLS + 1) * AT_ONCE
