"""Prompts from the world and from the benchmark's files."""

from pathlib import Path

import pytest

from taca.data.prompts import SCHEMA, load_prompts, parse
from taca.data.tables import read_table, write_table
from taca.errors import StageError
from taca.world.prompts import CATEGORIES

BENCHMARK = Path(__file__).parents[3] / "shared/compbench/prompts"


def write_benchmark(folder: Path, count: int = 2) -> None:
    lines = {
        "color": "a green bench and a blue bowl",
        "shape": "an oblong cucumber and a teardrop plum",
        "texture": "a plastic toy and a glass bottle",
        "spatial": "a giraffe next to a lamp",
        "non_spatial": "A person is looking at a rainbow.",
        "complex": "The black chair is on the right of the wooden table.",
    }
    for category, line in lines.items():
        (folder / f"{category}_val.txt").write_bytes(b"\r\n".join([line.encode()] * count))


def test_rows_are_numbered_and_written_with_the_same_bytes(tmp_path):
    """Two writes of the same prompts are the same file, which reads back as it was."""
    rows = load_prompts("world", None, "val", 10, 7)
    assert [row["index"] for row in rows] == list(range(60))
    for name in ("a", "b"):
        write_table(tmp_path / name, rows, SCHEMA)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_table(tmp_path / "a") == rows


def test_the_benchmarks_files_are_read(tmp_path):
    """CRLF files of a local folder give prompts of every category, with simple parses."""
    write_benchmark(tmp_path)
    rows = load_prompts("folder", str(tmp_path), "val", 2, 7)
    assert len(rows) == 12
    by_category = {row["category"]: row for row in rows}
    assert by_category["color"]["phrases"] == ["green bench", "blue bowl"]
    assert by_category["spatial"]["objects"] == ["giraffe", "lamp"]
    assert by_category["spatial"]["relation"] == "next to"
    assert by_category["non_spatial"]["phrases"] == []


def test_a_missing_file_and_a_short_one_are_named(tmp_path):
    """The error says which file, and how many prompts it has."""
    write_benchmark(tmp_path)
    with pytest.raises(StageError, match=r"color_val\.txt holds 2 prompts"):
        load_prompts("folder", str(tmp_path), "val", 3, 7)
    (tmp_path / "shape_val.txt").unlink()
    with pytest.raises(StageError, match=r"shape_val\.txt does not exist"):
        load_prompts("folder", str(tmp_path), "val", 2, 7)


def test_a_prompt_that_cannot_be_a_file_name_is_refused(tmp_path):
    """Underscores would break the benchmark's file names."""
    write_benchmark(tmp_path)
    (tmp_path / "color_val.txt").write_text("a red_circle\n")
    with pytest.raises(StageError, match="red_circle"):
        load_prompts("folder", str(tmp_path), "val", 1, 7)


def test_parse_takes_the_heads_of_phrases():
    """The last word of a phrase is its object."""
    prompt = parse("a metallic desk lamp and a fluffy sweater", "texture")
    assert prompt.phrases == ("metallic desk lamp", "fluffy sweater")
    assert prompt.objects == ("lamp", "sweater")


@pytest.mark.skipif(not BENCHMARK.is_dir(), reason="the benchmark's own prompt files are not beside the project")
def test_the_published_files_load_whole():
    """All 300 val prompts of each category load, and every spatial one has a relation and two objects."""
    rows = load_prompts("folder", str(BENCHMARK), "val", 300, 7)
    assert [sum(row["category"] == c for row in rows) for c in CATEGORIES] == [300] * 6
    spatial = [row for row in rows if row["category"] == "spatial"]
    assert all(row["relation"] and len(row["objects"]) == 2 for row in spatial)
