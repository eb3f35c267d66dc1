"""Tables and shards on the hub: read in parts, at one commit, the same as from this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.hub_server import HubServer
from tests.lab.data.test_draw import write_tables
from tests.lab.data.test_sources import image_tables, shards

# In a process of its own, since the hub's client reads its settings when it is imported.
DRAW = """
import json, sys
from pathlib import Path
from lab.data.tabular.draw import Draw
from lab.data.tabular.files import find_files
from lab.data.tabular.filters import Passing, conditions
from lab.errors import LabError
folder, repo, revision, wanted, store = sys.argv[1:]
try:
    files = find_files(folder, repo or None, revision or None, None, "*.parquet", Path(store))
    passing = Passing(conditions({"WIDTH": {"min": 1024}, "HEIGHT": {"min": 1024}}))
    draw = Draw(files, ["URL", "TEXT"], passing, 0)
    rows = draw.rows(int(wanted))
    print(json.dumps({"urls": [row["URL"] for row in rows], "said": files.said, "visits": draw.visits}))
except (LabError, ConnectionError) as error:
    print(json.dumps(f"{type(error).__name__}: {error}"))
"""


@pytest.fixture
def hub(tmp_path):
    """The server with 200 tables, of whose rows 2 % pass."""
    write_tables(tmp_path / "tables", 200, 600, share=0.02, group=600)
    server = HubServer()
    server.add("some/table", tmp_path / "tables")
    yield server
    server.close()


def environment(hub, tmp_path: Path) -> dict[str, str]:
    # Of the two variables that `make` sets either means offline to the hub's client.
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
    return kept | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}


def drawn(hub, tmp_path: Path, folder: str, repo: str, wanted: int = 1000, revision: str = "main"):
    arguments = [folder, repo, revision if repo else "", str(wanted), str(tmp_path / "store")]
    command = [sys.executable, "-c", DRAW, *arguments]
    done = subprocess.run(command, env=environment(hub, tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.long
def test_a_hosted_draw_is_that_of_local_files_and_reads_what_it_needs(hub, tmp_path):
    here = drawn(hub, tmp_path, str(tmp_path / "tables"), "")
    there = drawn(hub, tmp_path, "lab/hosted", "some/table")
    assert there["urls"] == here["urls"]
    assert [visit["digest"] for visit in there["visits"]] == [visit["digest"] for visit in here["visits"]]
    assert there["said"]["revision"] == hub.repositories["some/table"].commit
    assert hub.sent <= 3 * sum(needed(tmp_path / "tables" / visit["file"]) for visit in there["visits"])


def needed(path: Path) -> int:
    about = pq.read_metadata(path).row_group(0)
    columns = [about.column(number) for number in range(about.num_columns)]
    wanted = ("URL", "TEXT", "WIDTH", "HEIGHT")
    return sum(column.total_compressed_size for column in columns if column.path_in_schema in wanted)


@pytest.mark.long
def test_a_data_set_that_is_not_there_and_a_hub_that_is_gone_are_told(hub, tmp_path):
    assert drawn(hub, tmp_path, "lab/hosted", "no/such").startswith("LabError: `sample.repo` is 'no/such', but the hub")
    hub.close()
    assert drawn(hub, tmp_path, "lab/hosted", "some/table").startswith("ConnectionError: The hub cannot be reached")


@pytest.mark.long
def test_without_the_hub_a_commit_is_drawn_from_again_and_a_branch_names_it(hub, tmp_path):
    """Nothing is asked of what was read before; a longer draw asks for what it reads beyond."""
    first = drawn(hub, tmp_path, "lab/hosted", "some/table", 400)
    commit, sent = hub.repositories["some/table"].commit, hub.sent
    longer = drawn(hub, tmp_path, "lab/hosted", "some/table", 800)
    assert longer["urls"][:400] == first["urls"]
    assert sent < hub.sent < 2.2 * sent
    hub.close()
    assert drawn(hub, tmp_path, "lab/hosted", "some/table", 800, commit) == longer
    said = drawn(hub, tmp_path, "lab/hosted", "some/table", 800)
    assert said.startswith("ConnectionError: The hub cannot be reached for some/table")
    assert f"; or set `sample.revision` to {commit}, which 'main' was when it was last asked" in said


def sampled(hub, place: Path, **settings) -> list[dict] | str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.lab.data.sampled", str(place)],
        input=json.dumps(settings),
        env=environment(hub, place),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.long
@pytest.mark.parametrize("made", [image_tables, shards])
def test_images_of_hosted_tables_and_shards_are_fetched_once(tmp_path, made):
    """The same images from here and from the hub; again with the hub off; and after an edit only what is new."""
    settings, server = made(tmp_path / "files", 160), HubServer()
    commit = server.add("some/images", tmp_path / "files").commit
    here = sampled(server, tmp_path / "here", **settings, size=4)
    hosted = settings | {"folder": "lab/hosted", "repo": "some/images", "revision": "main"}
    place = tmp_path / "there"
    assert sampled(server, place, **hosted, size=4) == here
    fetched, total = server.sent, sum(path.stat().st_size for path in (tmp_path / "files").iterdir())
    assert 0 < fetched < total
    more = sampled(server, place, **hosted | {"revision": commit, "min_side": 9}, size=20)
    assert more[:4] == here
    assert fetched < server.sent <= total
    server.close()
    assert sampled(server, place, **hosted | {"revision": commit}, size=17) == more[:17]
