"""Draws from tables: seeded, of no order but their own, and of no more bytes than they need."""

import random
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lab.data.tabular.draw import Draw
from lab.data.tabular.files import Files, TableFile, find_files
from lab.data.tabular.filters import Aspect, Passing, conditions
from lab.errors import LabError

SIDES = conditions({"WIDTH": {"min": 1024}, "HEIGHT": {"min": 1024}})


def write_tables(folder: Path, count: int, rows: int, share: float = 0.5, group: int = 100) -> None:
    """Tables as LAION's, of whose rows `share` have sides of 1024 and more."""
    folder.mkdir(exist_ok=True)
    chance = random.Random(0)
    for number in range(count):
        sides = [2000 if chance.random() < share else 300 for _ in range(rows)]
        table = {
            "URL": [f"https://images.example/{number}/{row}/{chance.random()}.jpg" for row in range(rows)],
            "TEXT": [f"picture {row} of {number}: {chance.random()}" for row in range(rows)],
            "WIDTH": sides,
            "HEIGHT": sides,
            "similarity": [chance.random() for _ in range(rows)],
            "NSFW": [chance.choice(["UNLIKELY", "NSFW", None]) for _ in range(rows)],
            "unwanted": [chance.random() for _ in range(rows)],
        }
        pq.write_table(pa.table(table), folder / f"part-{number:05d}.parquet", row_group_size=group)


def local(folder: Path) -> Files:
    return find_files(str(folder), None, None, None, "*.parquet", folder)


def drawn(files: Files, wanted: int, seed: int = 0, passing: Passing | None = None) -> list[tuple]:
    rows = Draw(files, ["URL", "TEXT"], passing or Passing(SIDES), seed).rows(wanted)
    return [(row["URL"], row["file"], row["row_group"], row["row"]) for row in rows]


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    write_tables(folder, 6, 500)
    return folder


def test_a_draw_is_the_same_twice_and_in_any_order_of_the_listing(tables):
    files = local(tables)
    turned = Files(files.address, files.files[::-1], files.said)
    assert drawn(files, 700) == drawn(files, 700) == drawn(turned, 700)
    assert drawn(files, 700) != drawn(files, 700, seed=1)


def test_a_longer_draw_begins_with_the_shorter_one_and_takes_no_row_twice(tables):
    long = drawn(local(tables), 900)
    assert drawn(local(tables), 40) == long[:40]
    assert len(set(long)) == len(long) == 900


def test_all_rows_that_pass_come_and_no_others(tables):
    found = {url for url, *_ in drawn(local(tables), 10_000)}
    whole = pa.concat_tables(pq.read_table(path) for path in sorted(tables.glob("*.parquet"))).to_pylist()
    assert found == {row["URL"] for row in whole if row["WIDTH"] >= 1024}


def test_each_kind_of_filter_passes_what_it_says(tables):
    said = {"similarity": {"min": 0.25, "max": 0.5}, "NSFW": {"any_of": ["UNLIKELY"]}, "WIDTH": {"none_of": [300]}}
    found = {url for url, *_ in drawn(local(tables), 10_000, passing=Passing(conditions(said)))}
    whole = pa.concat_tables(pq.read_table(path) for path in sorted(tables.glob("*.parquet"))).to_pylist()
    good = [row for row in whole if row["NSFW"] == "UNLIKELY" and row["WIDTH"] != 300]
    assert found == {row["URL"] for row in good if 0.25 <= row["similarity"] <= 0.5} != set()


def test_nulls_and_nan_pass_no_filter_and_a_missing_side_no_aspect(tmp_path):
    values = {"URL": list("abcd"), "x": [1.0, float("nan"), None, 5.0], "w": [10, 10, 10, None], "h": [10, 10, 30, 10]}
    pq.write_table(pa.table(values), tmp_path / "a.parquet")

    def urls(passing):
        return sorted(row["URL"] for row in Draw(local(tmp_path), ["URL"], passing, 0).rows(9))

    assert urls(Passing(conditions({"x": {"min": 0}}))) == ["a", "d"]
    assert urls(Passing(conditions({"x": {"none_of": [5]}}))) == ["a", "b"]
    assert urls(Passing((), Aspect("w", "h", 2.0))) == ["a", "b"]


