"""Which prompts each correction reaches, and which never score in official mode."""

import json
from collections import Counter
from pathlib import Path

import pytest

from compbench.parsing.simple import parse
from compbench.scorers.corrections import corrections, never_scores, shares
from compbench.scorers.interface import Prompt
from compbench.scorers.mode import Mode
from compbench.scorers.unidet.labels import read_labels
from compbench.val_prompts import CATEGORIES, read_compbench_prompts

LABELS = ["cat", "cattle, cow", "dog", "person", "man", "television", "tv", "picture, frame", "car", "carrot", "desk"]
LABEL_SPACE = Path(__file__).parents[3] / "shared/compbench/learned_mAP+M.json"


def prompt(category: str, objects=(), relation=None, **fields) -> Prompt:
    return Prompt(0, "text", category, fields.pop("phrases", ()), objects, relation, **fields)


def affecting(one: Prompt) -> set[str]:
    """The corrections that reach a prompt, without its category's name."""
    reaching = [found.name for found in corrections(LABELS) if found.category == one.category and found.affects(one)]
    return {name.removeprefix(f"{one.category}: ") for name in reaching}


ALWAYS_3D = {"axes of the depth map", "overlap in depth", "choice of detections"}


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (prompt("color", phrases=("a cat",)), {"no rounding"}),
        (prompt("color", phrases=("the top", "the left")), {"no rounding"}),
        (prompt("color", phrases=("top", "the left")), {"no phrases"}),
        (prompt("shape", phrases=("a cat",) * 9), {"no rounding", "more than eight phrases"}),
        (prompt("shape", phrases=(*["a cat"] * 8, "top")), {"no rounding"}),
        (prompt("spatial", ("dog", "desk"), "near"), {"RGB for RS200"}),
        (prompt("spatial", ("dog", "cow"), "near"), {"RGB for RS200", "names of labels"}),
        (prompt("spatial", ("dog", "wallet"), "near"), {"RGB for RS200"}),
        (prompt("spatial", ("dog", "girl"), "near"), {"RGB for RS200"}),
        (
            prompt("spatial", ("girl", "person"), "near"),
            {"RGB for RS200", "names of labels", "two things for two objects"},
        ),
        (
            prompt("complex", ("dog", "desk"), "on top of", subset="spatial", phrases=("a dog",)),
            {"no rounding", "RGB for RS200", "on top of"},
        ),
        (
            prompt("complex", ("dog", "cow"), "on top of", subset="action", phrases=("a dog",)),
            {"no rounding", "half precision"},
        ),
        (
            prompt("complex", ("dog", "desk"), "near", subset="spatialaction", phrases=("a dog",)),
            {"no rounding", "RGB for RS200", "half precision"},
        ),
        (prompt("3d_spatial", ("dog", "desk"), "behind"), ALWAYS_3D),
        (prompt("3d_spatial", ("cat", "desk"), "behind"), {*ALWAYS_3D, "parts of words"}),
        (prompt("numeracy", ("dog",), counts=(1,)), set()),
        (prompt("numeracy", ("television",), counts=(1,)), {"television", "parts of words"}),
        (prompt("numeracy", ("painting",), counts=(1,)), set()),
        (prompt("numeracy", ("car",), counts=(1,)), {"parts of words"}),
        (prompt("non_spatial"), {"half precision"}),
    ],
)
def test_corrections_reach_the_prompts_that_they_change(one, expected):
    """With the label "man" but no "girl", a girl is a person in both modes, and a person is a man in one."""
    assert affecting(one) == expected


def test_shares_are_of_the_prompts_of_a_category():
    prompts = [prompt("spatial", ("dog", "cow"), "near"), *[prompt("spatial", ("dog", "desk"), "near")] * 3]
    found = shares([*prompts, prompt("non_spatial")], LABELS)
    assert found["spatial: names of labels"] == 0.25
    assert found["spatial: RGB for RS200"] == 1.0
    assert found["non_spatial: half precision"] == 1.0
    assert {name.split(":")[0] for name in found} == {"spatial", "non_spatial"}


