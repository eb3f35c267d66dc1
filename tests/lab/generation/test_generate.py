"""Generation: fixed batches, paired seeds, resume without redoing, adapters for the early steps."""

import pytest
import torch
from PIL import Image

from lab.generation.adapter import adapter
from lab.generation.generate import Sampling, generate
from lab.generation.plan import batches, plan_images
from lab.models.load import load_base, load_transformer
from lab.training.lora import add_lora, save_lora
from taca.hooks import TacaConfig, taca
from tests.tiny_base import tiny_base

SAMPLING = Sampling(num_inference_steps=4, guidance_scale=1.0, max_sequence_length=8, batch_size=2)
PROMPTS = [
    {"index": number, "prompt": f"red {shape}", "category": category}
    for number, (shape, category) in enumerate([("circle", "color"), ("star", "color"), ("ring", "shape")])
]


@pytest.fixture(scope="module")
def pipe():
    return load_base(tiny_base(), "float32")


@pytest.fixture(scope="module")
def lora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lora")
    transformer = load_transformer(tiny_base())
    with torch.no_grad():
        for parameter in add_lora(transformer, 4, 4, None, seed=3):
            parameter.add_(0.5)
    save_lora(transformer, folder, {})
    return folder


def pixels(folder) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}


def test_names_and_seeds_follow_the_benchmarks_layout():
    """Indices count within a category, seeds through all images."""
    planned = plan_images(PROMPTS, 2, 42)
    assert [image.path for image in planned][1:5:3] == [
        "color/samples/red circle_000001.png",
        "shape/samples/red ring_000000.png",
    ]
    assert [image.seed for image in planned] == list(range(42, 48))


def test_the_last_batch_is_padded():
    """Every batch has the same size, since another size would change rounding."""
    sizes = [len(batch) for batch in batches(plan_images(PROMPTS, 1, 42), 2)]
    assert sizes == [2, 2]


def test_a_killed_generation_ends_with_the_same_bytes_and_redoes_nothing(pipe, tmp_path):
    """Images that are there stay untouched; the missing ones come out as in an unbroken run."""
    planned = plan_images(PROMPTS, 1, 42)
    generate(pipe, planned, SAMPLING, tmp_path / "whole")
    generate(pipe, planned[:2], SAMPLING, tmp_path / "broken")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "broken").rglob("*.png")}
    calls = []
    handle = pipe.transformer.register_forward_pre_hook(lambda *_: calls.append(1))
    generate(pipe, planned, SAMPLING, tmp_path / "broken")
    handle.remove()
    assert len(calls) == SAMPLING.num_inference_steps
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert pixels(tmp_path / "broken") == pixels(tmp_path / "whole")
    assert not list((tmp_path / "broken").rglob("*.partial"))


def test_an_early_adapter_is_disabled_below_the_threshold(pipe, lora):
    """At late timesteps the transformer gives what the base gives, bit for bit; at early ones it does not."""

    def answer(timestep):
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            return pipe.transformer(
                hidden_states=torch.randn(1, 4, 16, 16, generator=generator),
                timestep=torch.tensor([timestep]),
                encoder_hidden_states=torch.randn(1, 16, 128, generator=generator),
                pooled_projections=torch.randn(1, 128, generator=generator),
                return_dict=False,
            )[0]

    plain = {timestep: answer(timestep) for timestep in (1000.0, 970.0, 969.9)}
    with adapter(pipe, lora) as name, taca(pipe.transformer, TacaConfig(gamma=1.0, adapter=name)):
        for _ in range(2):  # a second image is treated as the first was
            assert not torch.equal(answer(1000.0), plain[1000.0])
            assert not torch.equal(answer(970.0), plain[970.0])
            assert torch.equal(answer(969.9), plain[969.9])
    with adapter(pipe, lora):
        assert not torch.equal(answer(969.9), plain[969.9])
    assert all(torch.equal(answer(timestep), expected) for timestep, expected in plain.items())


def test_taca_and_an_adapter_together_change_the_image_and_leave_the_pipeline_as_it_was(pipe, lora, tmp_path):
    """After both contexts, the pipeline draws what it drew before."""
    planned = plan_images(PROMPTS[:2], 1, 42)
    generate(pipe, planned, SAMPLING, tmp_path / "before")
    with adapter(pipe, lora) as name, taca(pipe, TacaConfig(gamma=2.0, adapter=name)):
        generate(pipe, planned, SAMPLING, tmp_path / "during")
    generate(pipe, planned, SAMPLING, tmp_path / "after")
    assert pixels(tmp_path / "before") == pixels(tmp_path / "after") != pixels(tmp_path / "during")


def test_images_are_whole_pngs_of_the_bases_size(pipe, tmp_path):
    """Every planned image is there and decodes."""
    planned = plan_images(PROMPTS, 1, 42)
    generate(pipe, planned, SAMPLING, tmp_path)
    for image in planned:
        with Image.open(tmp_path / image.path) as opened:
            opened.load()
            assert opened.size == (64, 64)
