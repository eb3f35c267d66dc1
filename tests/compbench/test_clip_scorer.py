"""CLIPScore on a real, random open_clip model."""

import json
import math
import shutil

import numpy as np
import open_clip
import pytest
import torch

from compbench.errors import CompbenchError
from compbench.scorers.build import Models
from compbench.scorers.choice import Choice
from compbench.scorers.clip import ClipScorer
from compbench.scorers.interface import Prompt
from compbench.scorers.mode import Mode


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


def test_clip_text_stands_for_the_prompt_where_there_is_one(clip, prompts, drawn):
    """Complex prompts lose their adjectives; an empty text is a text."""
    plain, without = Prompt(0, "circle", "complex"), Prompt(0, "red circle", "complex", clip_text="circle")
    nothing, empty = Prompt(0, "", "complex"), Prompt(0, "red circle", "complex", clip_text="")
    first, second, third, fourth = clip.score([drawn[0]] * 4, [plain, without, nothing, empty])
    assert first == second != third == fourth


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
        with pytest.raises(CompbenchError, match="longer than the 16 tokens"):
            clip.score([drawn[0]], [Prompt(0, "red " * words, "color")])


def test_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(CompbenchError, match="holds no open_clip model"):
        ClipScorer.from_folder(tmp_path)


@pytest.fixture
def weights(base_folder, tmp_path):
    """A weights folder with a tiny model in OpenAI's kind of configuration."""
    shutil.copytree(base_folder / "clip", tmp_path / "clip")
    edit_config(tmp_path, lambda config: config["model_cfg"].update(quick_gelu=True))
    return tmp_path


def edit_config(weights, edit):
    path = weights / "clip" / "open_clip_config.json"
    config = json.loads(path.read_text())
    edit(config)
    path.write_text(json.dumps(config))


def test_weights_folder_gives_a_model_with_quick_gelu(weights, clip, prompts, drawn):
    found = ClipScorer.from_weights(weights)
    assert any(isinstance(module, open_clip.transformer.QuickGELU) for module in found.model.modules())
    [score], [other] = (scorer.score([drawn[0]], prompts[:1]) for scorer in (found, clip))
    assert not math.isclose(score, other, abs_tol=1e-6)


def test_half_precision_rounds_scores_as_on_the_benchmarks_gpu(weights, prompts, drawn):
    """Scores are float16 numbers, near those of float32; weights too, but for those of LayerNorm."""
    half, whole = ClipScorer.from_weights(weights, dtype="float16"), ClipScorer.from_weights(weights)
    assert half.model.visual.conv1.weight.dtype == torch.float16
    images = [drawn[prompt.index] for prompt in prompts]
    scores = half.score(images, prompts)
    assert scores == np.float16(scores).tolist()
    assert scores == pytest.approx(whole.score(images, prompts), abs=0.01)
    assert scores != whole.score(images, prompts)


def test_corrected_mode_computes_in_float32_whatever_the_detector_computes_in(weights):
    """Rounded cosines are an error of the benchmark that this mode says it mends."""
    dtypes = {mode: Models(Choice(weights=weights, mode=mode, dtype="float16")).clip().dtype for mode in Mode}
    assert dtypes == {Mode.OFFICIAL: torch.float16, Mode.CORRECTED: torch.float32}


def test_a_model_without_quick_gelu_is_refused(weights):
    edit_config(weights, lambda config: config["model_cfg"].pop("quick_gelu"))
    with pytest.raises(CompbenchError, match="has no `quick_gelu`"):
        ClipScorer.from_weights(weights)


@pytest.mark.parametrize("name", ["open_clip_config.json", "open_clip_model.safetensors"])
def test_missing_weights_are_named(weights, name):
    (weights / "clip" / name).unlink()
    with pytest.raises(CompbenchError, match=rf"{name} are missing: run `python -m compbench.weights non_spatial"):
        ClipScorer.from_weights(weights)


def test_damaged_and_foreign_weights_are_refused(weights):
    edit_config(weights, lambda config: config["model_cfg"]["vision_cfg"].update(layers=2))
    with pytest.raises(CompbenchError, match=r"has no complete CLIP model .*Missing key.*resblocks\.1\."):
        ClipScorer.from_weights(weights)
    (weights / "clip" / "open_clip_model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(CompbenchError, match="has no complete CLIP model"):
        ClipScorer.from_weights(weights)
