"""Preview images: drawn from held-out captions as an arm would draw them, while the training goes on as without."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from lab.data.encoded import read_buckets
from lab.errors import LabError
from lab.generation.arm import Setup, drawing
from lab.generation.load import load_drawing
from lab.models.family import Flux1, StableDiffusion3
from lab.models.load import load_transformer
from lab.training.batches import Batches
from lab.training.loop import TrainConfig, Trainer
from lab.training.lora import add_lora, save_lora
from lab.training.preview import PreviewConfig, Previews, check_preview, embeddings, load_preview_pipeline
from taca.hooks import TacaConfig
from tests.tiny_base import tiny_base
from tests.tiny_encoded import FLUX, SD3, encoded
from tests.tiny_flux import tiny_flux

CONFIG = TrainConfig(4, 4, 1e-2, 0.01, checkpoint_every=2, seed=3, mixed_precision="bf16")
PREVIEW = PreviewConfig(every=2, images=3, num_inference_steps=2, guidance=3.0, seed=3)
BASES = pytest.mark.parametrize(("base", "widths"), [(tiny_base, SD3), (tiny_flux, FLUX)], ids=["sd3", "flux"])


def trainer(base, data, work, config=CONFIG) -> Trainer:
    work.mkdir(exist_ok=True)
    transformer = load_transformer(base())
    parameters = add_lora(transformer, 4, 4, None, seed=3)
    return Trainer(transformer, parameters, Batches(read_buckets(data), 6), config, TacaConfig(1.5, 800.0), work)


def previews(base, training, folder, config=PREVIEW) -> tuple[Previews, list]:
    shown = []
    pipe = load_preview_pipeline(base(), training.transformer, training.batches, training.config.mixed_precision)
    empty = {"prompt_embeds": torch.zeros(16, SD3[0]), "pooled_prompt_embeds": torch.zeros(SD3[1])}
    empty = empty if base is tiny_base else None
    mixed = training.config.mixed_precision
    found = Previews(pipe, training.batches, config, training.taca_config, mixed, empty, folder, shown.append)
    return found, shown


def samples(folder, widths, dtype=torch.float32):
    """Of two sizes."""
    return encoded(encoded(folder, 12, widths, dtype=dtype), 12, widths, (12, 16), dtype, first=2)


@pytest.mark.long
@BASES
@pytest.mark.parametrize(("mixed", "images"), [("bf16", 1), ("no", 3)])
def test_a_training_with_previews_is_the_one_without(base, widths, mixed, images, tmp_path):
    """Losses, adapter and the state of PyTorch's own generator, also where it was killed and goes on."""
    data, config = samples(tmp_path / "data", widths), replace(CONFIG, mixed_precision=mixed)

    def stop(metrics, step):
        if step == 3 and "loss" in metrics:
            raise KeyboardInterrupt

    plain = trainer(base, data, tmp_path / "plain", config)
    torch.manual_seed(0)
    history = plain.run(lambda *_: None)
    drawn = torch.rand(1)

    with_previews = trainer(base, data, tmp_path / "shown", config)
    torch.manual_seed(0)
    several = replace(PREVIEW, images=images)
    found, shown = previews(base, with_previews, tmp_path / "images", several)
    with pytest.raises(KeyboardInterrupt):
        with_previews.run(stop, found)
    resumed = trainer(base, data, tmp_path / "shown", config)
    found, more = previews(base, resumed, tmp_path / "images", several)
    torch.manual_seed(0)
    assert resumed.run(lambda *_: None, found) == history
    assert torch.equal(torch.rand(1), drawn)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters, resumed.parameters, strict=True))
    save_lora(plain.transformer, tmp_path / "a", {})
    save_lora(resumed.transformer, tmp_path / "b", {})
    (first,), (second,) = ((tmp_path / name).iterdir() for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in shown] == [f"step-00000{step}-{n}.png" for step in (0, 2) for n in range(images)]
    assert [path.name for path in more] == [f"step-000004-{n}.png" for n in range(images)]


@pytest.mark.long
@BASES
def test_a_preview_is_what_an_arm_draws_of_the_same_caption_and_seed(base, widths, tmp_path):
    """With adapter and TACA from the threshold up and not below; in the size of its sample."""
    training = trainer(base, samples(tmp_path / "data", widths), tmp_path / "w", replace(CONFIG, mixed_precision="no"))
    with torch.no_grad():
        for parameter in training.parameters:
            parameter.add_(0.1)
    found, shown = previews(base, training, tmp_path / "images")
    found.draw(7)
    save_lora(training.transformer, tmp_path / "lora", {})

    pipe = load_drawing(base(), "float32", "none")
    setup = Setup("float32", "none", False, "none")
    sizes = set()
    for number, (sample, path) in enumerate(zip(found.samples, shown, strict=True)):
        height, width = (side * pipe.vae_scale_factor for side in sample["latents"].shape[-2:])
        call = embeddings(sample, found.empty_caption, torch.device("cpu"), None) | {"height": height, "width": width}
        call |= {"num_inference_steps": 2, "guidance_scale": 3.0}
        with drawing(pipe, tmp_path / "lora", setup, 1.5, 800.0, "early"):
            wanted = pipe(**call, generator=torch.Generator().manual_seed(3 + number)).images[0]
        with drawing(pipe, None, setup, 1.0, 800.0, "all"):
            plain = pipe(**call, generator=torch.Generator().manual_seed(3 + number)).images[0]
        np.testing.assert_array_equal(np.asarray(Image.open(path)), np.asarray(wanted))
        assert np.abs(np.asarray(wanted).astype(int) - np.asarray(plain)).max() > 0
        sizes.add((height, width))
    assert path.name == "step-000007-2.png"
    assert len(sizes) == 1  # the first held-out samples are of the first size


@pytest.mark.long
@BASES
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_embeddings_in_16_bits_are_drawn_from(base, widths, dtype, tmp_path):
    training = trainer(base, samples(tmp_path / "data", widths, dtype), tmp_path / "w")
    found, shown = previews(base, training, tmp_path / "images", replace(PREVIEW, images=1))
    found.draw(0)
    assert np.asarray(Image.open(shown[0])).std() > 0


def test_guidance_that_cannot_be_honoured_is_refused():
    guided = {"guidance_embeds": True}
    check_preview(StableDiffusion3({}), 1.0, empty_caption=False)
    check_preview(StableDiffusion3({}), 7.0, empty_caption=True)
    check_preview(Flux1(guided), 3.5, empty_caption=False)
    check_preview(Flux1({}), 1.0, empty_caption=False)
    with pytest.raises(LabError, match=r"guidance` is 7, which needs the empty caption: set `encode.empty_caption`"):
        check_preview(StableDiffusion3({}), 7.0, empty_caption=False)
    with pytest.raises(LabError, match=r"guidance` is 3.5, but this FluxTransformer2DModel embeds no guidance"):
        check_preview(Flux1({}), 3.5, empty_caption=True)
