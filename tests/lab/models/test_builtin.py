"""The built-in base: repeatable, loadable by plain libraries, and as small as it claims."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lab.models.builtin.optimization import train
from lab.models.builtin.tokenizers import clip_tokenizer, t5_tokenizer
from lab.world.vocabulary import phrases, words
from tests.tiny_base import TINY, tiny_base, train_tiny

COMMITTED = Path(__file__).parents[3] / "models/base/builtin"


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.long
def test_training_twice_gives_the_same_bytes(tmp_path):
    """Two trainings from the same config write the same files."""
    assert files(train_tiny(tmp_path)) == files(tiny_base())


@pytest.mark.long
def test_tokenizers_are_the_same_in_every_process():
    """A learned vocabulary must not depend on the order in which a process happens to meet the words."""
    program = (
        "from lab.models.builtin.tokenizers import clip_tokenizer, t5_tokenizer\n"
        "from lab.world.vocabulary import phrases, words\n"
        "for tokenizer in (clip_tokenizer(words(), phrases(), 8), t5_tokenizer(words(), phrases(), 8)):\n"
        "    print(sorted(tokenizer.get_vocab().items()))\n"
    )
    command = [sys.executable, "-c", program]
    outputs = {subprocess.run(command, capture_output=True, check=True).stdout for _ in range(3)}
    assert len(outputs) == 1


def test_an_interrupted_training_ends_with_the_same_parameters(tmp_path, monkeypatch):
    """A run that stops after a checkpoint and goes on ends where an unbroken one ends."""
    from lab.models.builtin import optimization

    monkeypatch.setattr(optimization, "CHECKPOINT_EVERY", 3)

    def run(folder, stop_at=None):
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 1)

        def loss_of(generator, step):
            if step == stop_at:
                raise KeyboardInterrupt
            return (model(torch.randn(8, 3, generator=generator)) - 1).square().mean()

        folder.mkdir(exist_ok=True)
        arguments = {"steps": 8, "learning_rate": 0.1, "seed": 1, "work": folder, "log": lambda *_: None}
        train("toy", {"model": model}, loss_of, **arguments)
        return model.weight.detach()

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", stop_at=5)
    assert torch.equal(run(tmp_path / "broken"), run(tmp_path / "whole"))


def test_every_word_is_one_token_and_other_text_has_tokens_too():
    """Words and relations of the world are single tokens in both tokenizers; other words are spelt."""
    clip, t5 = clip_tokenizer(words(), phrases(), 8), t5_tokenizer(words(), phrases(), 8)
    for word in (*words(), *phrases()):
        assert len(clip(word).input_ids) == 3, word
        assert len(t5(word).input_ids) == 2, word
    assert min(len(clip("giraffe").input_ids), len(t5("giraffe").input_ids)) > 3


def test_plain_diffusers_loads_and_draws_without_a_dtype():
    """`from_pretrained` with nothing but the path gives one float32 pipeline that runs."""
    from diffusers import StableDiffusion3Pipeline

    pipe = StableDiffusion3Pipeline.from_pretrained(tiny_base())
    parts = (pipe.transformer, pipe.vae, pipe.text_encoder, pipe.text_encoder_2, pipe.text_encoder_3)
    assert {part.dtype for part in parts} == {torch.float32}
    image = pipe("red circle", max_sequence_length=8, guidance_scale=1.0, num_inference_steps=2).images[0]
    assert image.size == (64, 64)


def test_training_and_pipeline_encode_prompts_alike():
    """What the transformer was trained on is what `encode_prompt` gives it."""
    from diffusers import StableDiffusion3Pipeline

    from lab.models.builtin.text_to_image import TextEncoders
    from lab.models.family import family_of

    pipe = StableDiffusion3Pipeline.from_pretrained(tiny_base())
    encoders = TextEncoders(
        pipe.text_encoder, pipe.text_encoder_2, pipe.text_encoder_3, pipe.tokenizer, pipe.tokenizer_3
    )
    prompts = ["red circle", "striped red circle on the left of blue square"]
    with torch.no_grad():
        embeds, pooled = encoders.encode(*encoders.tokenize(prompts, TINY))
    expected = family_of(pipe.transformer).embed(pipe, prompts, TINY.t5_max_length)
    assert torch.equal(embeds, expected["prompt_embeds"])
    assert torch.equal(pooled, expected["pooled_prompt_embeds"])


def test_image_tokens_outnumber_text_tokens_four_to_one():
    """In the pipeline's own calls, padding counted."""
    from diffusers import StableDiffusion3Pipeline

    pipe = StableDiffusion3Pipeline.from_pretrained(COMMITTED)
    seen = {}

    def note(module, args, kwargs):
        seen["text"] = kwargs["encoder_hidden_states"].shape[1]
        seen["image"] = kwargs["hidden_states"].shape[-1] ** 2 // module.config.patch_size**2

    pipe.transformer.register_forward_pre_hook(note, with_kwargs=True)
    pipe("red circle", max_sequence_length=8, guidance_scale=1.0, num_inference_steps=1)
    assert seen["image"] >= 4 * seen["text"]


def test_the_committed_base_is_an_sd35_type_transformer_of_the_stated_size():
    """2 to 4 million parameters, QK-norm, a dual-attention block, 16-bit storage, at most 10 MB in all."""
    from safetensors import safe_open

    path = COMMITTED / "transformer/diffusion_pytorch_model.safetensors"
    with safe_open(path, "pt") as weights:
        keys = list(weights.keys())
        shapes = [weights.get_slice(key).get_shape() for key in keys]
        assert {weights.get_slice(key).get_dtype() for key in keys} == {"F16"}
    assert 2e6 <= sum(torch.Size(shape).numel() for shape in shapes) <= 4e6
    assert any("norm_q" in key for key in keys)
    assert any(".attn2." in key for key in keys)
    assert sum(path.stat().st_size for path in COMMITTED.rglob("*") if path.is_file()) <= 10e6


@pytest.mark.long
def test_the_committed_base_draws_what_it_is_asked_for():
    """Loaded by plain diffusers, it draws the asked colour and shape in most of sixteen pictures."""
    from diffusers import StableDiffusion3Pipeline

    from lab.world.detector import detect

    pipe = StableDiffusion3Pipeline.from_pretrained(COMMITTED)
    pipe.set_progress_bar_config(disable=True)
    looks = [("red", "circle"), ("blue", "square"), ("yellow", "diamond"), ("purple", "ring")] * 4
    images = pipe(
        [f"{color} {shape}" for color, shape in looks],
        generator=[torch.Generator().manual_seed(seed) for seed in range(len(looks))],
        max_sequence_length=8,
        guidance_scale=1.0,
        num_inference_steps=20,
    ).images
    drawn = sum(
        any((d.color, d.shape) == look for d in detect(image)) for look, image in zip(looks, images, strict=True)
    )
    assert drawn >= 9
