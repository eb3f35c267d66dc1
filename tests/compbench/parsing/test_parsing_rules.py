"""From tagged words to what the scorers ask, against parses written by hand and plain readings of the rules."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from compbench.errors import CompbenchError
from compbench.parsing import Tagged
from compbench.parsing.numeracy import Nouns, benchmark_nouns, count_objects
from compbench.parsing.objects import first_and_last_noun, objects_around_relations
from compbench.parsing.relations import RELATIONS_2D, RELATIONS_3D, first_relation
from compbench.parsing.rules import parse_tagged, without_adjectives
from compbench.parsing.simple import parse
from compbench.parsing.subset import subset
from compbench.val_prompts import CATEGORIES, read_compbench_prompts

HERE = Path(__file__).parent
EXPECTED = [json.loads(line) for line in (HERE / "parses_expected.jsonl").read_text().splitlines()]


def tagged(words: str, parser: str = "by hand") -> Tagged:
    """A tagged text from "word/POS word/POS"."""
    tokens, pos = zip(*(word.rsplit("/", 1) for word in words.split()), strict=True)
    return Tagged(" ".join(tokens), tokens, pos, (), parser)


@pytest.fixture(scope="module")
def by_hand() -> dict[str, Tagged]:
    lines = (HERE / "parses.jsonl").read_text().splitlines()
    lists = ("tokens", "pos", "noun_chunks")
    rows = [json.loads(line) for line in lines]
    return {row["text"]: Tagged(**row | {name: tuple(row[name]) for name in lists}) for row in rows}


def test_the_parses_written_by_hand_cover_every_category(by_hand):
    """At least four prompts of each category, 56 in all, each a prompt of the benchmark."""
    counts = Counter(row["category"] for row in EXPECTED)
    assert set(counts) == set(CATEGORIES)
    assert min(counts.values()) >= 4
    assert len(by_hand) == len(EXPECTED) == 56
    assert all(row["text"] in read_compbench_prompts(row["category"]) for row in EXPECTED)


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda row: f"{row['category']}: {row['text']}")
def test_a_tagged_prompt_has_the_parse_written_by_hand(by_hand, expected):
    """Phrases, objects, relation, counts, the text for CLIP and the subset."""
    found = parse_tagged(by_hand[expected["text"]], expected["category"])
    assert list(found.phrases) == expected["phrases"]
    assert list(found.objects) == expected["objects"]
    assert list(found.counts) == expected["counts"]
    for name in ("relation", "clip_text", "subset"):
        assert getattr(found, name) == expected[name]
    assert found.parser == "by hand"


@pytest.mark.parametrize(
    ("words", "objects"),
    [
        # Two relations find four nouns, which is not two.
        ("cat/NOUN near/ADP mat/NOUN next/ADV to/ADP rug/NOUN", ()),
        # Relations without a noun before, twice, make two all the same.
        ("near/ADP mat/VERB next/ADV to/ADP rug/NOUN", ("rug", "rug")),
        # A name of several words is named by its last one.
        ("Tom/PROPN near/ADP New/PROPN York/PROPN ./PUNCT", ("Tom", "York")),
        # The last word is never taken for a name.
        ("Tom/PROPN near/ADP New/PROPN York/PROPN", ()),
        # A noun further on goes before a name.
        ("Tom/PROPN near/ADP York/PROPN in/ADP rain/NOUN", ("Tom", "rain")),
        # "on the top of" is no relation of this list.
        ("cat/NOUN on/ADP the/DET top/NOUN of/ADP mat/NOUN", ()),
        ("cat/NOUN on/ADP bottom/NOUN of/ADP mat/NOUN", ("cat", "mat")),
        ("cat/NOUN on/ADP side/NOUN of/ADP mat/NOUN", ("cat", "mat")),
        ("cat/NOUN is/AUX near/ADP", ()),
    ],
)
def test_objects_around_relations_in_odd_forms(words, objects):
    """What the scan finds where a prompt is not of the usual form."""
    assert objects_around_relations(tagged(words)) == objects


def plain_scan(tokens, pos) -> list[str]:
    """The scan of complex prompts token by token with a flag, as one would write it down from its description."""
    relations = ["on top of", "on bottom of", "on the left", "on the right", "on side of", "next to", "near"]
    found = []
    for i in range(len(tokens)):
        for words in (relation.split() for relation in relations):
            if list(tokens[i : i + len(words)]) != words:
                continue
            j = i - 1
            while j >= 0 and pos[j] not in ("NOUN", "PROPN"):
                j -= 1
            if j >= 0:
                found.append(tokens[j])
            without_noun = False
            for j in range(i + len(words), len(tokens)):
                if pos[j] == "NOUN":
                    found.append(tokens[j])
                    break
                if j == len(tokens) - 1:
                    without_noun = True
            if without_noun:
                for j in range(i + len(words), len(tokens) - 1):
                    if pos[j] == "PROPN" and pos[j + 1] != "PROPN":
                        found.append(tokens[j])
                        break
    return found


def test_objects_around_relations_agree_with_a_plain_scan():
    """3,000 random texts of relations' words and others, with random tags."""
    rng = random.Random(0)
    pieces = [
        ["on", "top", "of"],
        ["on", "the", "left"],
        ["next", "to"],
        ["near"],
        ["on"],
        ["the"],
        ["u"],
        ["v"],
        ["w"],
    ]
    found = Counter()
    for _ in range(3000):
        tokens = tuple(word for _ in range(rng.randint(1, 6)) for word in rng.choice(pieces))
        pos = tuple(rng.choice(["NOUN", "PROPN", "PROPN", "ADJ", "ADP"]) for _ in tokens)
        plain = plain_scan(tokens, pos)
        expected = tuple(plain) if len(plain) == 2 else ()
        assert objects_around_relations(Tagged("", tokens, pos, (), "")) == expected
        found[len(plain)] += 1
    assert found[2] > 200
    assert found[1] > 200


