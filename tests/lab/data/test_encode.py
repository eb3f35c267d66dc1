"""Encoding: what is in the shards, how images are cropped, and what a killed encoding has to do again."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from lab.data.captioned import CaptionedImage
from lab.data.crops import Size, crop, crop_sizes, nearest, sizes_for
from lab.data.encode import Encoder
from lab.data.encoded import KEYS, read_buckets, read_empty_caption
from lab.errors import LabError
from lab.models.family import Flux1, StableDiffusion3, family_named, family_of
from lab.models.load import load_encoders, part_config, transformer_class
from tests.tiny_base import tiny_base
from tests.tiny_flux import tiny_flux

WIDE, TALL = (48, 32), (24, 36)  # pixels of images, width first


@pytest.fixture(params=[tiny_base, tiny_flux], ids=["sd3", "flux"])
def encoder(request):
    folder = request.param()
    family = family_named(transformer_class(folder), part_config(folder, "transformer"))
    return Encoder(load_encoders(folder, "bfloat16"), family, [Size(32, 32)], max_sequence_length=8)


@pytest.fixture
def images(tmp_path):
    noise = np.random.default_rng(0)
    samples = []
    for number, (width, height) in enumerate([WIDE, TALL, WIDE, TALL, TALL]):
        Image.fromarray(noise.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        samples.append(CaptionedImage(f"{number}.png", f"red circle {number}", width, height))
    return samples


def test_embeddings_are_in_the_encoders_precision_and_latents_in_float32(encoder, images, tmp_path):
    """Rows are those of the samples, in their order, whatever the batch."""
    encoder.encode(tmp_path, images, 2, tmp_path / "out")
    (bucket,) = read_buckets(tmp_path / "out")
    assert len(bucket) == len(images)
    rows = bucket.read([4, 0, 3])
    assert [rows[key].dtype for key in KEYS] == [torch.float32, torch.bfloat16, torch.bfloat16]
    for row, index in enumerate([4, 0, 3]):
        alone = encoder.family.embed(encoder.pipe, [images[index].caption], 8)
        torch.testing.assert_close(rows["prompt_embeds"][row], alone["prompt_embeds"][0], rtol=0.1, atol=0.1)
    assert not torch.equal(rows["latents"][0], rows["latents"][1])


def test_images_go_to_the_crop_nearest_in_shape(encoder, images, tmp_path):
    """A shard has one shape, and every sample is in one."""
    sizes = crop_sizes(32, [1.5, 1.0, 0.6], unit=8)
    assert sizes == [Size(24, 40), Size(32, 32), Size(40, 24)]
    replace(encoder, sizes=sizes).encode(tmp_path, images, 2, tmp_path / "out")
    buckets = read_buckets(tmp_path / "out")
    assert {bucket.shape[1:]: len(bucket) for bucket in buckets} == {(6, 10): 2, (10, 6): 3}
    assert nearest(sizes, 100, 90) == Size(32, 32)


@pytest.mark.parametrize("shape", [(2 * 10**7, 1), (3, 5000), (5000, 3), (1, 1)])
def test_a_line_of_pixels_is_cropped_to_its_middle(shape):
    """Scaled whole before it is cut, the longest would have more pixels than Pillow can count."""
    image = Image.new("RGB", shape, "red")
    image.paste("blue", tuple(side // 2 + place for place in (-9, 9) for side in shape))
    cropped = crop(image, Size(64, 64))
    assert (cropped.size, cropped.getcolors()) == ((64, 64), [(64 * 64, (0, 0, 255))])


def test_a_killed_encoding_makes_no_shard_again_and_ends_with_the_same_bytes(encoder, images, tmp_path):
    """A shard that was cut short is not there under its name."""
    encoder.encode(tmp_path, images, 2, tmp_path / "whole")
    encoder.encode(tmp_path, images[:2], 2, tmp_path / "broken")
    kept = tmp_path / "broken/shard-00000.safetensors"
    before = kept.stat().st_mtime_ns
    (tmp_path / "broken/shard-00001.partial").write_bytes(b"cut short")
    encoder.encode(tmp_path, images, 2, tmp_path / "broken")
    assert kept.stat().st_mtime_ns == before
    folders = [tmp_path / name for name in ("whole", "broken")]
    contents = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
    assert contents[0] == contents[1]


def test_the_empty_caption_is_encoded_where_it_is_asked_for(encoder, tmp_path):
    """Training without it is refused by the key to set."""
    with pytest.raises(LabError, match=r"set `encode.empty_caption` to true"):
        read_empty_caption(tmp_path)
    encoder.encode_empty_caption(tmp_path)
    expected = encoder.family.embed(encoder.pipe, [""], 8)
    found = read_empty_caption(tmp_path)
    assert torch.equal(found["prompt_embeds"], expected["prompt_embeds"][0])
    assert torch.equal(found["pooled_prompt_embeds"], expected["pooled_prompt_embeds"][0])


SD3 = StableDiffusion3({"patch_size": 2, "sample_size": 128, "pos_embed_max_size": 96})
VAE = {"block_out_channels": (1, 1, 1, 1)}


@pytest.mark.parametrize(
    ("family", "resolution", "aspects", "sentence"),
    [
        (SD3, 1000, [1.0], "`encode.resolution` is 1000, but must be a multiple of 16, the autoencoder's 8 pixels"),
        (Flux1({}), 1000, [1.0], "`encode.resolution` is 1000, but must be a multiple of 16, the autoencoder's 8"),
        (SD3, 2048, [1.0], "`encode.resolution` is 2048, but must be at most 1536, the base's last position"),
        (SD3, 1024, [1.0, 4.0], "`encode.aspects` makes images of 2048 x 512 pixels, but a side must be at most 1536"),
    ],
)
def test_a_resolution_that_the_base_cannot_take_is_refused(family, resolution, aspects, sentence):
    """Before anything is loaded: the key, the value, and what is allowed."""
    with pytest.raises(LabError) as caught:
        sizes_for(family, VAE, resolution, aspects)
    assert str(caught.value).startswith(sentence)


def test_without_a_resolution_it_is_the_bases_own():
    """1024 pixels for both published families."""
    assert sizes_for(SD3, VAE, None, [1.0]) == sizes_for(Flux1({}), VAE, None, [1.0]) == [Size(1024, 1024)]


def test_other_families_are_refused_in_one_sentence():
    """It names the class, the known ones, and what works for all."""
    with pytest.raises(LabError, match=r"is a QwenImageTransformer2DModel, and .* `taca.apply_taca` on a pipeline"):
        family_named("QwenImageTransformer2DModel", {})
    linear = torch.nn.Linear(1, 1)
    linear.config = {}
    with pytest.raises(LabError, match="is a Linear"):
        family_of(linear)


def test_no_samples_are_no_data(tmp_path):
    """The sentence says which stage makes them."""
    with pytest.raises(LabError, match="holds no encoded samples: run `dvc repro encode`"):
        read_buckets(tmp_path)


def test_rows_are_read_from_a_memory_map(encoder, images, tmp_path):
    """A slice shares the file's pages: nothing of the shard but the row is copied."""
    encoder.encode(tmp_path, images, 5, tmp_path / "out")
    with safe_open(tmp_path / "out/shard-00000.safetensors", "pt") as tensors:
        whole = tensors.get_tensor("latents")
        assert torch.equal(read_buckets(tmp_path / "out")[0].read([3])["latents"][0], whole[3])
