"""What counts as the same, as a difference in numbers, and as something else."""

import json
import math

import pandas
import pytest

from flows.rebuilding.compare import differences, output_difference
from flows.rebuilding.verdict import Difference, Kind, judged
from runtime.execution.hashes import Hasher


@pytest.fixture
def two(tmp_path):
    """Where a recorded output is to be written, and a fresh one."""
    (tmp_path / "then" / "outs").mkdir(parents=True)
    (tmp_path / "now").mkdir()
    return tmp_path / "then" / "outs", tmp_path / "now"


def compared(two, path):
    then, now = two
    return output_difference(path, now, then.parent)


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ({"a": [1, 2.0, "x", None, True]}, {"a": [1, 2.0, "x", None, True]}, []),
        (1.0, 1.5, [(1 / 3, "")]),  # of the larger one
        (0.25, 0.5, [(0.25, "")]),  # absolute below 1
        (10**9, 10**9 + 1, [(1.0, "")]),  # integers are equal or not
        (math.nan, math.nan, []),
        (math.nan, 1.0, [(None, "")]),
        (math.inf, math.inf, []),
        (math.inf, 1.0, [(None, "")]),
        ({"a": {"b": [0.0, 1]}}, {"a": {"b": [0.5, 1]}}, [(0.5, "a/b/0")]),
        ({"a": 1}, {"b": 1}, [(None, "")]),
        ([1], [1, 2], [(None, "")]),
        ("x", "y", [(None, "")]),
        (True, 1, []),
        (True, 0, [(None, "")]),
        (1, "1", [(None, "")]),
    ],
)
def test_values_are_compared_number_by_number(one, other, found):
    assert list(differences(one, other)) == found


def write_json(path, frame):
    frame.to_json(path)


def write_csv(path, frame):
    frame.to_csv(path, index=False)


def write_parquet(path, frame):
    frame.to_parquet(path)


@pytest.mark.parametrize(("suffix", "write"), [("json", write_json), ("csv", write_csv), ("parquet", write_parquet)])
def test_tables_differ_by_their_largest_number(two, suffix, write):
    then, now = (folder / f"t.{suffix}" for folder in two)
    write(then, pandas.DataFrame({"name": ["a", "b"], "value": [0.5, 0.25]}))
    write(now, pandas.DataFrame({"name": ["a", "b"], "value": [0.5 + 1e-9, 0.25 + 1e-8]}))
    found = compared(two, f"t.{suffix}")
    assert found.what == f"output t.{suffix}"
    assert found.size == pytest.approx(1e-8)
    assert found.where.endswith("value/1")
    write(now, pandas.DataFrame({"name": ["a", "c"], "value": [0.5, 0.25]}))
    assert compared(two, f"t.{suffix}").size is None


def test_other_bytes_with_the_same_numbers_are_a_difference_of_nothing(two):
    then, now = (folder / "a.json" for folder in two)
    then.write_text('{"a": 1}')
    now.write_text('{"a":  1}')
    assert compared(two, "a.json") == Difference("output a.json", 0.0, "other bytes, the same numbers")


@pytest.mark.parametrize("name", ["picture.png", "broken.json", "empty.csv"])
def test_other_bytes_of_what_is_no_table_are_a_difference(two, name):
    then, now = (folder / name for folder in two)
    then.write_bytes(b"{\xff")
    now.write_bytes(b"")
    assert compared(two, name) == Difference(f"output {name}", None, "other bytes")


def test_folders_are_compared_file_by_file(two):
    then, now = (folder / "f" for folder in two)
    for folder, value in ((then, 0.5), (now, 0.75)):
        folder.mkdir()
        (folder / "a.json").write_text(f"[{value}]")
        (folder / "same.txt").write_text("same")
    assert compared(two, "f") == Difference("output f", 0.25, "a.json 0")
    (now / "more.txt").write_text("more")
    assert compared(two, "f") == Difference("output f", None, "more.txt is in one of them only")


def test_output_that_is_known_by_its_listing_names_the_files(two):
    """One too large to be stored in the run."""
    then, now = (folder / "f" for folder in two)
    for folder, value in ((then, "1"), (now, "2")):
        folder.mkdir()
        for name in "abcd":
            (folder / name).write_text(name if name == "a" else value)
    listed = [list(entry) for entry in Hasher(two[0])("f").files]
    (two[0] / "f").rename(two[0].parent / "too large")
    (two[0] / "f.manifest.json").write_text(json.dumps({"files": listed}))
    assert compared(two, "f") == Difference("output f", None, "3 of 4 files differ: b, c, d")


@pytest.mark.parametrize(
    ("sizes", "kind"),
    [
        ([], Kind.IDENTICAL),
        ([0.0], Kind.TOLERABLE),
        ([1e-8, 1e-6], Kind.TOLERABLE),
        ([1e-8, 2e-6], Kind.DIFFERENT),
        ([1e-8, None], Kind.DIFFERENT),
    ],
)
def test_verdict_is_that_of_the_largest_difference(sizes, kind):
    found, why = judged([Difference(f"metric m{index}", size, "step 0") for index, size in enumerate(sizes)], 1e-6)
    assert found is kind
    assert sizes in ([], [0.0]) or f"metric m{len(sizes) - 1}" in why
    assert kind is not Kind.DIFFERENT or "metric m0" not in why
