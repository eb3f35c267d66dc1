"""What is asked about a prompt, against the benchmark's description."""

import pytest

from compbench.errors import CompbenchError
from compbench.scorers.blip.questions import clean, questions_of
from compbench.scorers.interface import Prompt
from compbench.scorers.mode import Mode


def prompt(*phrases: str) -> Prompt:
    return Prompt(7, "a prompt.", "color", phrases)


@pytest.mark.parametrize("mode", Mode)
def test_a_question_is_the_noun_phrase_with_a_question_mark(mode):
    assert questions_of(prompt("A green bench", "the blue bowl"), mode) == ["a green bench?", "the blue bowl?"]


@pytest.mark.parametrize("mode", Mode)
def test_exactly_the_four_positions_are_left_out(mode):
    kept = ("Top", "the top", "side", "the Left", "left", "the right side")
    found = questions_of(prompt("top", *kept[:3], "the side", "the left", *kept[3:], "the right"), mode)
    assert found == [f"{phrase.lower()}?" for phrase in kept]


def test_official_mode_asks_the_first_eight_that_are_left_and_corrected_mode_all():
    phrases = ("top", *(f"thing {number}" for number in range(10)))
    every = [f"thing {number}?" for number in range(10)]
    assert questions_of(prompt(*phrases), Mode.OFFICIAL) == every[:8]
    assert questions_of(prompt(*phrases), Mode.CORRECTED) == every


@pytest.mark.parametrize("phrases", [(), ("top", "the left")])
def test_a_prompt_without_phrases_is_asked_nothing_in_official_mode_and_named_in_corrected_mode(phrases):
    assert questions_of(prompt(*phrases), Mode.OFFICIAL) == []
    with pytest.raises(CompbenchError, match=r'Prompt 7 \("a prompt\."\) has no noun phrase'):
        questions_of(prompt(*phrases), Mode.CORRECTED)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ('A "Big" (red) #1 sign: *yes*; no ~ 11:44.!?', "a big red 1 sign yes no  1144?"),
        ("a man's well-made hat, there?", "a man's well-made hat, there?"),
        ("a bowl?  ", "a bowl?"),
        ("a bowl ?.", "a bowl ?"),
        (" ".join(["word"] * 60) + "?", " ".join(["word"] * 50)),
    ],
)
def test_cleaning_deletes_ten_characters_and_keeps_fifty_words(question, expected):
    assert clean(question) == expected