def test_every_correction_has_a_name_of_its_own_and_a_description():
    found = corrections(LABELS)
    assert len({one.name for one in found}) == len(found)
    assert all(one.what_it_changes and one.category in CATEGORIES for one in found)


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (prompt("spatial", ("dog", "desk"), "near"), None),
        (prompt("spatial", ("dog", "cow"), "near"), 'no label of the detector is "cow"'),
        (prompt("spatial", ("wallet", "cow"), "near"), 'no label of the detector is "wallet" or "cow"'),
        (prompt("spatial", ("girl", "man"), "near"), None),
        (prompt("spatial", ("girl", "man"), "on the left of"), 'one detection of "person" stands for both'),
        (prompt("spatial", ("dog", "desk"), None), "no relation"),
        (prompt("complex", ("dog", "desk"), "on top of", subset="spatial"), 'no rule for "on top of"'),
        (prompt("complex", ("dog", "desk"), "on top of", subset="action"), None),
        (prompt("complex", (), "near", subset="spatialaction"), "no two objects"),
        (prompt("3d_spatial", ("wallet", "desk"), "behind"), None),
        (prompt("3d_spatial", ("wallet", "painting"), "behind"), 'no label of the detector contains "wallet" or'),
        (prompt("numeracy", ("painting",), counts=(1,)), None),
        (prompt("numeracy", ("wallet",), counts=(1,)), 'no label of the detector contains "wallet"'),
        (prompt("color", phrases=("a wallet",)), None),
        (prompt("non_spatial"), None),
    ],
)
def test_prompts_that_can_never_score_are_told_with_the_reason(one, reason):
    found = never_scores(one, LABELS)
    assert found is None if reason is None else reason in found


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (prompt("spatial", ("dog", "cow"), "near"), None),
        (prompt("spatial", ("dog", "desk"), "on top of"), None),
        (prompt("spatial", ("girl", "man"), "on the left of"), None),
        (prompt("spatial", ("dog", "wallet"), "near"), 'no label of the detector means "wallet"'),
        (prompt("spatial", ("dog", "desk"), None), "no relation"),
        (prompt("complex", (), "near", subset="spatial"), "no two objects"),
        (prompt("complex", (), "near", subset="action"), None),
        (prompt("3d_spatial", ("wallet", "painting"), "behind"), None),
        (prompt("3d_spatial", ("wallet", "ca"), "behind"), 'no label of the detector means "wallet" or "ca"'),
        (prompt("numeracy", ("television",), counts=(1,)), None),
        (prompt("numeracy", ("wallet",), counts=(1,)), 'no label of the detector means "wallet"'),
    ],
)
def test_what_corrected_mode_cannot_score_either_is_told(one, reason):
    found = never_scores(one, LABELS, Mode.CORRECTED)
    assert found is None if reason is None else reason in found


def read(category: str) -> list[Prompt]:
    """The benchmark's prompts, by the rules that need no tagger: objects are the nouns on the surface."""
    fields = ("phrases", "objects", "relation", "counts", "subset")
    return [
        Prompt(i, text, category, **{name: getattr(parse(text, category), name) for name in fields})
        for i, text in enumerate(read_compbench_prompts(category))
    ]


@pytest.fixture(scope="module")
def labels():
    if not LABEL_SPACE.is_file():
        pytest.skip("needs UniDet's label space")
    return read_labels(LABEL_SPACE)


def test_a_hundred_spatial_prompts_have_an_object_that_is_no_label(labels):
    """With how often each of the nine words is there, one word counted in a prompt with two of them twice."""
    prompts = read("spatial")
    reasons = {one: never_scores(one, labels) for one in prompts}
    missing = [one for one, reason in reasons.items() if reason and reason.startswith("no label")]
    words = Counter(noun for one in missing for noun in one.objects if f'"{noun}"' in reasons[one])
    assert len(prompts) == 300
    assert len(missing) == 100
    assert words == {
        **{"wallet": 18, "mouse": 16, "cow": 15, "table": 12, "phone": 12, "sofa": 10, "bag": 10},
        **{"painting": 8, "computer": 5},
    }


def test_eighteen_spatial_prompts_never_score_in_corrected_mode_either(labels):
    """Those with a wallet, which is among no detector's labels under any name."""
    lost = [one for one in read("spatial") if never_scores(one, labels, Mode.CORRECTED)]
    assert len(lost) == 18
    assert all("wallet" in one.objects for one in lost)


def test_twenty_3d_prompts_cap_at_one_object(labels):
    """No label contains "painting" or "wallet"; prompts with one of them score a quarter at most, never always 0."""
    prompts = read("3d_spatial")
    assert sum(bool({"painting", "wallet"} & set(one.objects)) for one in prompts) == 20
    assert not any(never_scores(one, labels) for one in prompts)


def test_thirty_three_complex_prompts_have_the_relation_that_is_never_scored(labels):
    asked = [one for one in read("complex") if one.subset != "action"]
    assert len(asked) == 88
    assert sum("on top of" in one.prompt for one in asked) == 33


def test_corrected_mode_finds_all_objects_but_wallets(labels):
    from compbench.scorers.vocabulary import stands_for

    for category in ("spatial", "3d_spatial", "numeracy"):
        for one in read(category):
            lost = {noun for noun in one.objects if not any(stands_for(label, noun) for label in labels)}
            assert lost <= {"wallet"}


def test_shares_on_the_benchmarks_prompts(labels):
    """Written for people to read, so none is out of range and those that must be whole are."""
    found = shares([one for category in CATEGORIES for one in read(category)], labels)
    assert all(0 <= share <= 1 for share in found.values()), json.dumps(found, indent=1)
    assert found["spatial: RGB for RS200"] == 1.0
    assert found["3d_spatial: axes of the depth map"] == 1.0
    assert found["complex: RGB for RS200"] == pytest.approx(88 / 300)
    assert found["complex: half precision"] == pytest.approx(242 / 300)