def plain_count(tokens, singulars, plurals) -> list[tuple[str, int]]:
    """Counted nouns by lists and positions; ValueError where the benchmark's own reading fails."""
    numbers = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
    found = []
    for i, token in enumerate(tokens):
        if token not in ["a", "an", *numbers]:
            continue
        single = token in ("a", "an", "one")
        if i + 2 < len(tokens) and f"{tokens[i + 1]} {tokens[i + 2]}" in singulars + plurals:
            phrase = f"{tokens[i + 1]} {tokens[i + 2]}"
            if phrase in plurals and not single:
                found.append((singulars[plurals.index(phrase)], numbers.index(token) + 1))
            else:
                found.append((phrase, 1))
        elif i + 1 < len(tokens) and tokens[i + 1] in singulars + plurals:
            if tokens[i + 1] in singulars and single:
                found.append((tokens[i + 1], 1))
            else:
                found.append((singulars[plurals.index(tokens[i + 1])], numbers.index(token) + 1))
    return found


def test_counted_objects_agree_with_a_plain_reading():
    """3,000 random texts, with nouns of two words; what fails there is refused here."""
    rng = random.Random(1)
    singulars, plurals = ["cat", "fish", "alarm clock", "alarm"], ["cats", "fish", "alarm clocks", "alarms"]
    nouns = Nouns(frozenset(singulars), dict(zip(plurals, singulars, strict=True)))
    numbers = ["a", "an", "one", "two", "eight", "nine"]
    others = ["cat", "cats", "fish", "alarm", "alarms", "alarm clock", "alarm clocks", "clock", "alarm ,", ","]
    outcomes = Counter()
    for _ in range(3000):
        pieces = [rng.choice(numbers if rng.random() < 0.5 else others) for _ in range(rng.randint(1, 6))]
        tokens = " ".join(pieces).split()
        try:
            expected = plain_count(tokens, singulars, plurals)
        except ValueError:
            expected = []
        if expected:
            assert list(zip(*count_objects("text", tokens, nouns), strict=True)) == expected
        else:
            with pytest.raises(CompbenchError, match="'text'"):
                count_objects("text", tokens, nouns)
        outcomes[len(expected)] += 1
    assert min(outcomes[n] for n in range(3)) > 50


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("two cat", "The prompt 'two cat' holds \"two cat\", but number and noun must agree"),
        ("a cats", "The prompt 'a cats' holds \"a cats\", but number and noun must agree"),
        ("nine cats", "The prompt 'nine cats' counts nothing that the benchmark knows"),
        ("Two cats", "The prompt 'Two cats' counts nothing that the benchmark knows"),
    ],
)
def test_a_numeracy_prompt_that_cannot_be_counted_is_named(text, message):
    """Where the benchmark's own reading ends in an exception, the message says which prompt and why."""
    with pytest.raises(CompbenchError) as caught:
        parse_tagged(tagged(" ".join(f"{word}/NOUN" for word in text.split())), "numeracy")
    assert str(caught.value).startswith(message)


