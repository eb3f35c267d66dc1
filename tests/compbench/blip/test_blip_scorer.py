"""Scores against the benchmark's procedure written plainly: eight passes, each with its own load."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.blip_vqa import measure
from benchmarks.plain_blip import pixels, plain_scores
from compbench.errors import CompbenchError
from compbench.scorers.blip.scorer import BATCH, BlipVqaScorer, combine
from compbench.scorers.interface import Prompt
from compbench.scorers.mode import Mode

CHUNKS = [
    ("a green bench", "a blue bowl"),
    ("the left", "the blue bench"),
    (),
    tuple(
        f"{article} {color} {noun}" for article in ("a", "the") for color in ("green", "blue", "left") for noun in "es"
    ),
    ("A Green Bench.", "top", "a bowl - the bench"),
]
SIZES = [(64, 64), (512, 512), (90, 40), (33, 120), (64, 64)]
PROMPTS = [Prompt(number, f"prompt {number}", "color", chunks) for number, chunks in enumerate(CHUNKS)]
WITH_PHRASES = [number for number, chunks in enumerate(CHUNKS) if chunks]


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in SIZES]


@pytest.fixture(scope="module")
def official(weights, config):
    return BlipVqaScorer.from_weights(weights, Mode.OFFICIAL, config=config)


@pytest.fixture(scope="module")
def corrected(weights, config):
    return BlipVqaScorer.from_weights(weights, Mode.CORRECTED, config=config)


def asked(chunks: tuple[str, ...]) -> list[str]:
    """By hand: the positions go, "." goes, capitals go."""
    left = [chunk for chunk in chunks if chunk not in ("top", "the side", "the left", "the right")]
    return [chunk.lower().replace(".", "") for chunk in left]


def test_official_scores_are_the_plain_procedures(official, plain, tokenizer, images):
    """Equal to the last of four decimals."""
    expected, _, _ = plain_scores(lambda: plain, tokenizer, images, [asked(chunks) for chunks in CHUNKS])
    assert official.score(images, PROMPTS) == expected
    assert expected[2] == 1.0, "nothing asked"
    assert len(set(expected)) == len(expected)


@torch.no_grad()
def test_corrected_scores_are_products_of_all_answers_without_rounding(corrected, plain, tokenizer, images, config):
    for number in WITH_PHRASES:
        states = plain.image_states(pixels(images[number], config.image_size)[None])
        answers = []
        for chunk in asked(CHUNKS[number]):
            input_ids, mask = tokenizer([f"{chunk}?"])
            answers.append(plain.yes_probability(plain.question_states(states, input_ids, mask), mask).item())
        assert corrected.score([images[number]], [PROMPTS[number]]) == pytest.approx([math.prod(answers)], rel=1e-4)


def test_every_image_is_encoded_once_and_only_questions_are_asked(official, images):
    """In batches, so that memory does not grow with the number of images."""
    encoded, questions = [], []
    hooks = [
        official.model.visual_encoder.register_forward_hook(lambda _m, given, _o: encoded.append(len(given[0]))),
        official.model.text_encoder.register_forward_hook(lambda _m, given, _o: questions.append(len(given[0]))),
    ]
    official.score(images * 5, PROMPTS * 5)
    for hook in hooks:
        hook.remove()
    assert sum(encoded) == 5 * len(WITH_PHRASES)
    assert max(encoded) <= BATCH
    assert sum(questions) == 5 * sum(min(len(asked(chunks)), 8) for chunks in CHUNKS)


def test_scores_do_not_depend_on_the_batch(corrected, images):
    repeated = [WITH_PHRASES[i % len(WITH_PHRASES)] for i in range(BATCH + 3)]
    together = corrected.score([images[i] for i in repeated], [PROMPTS[i] for i in repeated])
    alone = [corrected.score([images[i]], [PROMPTS[i]])[0] for i in repeated]
    assert together == pytest.approx(alone, rel=1e-4)


def test_a_prompt_without_phrases_is_refused_in_corrected_mode(corrected, images):
    with pytest.raises(CompbenchError, match=r'Prompt 2 \("prompt 2"\) has no noun phrase'):
        corrected.score(images, PROMPTS)


def test_official_mode_rounds_before_the_product_and_after_it():
    assert combine([0.12346, 0.5], Mode.OFFICIAL) == 0.0617, "0.1235 * 0.5 is 0.06174 in float32"
    assert combine([0.99954] * 8, Mode.OFFICIAL) == 0.9960, "0.9995 ** 8; without the first rounding 0.9963"
    assert combine([0.99996], Mode.OFFICIAL) == 1.0
    assert combine([], Mode.OFFICIAL) == 1.0


def test_corrected_mode_rounds_nothing():
    assert combine([0.00004, 0.9], Mode.CORRECTED) == 0.00004 * 0.9


@pytest.mark.parametrize("mode", Mode)
def test_a_model_that_gives_nan_scores_nan_and_not_0(weights, config, images, mode):
    scorer = BlipVqaScorer.from_weights(weights, mode, config=config)
    scorer.model.visual_encoder.norm.bias.fill_(math.nan)
    assert math.isnan(scorer.score(images[:1], PROMPTS[:1])[0])


def test_half_precision_stays_near(corrected, weights, config, images):
    half = BlipVqaScorer.from_weights(weights, Mode.CORRECTED, dtype="bfloat16", config=config)
    assert half.score(images[:2], PROMPTS[:2]) == pytest.approx(corrected.score(images[:2], PROMPTS[:2]), abs=0.05)


def test_another_dtype_is_refused(weights):
    with pytest.raises(CompbenchError, match="'int8', but must be one of: float32, float16, bfloat16"):
        BlipVqaScorer.from_weights(weights, Mode.OFFICIAL, dtype="int8")


def test_the_benchmark_measures_both_ways_on_the_same_scores(weights, config):
    report = measure(weights, 2, config)
    assert report["largest_difference_of_scores"] == 0
    assert report["images_alone"]["ratio"] > 1
