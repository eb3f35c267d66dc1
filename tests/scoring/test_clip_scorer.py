"""CLIPScore on a real, random open_clip model."""

import math

import open_clip
import pytest
import torch

from taca.errors import StageError
from taca.scoring.clip import ClipScorer
from taca.scoring.interface import Prompt


@pytest.fixture(scope="module")
def clip(base_folder):
    return ClipScorer.from_folder(base_folder / "clip")


def test_score_is_the_raw_cosine_of_open_clips_own_features(clip, base_folder, prompts, drawn):
    """No prefix, no factor, no clamp."""
    name = f"local-dir:{base_folder / 'clip'}"
    model, preprocess = open_clip.create_model_from_pretrained(name)
    tokens = open_clip.get_tokenizer(name)([prompts[0].prompt])
    with torch.no_grad():
        image, text = model.encode_image(preprocess(drawn[0])[None]), model.encode_text(tokens)
    expected = torch.nn.functional.cosine_similarity(image, text).item()
    assert clip.score([drawn[0]], prompts[:1]) == pytest.approx([expected], abs=1e-6)


def test_batch_agrees_with_single_images(clip, prompts, drawn):
    images = [drawn[prompt.index] for prompt in prompts]
    one_by_one = [clip.score([image], [prompt])[0] for image, prompt in zip(images, prompts, strict=True)]
    assert clip.score(images, prompts) == pytest.approx(one_by_one, abs=1e-5)


def test_score_depends_on_the_prompt(clip, prompts, drawn):
    first, second = clip.score([drawn[0], drawn[0]], prompts[:2])
    assert not math.isclose(first, second, abs_tol=1e-6)


def test_longest_readable_prompt_is_scored_and_a_longer_one_refused(clip, drawn):
    """Sixteen tokens with begin and end: fourteen words fit."""
    assert len(clip.score([drawn[0]], [Prompt(0, "red " * 14, "color")])) == 1
    for words in (15, 16, 40):
        with pytest.raises(StageError, match="longer than the 16 tokens"):
            clip.score([drawn[0]], [Prompt(0, "red " * words, "color")])


def test_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(StageError, match="holds no open_clip model"):
        ClipScorer.from_folder(tmp_path)