def test_a_spatial_prompt_without_a_noun_is_named():
    """There is nothing to look for in its images."""
    with pytest.raises(CompbenchError, match="The prompt 'red near blue' has no noun in the parse of by hand"):
        first_and_last_noun(tagged("red/ADJ near/ADP blue/ADJ"))


def test_an_adjective_leaves_no_trace_in_the_text_for_clip():
    """Tokens stand apart, the period too."""
    words = "The/DET red/ADJ hat/NOUN hung/VERB on/ADP the/DET rack/NOUN ./PUNCT"
    assert without_adjectives(tagged(words)) == "The hat hung on the rack ."


def test_the_relations_of_the_benchmarks_prompts_are_counted():
    """As many of each as the published files hold; where a prompt has two, the first of the list counts."""
    found = Counter(first_relation(prompt, RELATIONS_2D) for prompt in read_compbench_prompts("spatial"))
    assert found == {
        "on the top of": 56,
        "on the right of": 56,
        "on the bottom of": 52,
        "on the left of": 51,
        "on side of": 37,
        "next to": 24,
        "near": 24,
    }
    found = Counter(first_relation(prompt, RELATIONS_3D) for prompt in read_compbench_prompts("3d_spatial"))
    assert found == {"hidden": 115, "in front of": 102, "behind": 83}
    assert first_relation("a cat on top of a mat near a rug", RELATIONS_2D) == "near"
    assert first_relation("a cat under a mat", RELATIONS_2D) is None


def test_the_subsets_of_the_complex_prompts_are_the_published_lists():
    """58, 212 and 30 prompts, with the relations that each list is known to hold."""
    prompts = read_compbench_prompts("complex")
    assert Counter(map(subset, prompts)) == {"spatial": 58, "action": 212, "spatialaction": 30}
    relations = Counter((subset(prompt), first_relation(prompt, RELATIONS_2D)) for prompt in prompts)
    assert relations["spatial", "on top of"] == 32
    assert relations["spatial", "next to"] == 17
    assert relations["spatial", "on the left of"] == 6
    assert relations["spatial", "on the right of"] == 3
    assert relations["spatialaction", "next to"] == 20
    assert relations["spatialaction", "near"] == 8
    assert relations["spatialaction", "on top of"] == 1
    assert relations["spatialaction", None] == 1


def test_a_subset_is_found_whatever_the_case_and_the_period():
    """The benchmark compares the first sentence in lower case; prompts of no list have both parts."""
    assert subset("the soft PILLOW was on top of the hard rocking chair. And more") == "spatial"
    assert subset("The soft pillow sang.") == "spatialaction"


def test_the_numeracy_prompts_hold_one_to_five_objects():
    """91, 89, 48, 37 and 35 prompts, by words alone: no tag is needed to count."""
    counts = Counter(len(parse(prompt, "numeracy").objects) for prompt in read_compbench_prompts("numeracy"))
    assert counts == {1: 91, 2: 89, 3: 48, 4: 37, 5: 35}
    assert len(benchmark_nouns().singulars) == 88


@pytest.mark.parametrize(
    ("prompt", "category", "phrases", "objects", "relation"),
    [
        ("a metallic desk lamp and a fluffy sweater", "texture", ("metallic desk lamp", "fluffy sweater"), None, None),
        ("a girl hidden by a desk", "3d_spatial", ("girl", "desk"), ("girl", "desk"), "hidden"),
        ("a car in front of a mouse", "3d_spatial", ("car", "mouse"), ("car", "mouse"), "in front of"),
        ("A person is looking at a map.", "non_spatial", (), (), None),
        ("...", "color", (), (), None),
        ("a red car and .", "color", ("red car",), ("car",), None),
    ],
)
def test_simple_rules_need_no_tagger(prompt, category, phrases, objects, relation):
    """The last word of a phrase is its object, and the parse says that rules made it."""
    found = parse(prompt, category)
    assert found.phrases == phrases
    assert found.objects == (objects if objects is not None else ("lamp", "sweater"))
    assert (found.relation, found.parser) == (relation, "rules")
