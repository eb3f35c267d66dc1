"""Which scores make the one score of a complex prompt."""

import random

import pytest

from compbench.errors import CompbenchError
from compbench.scorers.interface import Measure, Prompt
from compbench.scorers.three_in_one import three_in_one


def prompt(subset: str | None, index: int = 0) -> Prompt:
    return Prompt(index, "a red cat near a dog", "complex", subset=subset)


@pytest.mark.parametrize(
    ("subset", "expected"), [("spatial", 0.7), ("action", 0.5), ("spatialaction", 0.6), (None, 0.6)]
)
def test_parts_follow_the_subset(subset, expected):
    """Of 0.6, 0.8 and 0.4."""
    scores = {"attribute": [0.6], "spatial": [0.8], "clip": [0.4]}
    assert three_in_one(scores, [prompt(subset)]) == pytest.approx([expected])


def test_rule_is_exactly_the_plain_one_for_any_number_of_images():
    rng = random.Random(0)
    for images in range(1, 60):
        prompts = [prompt(rng.choice(["spatial", "action", "spatialaction"])) for _ in range(images)]
        blip, spatial, clip = ([rng.random() for _ in range(images)] for _ in range(3))
        expected = []
        for i in range(images):
            if prompts[i].subset == "spatial":
                expected.append((blip[i] + spatial[i]) / 2)
            elif prompts[i].subset == "action":
                expected.append((blip[i] + clip[i]) / 2)
            else:
                expected.append((blip[i] + spatial[i] + clip[i]) / 3)
        assert three_in_one({"attribute": blip, "spatial": spatial, "clip": clip}, prompts) == expected


def test_an_unknown_subset_is_refused():
    with pytest.raises(CompbenchError, match=r"has the subset 'actions', but .* spatial, action, spatialaction"):
        three_in_one({"attribute": [1], "spatial": [1], "clip": [1]}, [prompt("actions")])


class Always:
    """Gives every image the same score."""

    def __init__(self, name, score):
        self.name, self.value = name, score

    def score(self, images, prompts):
        return [self.value for _ in images]


def test_a_measure_combines_by_each_images_prompt():
    scorers = (Always("attribute", 0.6), Always("spatial", 0.8), Always("clip", 0.4))
    measure = Measure(scorers, combine=("complex", three_in_one))
    found = measure.score([None] * 2, [prompt("action"), prompt("spatial", 1)])
    assert found["complex"] == pytest.approx([0.5, 0.7])
