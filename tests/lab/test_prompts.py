"""Prompts from the world and from the benchmark's files."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from compbench.errors import CompbenchError
from compbench.parsing import SHIPPED, describe_parser
from compbench.prompts import SCHEMA, read_benchmark
from compbench.scorers.interface import Prompt, read_prompts
from compbench.tables import read_table, write_table
from compbench.val_prompts import CATEGORIES as BENCHMARK_CATEGORIES
from compbench.val_prompts import FOLDER, read_compbench_prompts, read_lines
from lab.errors import LabError
from lab.prompts import load_prompts

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


@pytest.mark.long
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
    with pytest.raises(CompbenchError, match=r"holds 2 of color; ask for fewer or add prompts"):
        load_prompts("folder", str(tmp_path), "val", 3, 7)
    (tmp_path / "shape_val.txt").unlink()
    with pytest.raises(CompbenchError, match=r"shape_val\.txt does not exist"):
        load_prompts("folder", str(tmp_path), "val", 2, 7)


def test_a_prompt_that_cannot_be_a_file_name_is_refused(tmp_path):
    """Underscores would break the benchmark's file names."""
    write_benchmark(tmp_path)
    (tmp_path / "color_val.txt").write_text("a red_circle\n")
    with pytest.raises(CompbenchError, match="red_circle"):
        load_prompts("folder", str(tmp_path), "val", 1, 7)


def test_scorers_read_the_rows_that_are_written(tmp_path):
    """The world's prompts say that the world parsed them, and ask for no count, text for CLIP or subset."""
    rows = load_prompts("world", None, "val", 2, 7)
    write_table(tmp_path / "prompts", rows, SCHEMA)
    prompts = read_prompts(tmp_path / "prompts")
    assert [prompt.prompt for prompt in prompts] == [row["prompt"] for row in rows]
    assert {(p.parser, p.counts, p.clip_text, p.subset) for p in prompts} == {("world", (), None, None)}


@pytest.mark.parametrize(
    "wrong", [{"index": [None]}, {"index": ["0"]}, {"prompt": [5]}, {"category": [None]}, {"phrases": ["red car"]}]
)
def test_a_table_of_prompts_with_other_values_is_refused(tmp_path, wrong):
    """A text in the place of phrases would be asked about letter by letter."""
    row = load_prompts("world", None, "val", 1, 7)[0]
    table = pa.table({name: [value] for name, value in row.items()} | wrong)
    pq.write_table(table, tmp_path / "prompts.parquet")
    (name,) = wrong
    with pytest.raises(CompbenchError, match=rf"Row 1 of .*prompts\.parquet has the {name} .*: make the table again"):
        read_prompts(tmp_path / "prompts.parquet")


def test_a_table_of_prompts_in_another_encoding_is_refused(tmp_path):
    latin = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\4\0\0\0"), pa.py_buffer(b"caf\xe9")])
    row = load_prompts("world", None, "val", 1, 7)[0]
    pq.write_table(pa.table({name: [value] for name, value in row.items()} | {"prompt": latin}), tmp_path / "a.parquet")
    with pytest.raises(CompbenchError, match=r"The table .*a\.parquet cannot be read \('utf-8' codec"):
        read_prompts(tmp_path / "a.parquet")


def test_the_benchmarks_prompts_need_no_folder(tmp_path):
    """300 prompts of each of eight categories, numbered in the order of the files, with what scorers need."""
    rows = load_prompts("compbench", None, "val", 300, 7)
    assert [row["index"] for row in rows] == list(range(2400))
    texts = [text for category in BENCHMARK_CATEGORIES for text in read_compbench_prompts(category)]
    assert [row["prompt"] for row in rows] == texts
    assert sum(row["unseen"] for row in rows) == 295  # five of the published unseen lines are older than the prompts
    write_table(tmp_path / "prompts", rows, SCHEMA)
    first = next(prompt for prompt in read_prompts(tmp_path / "prompts") if prompt.category == "numeracy")
    assert first == Prompt(1500, texts[1500], "numeracy", objects=first.objects, counts=first.counts, parser="rules")
    assert len(first.objects) == len(first.counts) == 1


def test_one_category_is_numbered_from_zero():
    """As the benchmark numbers the images of a category."""
    rows = read_benchmark("val", 300, ("texture",))
    assert [(row["index"], row["prompt"]) for row in rows] == list(enumerate(read_compbench_prompts("texture")))


def test_parses_of_a_file_reach_the_rows():
    """Phrases keep their determiners, and the row says who parsed it."""
    parses = Path(__file__).parents[1] / "compbench" / "parsing" / "parses.jsonl"
    (row,) = read_benchmark("val", 1, ("color",), str(parses))
    assert (row["phrases"], row["parser"]) == (["a green bench", "a blue bowl"], "by hand")


