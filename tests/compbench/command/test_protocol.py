"""What counts as a protocol with a name."""

import pytest

from compbench.images import ImageRow
from compbench.prompt_source import read_source
from compbench.protocol import describe_protocol
from compbench.val_prompts import read_compbench_prompts


def images(category: str = "color", prompts: int = 300, each: int = 10, before: bool = False) -> list[ImageRow]:
    texts = read_compbench_prompts(category, before=before)[:prompts]
    return rows_of(texts, category, each)


def rows_of(texts: list[str], category: str, each: int) -> list[ImageRow]:
    return [ImageRow(i, texts[i // each], category, i // each, f"{i}.png") for i in range(len(texts) * each)]


def test_ten_images_of_each_of_the_benchmarks_prompts_are_the_official_protocol():
    """Its name, and the hash of each category's prompts, are in the result."""
    found = describe_protocol("compbench", {"color": images(), "shape": images("shape")})
    assert (found["official"], found["label"], found["name"]) == (True, "the official protocol", "standard")
    assert found["categories"]["shape"] == {"prompts": 300, "images": 3000, "per_prompt": [10, 10]}
    assert set(found["prompts_sha256"]) == {"color", "shape"}


@pytest.mark.parametrize(
    ("source", "rows"),
    [
        ("compbench", images()[:-1]),
        ("compbench", images(prompts=299)),
        ("compbench", images(each=9)),
        # As many images, but not ten of each.
        ("compbench", [*images()[:-1], ImageRow(2999, images()[0].prompt, "color", 0, "2999.png")]),
        # Prompts that the benchmark has replaced since.
        ("compbench", images(before=True)),
        ("prompts.parquet", images()),
        ("here/compbench.txt", images()),
    ],
)
def test_anything_less_is_not(source, rows):
    found = describe_protocol(source, {"shape": images("shape"), "color": rows})
    assert (found["official"], found["label"]) == (False, "not the official protocol")
    assert "name" not in found


def test_one_image_of_each_train_and_val_prompt_as_they_were_is_the_papers_protocol():
    texts = [text for split in ("train", "val") for text in read_compbench_prompts("color", split, before=True)]
    assert len(texts) == 1000
    found = describe_protocol("compbench", {"color": rows_of(texts, "color", 1)})
    assert (found["official"], found["name"]) == (False, "paper")
    assert found["label"] == "not the official protocol: that of TACA's paper"


def test_a_files_place_is_left_out():
    assert describe_protocol("/somewhere/else/mine.txt", {"color": images(prompts=2)})["source"] == "mine.txt"


def test_the_benchmarks_prompts_come_by_category_in_its_order():
    found, category_of = read_source("compbench", ("spatial", "color"), "rules")
    assert {category: len(prompts) for category, prompts in found.items()} == {"spatial": 300, "color": 300}
    assert found["color"][0].prompt == "a green bench and a blue bowl"
    assert len({prompt.index for prompts in found.values() for prompt in prompts}) == 600
    assert len(category_of) == 2400
    assert category_of["a green bench and a blue bowl"] == "color"


def test_without_a_parse_of_ones_own_the_shipped_one_is_taken(tmp_path, monkeypatch):
    """It is named as what it is."""
    monkeypatch.chdir(tmp_path)
    found, _ = read_source("compbench", ("color",), None)
    assert {prompt.parser for prompt in found["color"]} == {"spacy 3.6.1 en_core_web_sm 3.6.0"}
