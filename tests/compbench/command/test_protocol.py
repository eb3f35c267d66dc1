"""What counts as the official protocol."""

import pytest

from compbench.images import ImageRow
from compbench.prompt_source import read_source
from compbench.protocol import describe_protocol


def images(prompts: int = 300, each: int = 10) -> list[ImageRow]:
    return [ImageRow(i, f"{i // each}", "color", i // each, f"{i}.png") for i in range(prompts * each)]


def test_ten_images_of_each_of_the_benchmarks_prompts_are_the_official_protocol():
    found = describe_protocol("compbench", {"color": images(), "shape": images()})
    assert (found["official"], found["label"]) == (True, "the official protocol")
    assert found["categories"]["shape"] == {"prompts": 300, "images": 3000, "per_prompt": [10, 10]}


@pytest.mark.parametrize(
    ("source", "rows"),
    [
        ("compbench", images()[:-1]),
        ("compbench", images(prompts=299)),
        ("compbench", images(each=9)),
        # As many images, but not ten of each.
        ("compbench", [*images()[:-1], ImageRow(2999, "0", "color", 0, "2999.png")]),
        ("prompts.parquet", images()),
        ("here/compbench.txt", images()),
    ],
)
def test_anything_less_is_not(source, rows):
    found = describe_protocol(source, {"color": images(), "shape": rows})
    assert (found["official"], found["label"]) == (False, "not the official protocol")


def test_a_files_place_is_left_out():
    assert describe_protocol("/somewhere/else/mine.txt", {"color": images(2, 2)})["source"] == "mine.txt"


def test_the_benchmarks_prompts_come_by_category_in_its_order():
    found, category_of = read_source("compbench", ("spatial", "color"), "rules")
    assert {category: len(prompts) for category, prompts in found.items()} == {"spatial": 300, "color": 300}
    assert found["color"][0].prompt == "a green bench and a blue bowl"
    assert len({prompt.index for prompts in found.values() for prompt in prompts}) == 600
    assert len(category_of) == 2400
    assert category_of["a green bench and a blue bowl"] == "color"