@pytest.mark.parametrize(
    ("column", "said", "expected"),
    [
        (pa.array(np.array([0.1, 0.5, np.nan], np.float16)), {"min": 0.25}, ["b"]),
        (pa.array(["x", "y", None], pa.string_view()), {"any_of": ["x"]}, ["a"]),
        (pa.array(["x", "y", None], pa.large_string()), {"none_of": ["x"]}, ["b"]),
        (pa.array(["x", "y", None]).dictionary_encode(), {"any_of": ["x"]}, ["a"]),
    ],
)
def test_a_filter_goes_with_each_type_that_numbers_and_texts_are_kept_in(tmp_path, column, said, expected):
    pq.write_table(pa.table({"URL": list("abc"), "x": column}), tmp_path / "a.parquet")
    rows = Draw(local(tmp_path), ["URL"], Passing(conditions({"x": said})), 0).rows(3)
    assert [row["URL"] for row in rows] == expected


def test_a_tables_very_name_is_no_pattern(tmp_path):
    pq.write_table(pa.table({"URL": ["a"]}), tmp_path / "a[1].parquet")
    assert [file.name for file in find_files(str(tmp_path), None, None, None, "a[1].parquet", tmp_path).files]


def test_a_column_that_is_not_there_is_named_with_those_that_are(tables):
    with pytest.raises(LabError, match=r"names the column width, but .*part-0000\d\.parquet has URL, TEXT, WIDTH,"):
        drawn(local(tables), 5, passing=Passing(conditions({"width": {"min": 3}})))


@pytest.mark.parametrize(
    "said", [{"NSFW": {"min": 3}}, {"WIDTH": {"any_of": ["wide"]}}, {"unwanted": {"any_of": ["x"]}}]
)
def test_a_filter_of_another_type_than_its_column_is_refused(tables, said):
    column = next(iter(said))
    with pytest.raises(LabError, match=rf"`sample.filters.{column}` does not go with the column {column}, which holds"):
        drawn(local(tables), 5, passing=Passing(conditions(said)))


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    twice = pa.table([pa.array(["a"])] * 3, names=["URL", "TEXT", "TEXT"])
    pq.write_table(twice, tmp_path / "a.parquet")
    with pytest.raises(LabError, match=r"names the column TEXT, but .*a\.parquet has URL, TEXT, TEXT:"):
        drawn(local(tmp_path), 5, passing=Passing(()))


def test_text_in_another_encoding_is_a_damaged_table(tmp_path):
    latin = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\4\0\0\0"), pa.py_buffer(b"caf\xe9")])
    pq.write_table(pa.table({"URL": ["a"], "TEXT": latin}), tmp_path / "a.parquet")
    with pytest.raises(LabError, match=r"The table a\.parquet cannot be read \('utf-8' codec"):
        drawn(local(tmp_path), 5, passing=Passing(()))


def test_a_damaged_table_is_named(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 is no table")
    with pytest.raises(LabError, match=r"The table a\.parquet cannot be read"):
        drawn(local(tmp_path), 5)


def test_no_table_of_the_name_is_told(tmp_path):
    with pytest.raises(LabError, match=r"`sample.files` is '\*\.parquet', but .* has no file of such a path"):
        local(tmp_path)


class Counted:
    """A file that counts the bytes that are read of it."""

    def __init__(self, file, counts: list[int]):
        self.file, self.counts = file, counts
        self.closed = False

    def read(self, size=-1):
        found = self.file.read(size)
        self.counts.append(len(found))
        return found

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.long
def test_a_draw_reads_what_it_needs(tmp_path):
    """Of 200 tables that pass 2 % of rows at most three times the bytes of the column chunks that hold the answer."""
    write_tables(tmp_path, 200, 600, share=0.02, group=600)
    counts: list[int] = []

    @contextmanager
    def opener(name, whole=False):
        with (tmp_path / name).open("rb") as file:
            yield Counted(file, counts)

    files = [TableFile(path.name, path.stat().st_size, "none", opener) for path in tmp_path.glob("*.parquet")]
    draw = Draw(Files("there", files, {}), ["URL", "TEXT"], Passing(SIDES), 0)
    assert len(draw.rows(1000)) == 1000
    needed = sum(_chunks(tmp_path / visit["file"], visit["row_group"]) for visit in draw.visits)
    total = sum(file.size for file in files)
    assert sum(counts) <= 3 * needed
    assert sum(counts) < total
    assert drawn(local(tmp_path), 1000) == drawn(Files("there", files, {}), 1000)


def _chunks(path: Path, group: int) -> int:
    about = pq.read_metadata(path).row_group(group)
    columns = [about.column(number) for number in range(about.num_columns)]
    wanted = ("URL", "TEXT", "WIDTH", "HEIGHT")
    return sum(column.total_compressed_size for column in columns if column.path_in_schema in wanted)
