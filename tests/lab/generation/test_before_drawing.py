"""What is refused before anything is loaded, and what a failing disk does."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from compbench.prompts import MAX_BYTES
from lab.errors import LabError
from lab.generation.acceleration import check_offload
from lab.generation.adapter import WEIGHTS
from lab.generation.load import check_quantization
from lab.generation.precision import check_precision, precision_of
from lab.generation.writing import ImageWriter
from lab.models.family import Flux1, StableDiffusion3
from stages import generate
from tests.published import make_checkpoint

ROOT = Path(__file__).parents[3]


@pytest.fixture
def lora(tmp_path):
    """Writes an adapter's file with this metadata."""

    def write(**facts):
        save_file(
            {"weight": torch.zeros(1)},
            tmp_path / WEIGHTS,
            metadata={f"taca.{key}": value for key, value in facts.items()},
        )
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("facts", "precision"),
    [
        ({"base": "b", "precision": "nf4"}, precision_of("bfloat16", "nf4")),
        ({"base": "b", "precision": "bf16"}, precision_of("bfloat16", "none")),
        ({"base": "b"}, precision_of("float32", "none")),
        ({}, precision_of("bfloat16", "none")),  # trained elsewhere: it does not say
    ],
)
def test_an_adapter_meets_the_precision_that_it_was_trained_on(lora, facts, precision):
    check_precision(lora(**facts), precision)


@pytest.mark.parametrize("facts", [{"base": "b"}, {"base": "b", "precision": "nf4"}])
def test_another_precision_is_refused(lora, facts):
    with pytest.raises(LabError, match=r"was trained on a base in \w+, but is drawn with one in bf16: set `generate"):
        check_precision(lora(**facts), "bf16")


def test_four_bits_without_a_gpu_are_refused():
    with pytest.raises(LabError, match="is nf4, which needs an NVIDIA GPU"):
        check_quantization("nf4")


def test_offloading_without_a_gpu_is_refused():
    with pytest.raises(LabError, match="is group, but torch finds no GPU here"):
        check_offload("group")


@pytest.mark.parametrize(
    ("name", "height", "width", "fault"),
    [
        ("sd35-medium", 72, 64, "72 x 64 must be a multiple of 16"),
        ("sd35-medium", 64, 512, "64 x 512 must be at most 256"),
        ("flux-dev", 64, 72, "64 x 72 must be a multiple of 16"),
    ],
)
def test_a_size_that_the_base_cannot_take_is_refused(tmp_path, name, height, width, fault):
    base = make_checkpoint(name, tmp_path / name)
    settings = SimpleNamespace(height=height, width=width, quantization="none", offload="none", other_precision=True)
    with pytest.raises(LabError, match=fault):
        generate.check(settings, base, None)


def test_guidance_that_a_base_ignores_is_refused():
    """FLUX.1-schnell embeds none, and its pipeline makes no second pass."""
    Flux1({}).check_drawn_guidance("arms.a.guidance", 1.0)
    Flux1({"guidance_embeds": True}).check_drawn_guidance("arms.a.guidance", 3.5)
    StableDiffusion3({}).check_drawn_guidance("arms.a.guidance", 7.0)
    with pytest.raises(LabError, match=r"`arms.a.guidance` is 3.5, but this FluxTransformer2DModel embeds no guidance"):
        Flux1({}).check_drawn_guidance("arms.a.guidance", 3.5)


def test_a_failed_write_is_raised_and_leaves_no_image(tmp_path):
    (tmp_path / "a").write_text("a file where a folder has to be")
    with pytest.raises(FileExistsError), ImageWriter(1) as writer:
        writer.write(Image.new("RGB", (8, 8)), tmp_path / "a" / "image.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_no_more_images_wait_than_were_allowed(tmp_path):
    """All are there at the end, whole."""
    with ImageWriter(2) as writer:
        for number in range(9):
            writer.write(Image.new("RGB", (8, 8), (number, 0, 0)), tmp_path / f"{number}.png")
            assert len(writer._waiting) <= 2
    for number in range(9):
        with Image.open(tmp_path / f"{number}.png") as image:
            assert image.getpixel((0, 0)) == (number, 0, 0)


@pytest.mark.parametrize("prompt", ["a" * MAX_BYTES, "é" * (MAX_BYTES // 2)])
def test_the_longest_prompt_that_is_taken_can_be_written(tmp_path, prompt):
    """Its file's name has 255 bytes, and no name on the way there has more."""
    path = tmp_path / f"{prompt}_000000.png"
    with ImageWriter(1) as writer:
        writer.write(Image.new("RGB", (2, 2)), path)
    assert list(tmp_path.iterdir()) == [path]