def test_the_shipped_files_are_plain_lines():
    """LF line ends, a last one too, no spaces around a line, and the licence beside them."""
    for path in FOLDER.rglob("*.txt"):
        text = path.read_bytes().decode()
        assert "\r" not in text
        assert text.endswith("\n")
        assert all(line and line == line.strip() for line in read_lines(path.relative_to(FOLDER).as_posix()))
    assert "MIT License" in (FOLDER / "LICENSE").read_text()


@pytest.mark.parametrize(
    ("source", "split", "parser", "message"),
    [
        ("world", "val", "spacy", "The parser is 'spacy', but must be rules, since the world's prompts"),
    ],
)
def test_a_source_that_does_not_go_with_split_or_parser_is_refused(source, split, parser, message):
    """Nothing is left aside in silence."""
    with pytest.raises((LabError, CompbenchError)) as caught:
        load_prompts(source, None, split, 2, 7, parser=parser)
    assert str(caught.value).startswith(message)


def test_a_folder_may_have_all_eight_categories(tmp_path):
    """3d_spatial and numeracy are read where their files are there, in the benchmark's order."""
    write_benchmark(tmp_path)
    (tmp_path / "numeracy_val.txt").write_text("two dogs\nfour boys and three phones\n")
    (tmp_path / "3d_spatial_val.txt").write_text("a girl hidden by a desk\na cat behind a boy\n")
    rows = load_prompts("folder", str(tmp_path), "val", 2, 7)
    assert list(dict.fromkeys(row["category"] for row in rows)) == list(BENCHMARK_CATEGORIES)
    counted = [(row["objects"], row["counts"]) for row in rows if row["category"] == "numeracy"]
    assert counted == [(["dog"], [2]), (["boy", "phone"], [4, 3])]


def test_train_and_val_prompts_follow_each_other():
    """700 and 300 of each category, each row saying which it is of; only val prompts can be unseen."""
    rows = load_prompts("compbench", None, "train+val", 1000, 7, SHIPPED, ["color", "complex"], "before-2025-09")
    assert [row["index"] for row in rows] == list(range(2000))
    assert [row["split"] for row in rows[:1000]] == ["train"] * 700 + ["val"] * 300
    assert rows[1000]["prompt"] == read_compbench_prompts("complex", "train")[0]
    assert {row["split"] for row in rows if row["unseen"]} == {"val"}
    # As the benchmark lists them, which sorts each prompt under one rule.
    assert {row["subset"] for row in rows[1000:]} == {"spatial", "action", "spatialaction"}
    assert sum(row["subset"] == "spatial" for row in rows[1000:1700]) == 130


def test_editions_differ_in_five_colour_prompts():
    """Those that the benchmark replaced in September 2025, since they stood in it twice."""
    now, before = (
        [row["prompt"] for row in load_prompts("compbench", None, "val", 300, 7, edition=edition)]
        for edition in ("current", "before-2025-09")
    )
    changed = [number for number, (one, other) in enumerate(zip(now, before, strict=True)) if one != other]
    assert len(changed) == 5
    assert max(changed) < 300
    assert len(set(now[:300])) == 300
    assert len(set(before[:300])) == 295


@pytest.mark.long
def test_the_shipped_parse_has_every_prompt_and_says_that_it_is_not_the_official_one():
    rows = read_benchmark("train+val", 1000, parser=SHIPPED) + read_benchmark("val", 300, parser=SHIPPED, before=True)
    assert {row["parser"] for row in rows} == {"spacy 3.6.1 en_core_web_sm 3.6.0"}
    assert describe_parser(rows[0]["parser"]) == "spacy 3.6.1 en_core_web_sm 3.6.0: not the official parser"
    by_prompt = {row["prompt"]: row for row in rows}
    assert by_prompt["a green bench and a blue bowl"]["phrases"] == ["a green bench", "a blue bowl"]
    asked = [row for row in rows if row["category"] in ("color", "shape", "texture")]
    assert sum(not row["phrases"] for row in asked) < 0.01 * len(asked)


@pytest.mark.long
def test_categories_may_be_chosen():
    """In the source's order for the world; one that it has not is named."""
    rows = load_prompts("world", None, "val", 2, 7, categories=["spatial", "color"])
    assert [(row["index"], row["category"]) for row in rows] == list(enumerate(["color"] * 2 + ["spatial"] * 2))
    with pytest.raises(LabError, match="The categories have numeracy, but the world's prompts are of color, "):
        load_prompts("world", None, "val", 2, 7, categories=["numeracy"])


@pytest.mark.skipif(not BENCHMARK.is_dir(), reason="the benchmark's own prompt files are not beside the project")
def test_the_published_files_load_whole():
    """All 300 val prompts of each category load, and every spatial one has a relation and two objects."""
    rows = load_prompts("folder", str(BENCHMARK), "val", 300, 7)
    assert [sum(row["category"] == c for row in rows) for c in BENCHMARK_CATEGORIES] == [300] * 8
    assert [row["prompt"] for row in rows] == [row["prompt"] for row in load_prompts("compbench", None, "val", 300, 7)]
    spatial = [row for row in rows if row["category"] == "spatial"]
    assert all(row["relation"] and len(row["objects"]) == 2 for row in spatial)
