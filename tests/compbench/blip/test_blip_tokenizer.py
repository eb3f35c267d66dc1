"""Token ids against the greedy longest match that WordPiece is."""

import pytest

from compbench.errors import CompbenchError
from compbench.scorers.blip.tokenizer import QuestionTokenizer


def pieces(word: str, vocabulary: dict[str, int]) -> list[int]:
    """The longest known beginning, then the longest known continuation, and so on; [UNK] if there is none."""
    found, start = [], 0
    while start < len(word):
        ends = [end for end in range(len(word), start, -1) if ("##" if start else "") + word[start:end] in vocabulary]
        if not ends:
            return [vocabulary["[UNK]"]]
        found.append(vocabulary[("##" if start else "") + word[start : ends[0]]])
        start = ends[0]
    return found


@pytest.fixture(scope="module")
def vocabulary(weights):
    lines = (weights / "blip" / "vocab.txt").read_text().split("\n")[:-1]
    return {line: number for number, line in enumerate(lines)}


QUESTIONS = {
    "a green bench?": ["a", "green", "bench", "?"],
    "the bowlery bowler": ["the", "bowlery", "bowler"],
    "bowls, benchy-greens?": ["bowls", ",", "benchy", "-", "greens", "?"],
    "the é bowl's zebra": ["the", "e", "bowl", "'", "s", "zebra"],
    "": [],
}


def test_ids_are_berts_with_blips_token_in_front_and_zeros_to_the_longest(tokenizer, vocabulary):
    input_ids, mask = tokenizer(list(QUESTIONS))
    rows = [[30523, *(i for word in words for i in pieces(word, vocabulary)), 102] for words in QUESTIONS.values()]
    longest = max(map(len, rows))
    assert input_ids.tolist() == [row + [0] * (longest - len(row)) for row in rows]
    assert mask.sum(1).tolist() == [len(row) for row in rows]
    assert ((input_ids != 0) == mask).all()


def test_a_question_of_more_than_35_tokens_is_cut_and_keeps_its_end_token(tokenizer, vocabulary):
    input_ids, mask = tokenizer(["green " * 60])
    assert input_ids.tolist() == [[30523, *[vocabulary["green"]] * 33, 102]]
    assert mask.all()


def test_another_vocabulary_is_refused(tmp_path, weights):
    lines = (weights / "blip" / "vocab.txt").read_text().split("\n")
    path = tmp_path / "vocab.txt"
    for wrong in (lines[1:], [*lines[:2748], "oui", *lines[2749:]], []):
        path.write_text("\n".join(wrong))
        with pytest.raises(CompbenchError, match="not bert-base-uncased's vocabulary of 30522"):
            QuestionTokenizer.from_file(path)


def test_a_missing_vocabulary_is_named(tmp_path):
    with pytest.raises(CompbenchError, match=r"vocab\.txt does not exist"):
        QuestionTokenizer.from_file(tmp_path / "vocab.txt")
