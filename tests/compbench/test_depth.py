"""DPT-Hybrid of reduced width against transformers' own, its checkpoint, and what becomes of its depth."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import DPTConfig, DPTForDepthEstimation

from compbench.scorers.depth.checkpoint import UNUSED
from compbench.scorers.depth.model import DepthModel, quantise, stretch
from compbench.scorers.depth.network import DptHybrid
from compbench.scorers.finite import NotFiniteError
from tests.compbench.tiny_checkpoints import TINY_DPT as TINY
from tests.compbench.tiny_checkpoints import published_dpt


@pytest.fixture(scope="module")
def network() -> DptHybrid:
    torch.manual_seed(0)
    network = DptHybrid(TINY)
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)  # norms and embeddings start too plain to be told apart
    network.scratch["output_conv"][4].bias.data.fill_(1.0)  # else the last ReLU may leave nothing
    return network.requires_grad_(False).eval()


def transformers_name(key: str) -> list[str]:
    """Where transformers keeps a tensor of the checkpoint; three names for the joined query, key and value."""
    rules = [
        (r"pretrained\.model\.(cls_token)", r"dpt.embeddings.\1"),
        (r"pretrained\.model\.pos_embed", r"dpt.embeddings.position_embeddings"),
        (r"pretrained\.model\.patch_embed\.proj\.", r"dpt.embeddings.projection."),
        (r"pretrained\.model\.norm\.", r"dpt.layernorm."),
        (
            r"pretrained\.model\.patch_embed\.backbone\.stem\.conv\.",
            r"dpt.embeddings.backbone.bit.embedder.convolution.",
        ),
        (r"pretrained\.model\.patch_embed\.backbone\.stem\.norm\.", r"dpt.embeddings.backbone.bit.embedder.norm."),
        (
            r"pretrained\.model\.patch_embed\.backbone\.stages\.(\d)\.blocks\.(\d)\.",
            r"dpt.embeddings.backbone.bit.encoder.stages.\1.layers.\2.",
        ),
        (r"pretrained\.model\.blocks\.(\d+)\.norm1\.", r"dpt.encoder.layer.\1.layernorm_before."),
        (r"pretrained\.model\.blocks\.(\d+)\.norm2\.", r"dpt.encoder.layer.\1.layernorm_after."),
        (r"pretrained\.model\.blocks\.(\d+)\.attn\.proj\.", r"dpt.encoder.layer.\1.attention.output.dense."),
        (r"pretrained\.model\.blocks\.(\d+)\.mlp\.fc1\.", r"dpt.encoder.layer.\1.intermediate.dense."),
        (r"pretrained\.model\.blocks\.(\d+)\.mlp\.fc2\.", r"dpt.encoder.layer.\1.output.dense."),
        (r"pretrained\.act_postprocess(\d)\.0\.project\.0\.", r"neck.reassemble_stage.readout_projects.<\1>.0."),
        (r"pretrained\.act_postprocess(\d)\.3\.", r"neck.reassemble_stage.layers.<\1>.projection."),
        (r"pretrained\.act_postprocess(\d)\.4\.", r"neck.reassemble_stage.layers.<\1>.resize."),
        (r"scratch\.layer(\d)_rn\.", r"neck.convs.<\1>."),
        (r"scratch\.refinenet(\d)\.out_conv\.", r"neck.fusion_stage.layers.>\1<.projection."),
        (
            r"scratch\.refinenet(\d)\.resConfUnit(\d)\.conv(\d)\.",
            r"neck.fusion_stage.layers.>\1<.residual_layer\2.convolution\3.",
        ),
        (r"scratch\.output_conv\.", r"head.head."),
    ]
    qkv = re.fullmatch(r"pretrained\.model\.blocks\.(\d+)\.attn\.qkv\.(\w+)", key)
    if qkv:
        parts = ("query", "key", "value")
        return [f"dpt.encoder.layer.{qkv[1]}.attention.attention.{part}.{qkv[2]}" for part in parts]
    [(pattern, target)] = [rule for rule in rules if re.match(rule[0], key)]
    name = re.sub(pattern, target, key)
    name = re.sub(r"<(\d)>", lambda level: str(int(level[1]) - 1), name)
    return [re.sub(r">(\d)<", lambda level: str(4 - int(level[1])), name)]


def transformers_dpt(network: DptHybrid, side: int) -> DPTForDepthEstimation:
    """transformers' class with the same weights; what it has besides is what the published file has unused."""
    config = DPTConfig(
        is_hybrid=True,
        hidden_size=TINY.width,
        num_hidden_layers=12,
        num_attention_heads=TINY.heads,
        intermediate_size=4 * TINY.width,
        layer_norm_eps=1e-6,
        image_size=16 * TINY.grid,
        backbone_out_indices=[2, 5, 8, 11],
        reassemble_factors=[1, 1, 1, 0.5],
        neck_hidden_sizes=[*TINY.channels[:2], TINY.width, TINY.width],
        fusion_hidden_size=TINY.features,
        backbone_featmap_shape=[1, TINY.channels[2], TINY.grid, TINY.grid],
        neck_ignore_stages=[0, 1],
        use_auxiliary_head=False,
        backbone_config={
            "model_type": "bit",
            "global_padding": "same",
            "layer_type": "bottleneck",
            "embedding_size": TINY.stem,
            "hidden_sizes": list(TINY.channels),
            "depths": list(TINY.layers),
            "out_features": ["stage1", "stage2", "stage3"],
            "embedding_dynamic_padding": True,
        },
    )
    model = DPTForDepthEstimation(config).eval()
    named = {}
    for key, value in network.state_dict().items():
        names = transformers_name(key)
        named |= dict(zip(names, value.chunk(len(names)), strict=True))
    faults = model.load_state_dict(named, strict=False)
    assert not faults.unexpected_keys
    assert all("layers.0.residual_layer1" in key or "pooler" in key for key in faults.missing_keys), faults
    model.dpt.embeddings.image_size = (side, side)
    return model


@pytest.mark.parametrize("side", [64, 96])
def test_depth_agrees_with_transformers(network, side):
    """At the size that the position embeddings are made for, and at another."""
    pixels = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        expected = transformers_dpt(network, side)(pixels).predicted_depth
        found = network(pixels)
    assert found.shape == (2, side, side)
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_what_has_no_part_in_depth_is_not_kept(tmp_path):
    published = published_dpt()
    converted = published.write(tmp_path).with_suffix(".safetensors")
    network = published.load(tmp_path)
    assert load_file(converted).keys() == network.state_dict().keys()
    assert any(UNUSED.fullmatch(key) for key in published.tensors)


def test_the_published_file_would_hold_these_tensors(tmp_path):
    """Names and shapes of MiDaS 3's hybrid network that are known from its description."""
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in DptHybrid().state_dict().items()}
    assert shapes["pretrained.model.pos_embed"] == (1, 577, 768)
    assert shapes["pretrained.model.patch_embed.backbone.stem.conv.weight"] == (64, 3, 7, 7)
    assert shapes["pretrained.model.patch_embed.backbone.stages.2.blocks.8.conv3.weight"] == (1024, 256, 1, 1)
    assert shapes["pretrained.model.patch_embed.backbone.stages.0.blocks.0.downsample.conv.weight"] == (256, 64, 1, 1)
    assert shapes["pretrained.model.patch_embed.proj.weight"] == (768, 1024, 1, 1)
    assert shapes["pretrained.model.blocks.11.attn.qkv.weight"] == (2304, 768)
    assert shapes["pretrained.act_postprocess3.0.project.0.weight"] == (768, 1536)
    assert shapes["pretrained.act_postprocess3.3.weight"] == (768, 768, 1, 1)
    assert shapes["pretrained.act_postprocess4.4.weight"] == (768, 768, 3, 3)
    assert [shapes[f"scratch.layer{level}_rn.weight"][1] for level in range(1, 5)] == [256, 512, 768, 768]
    assert shapes["scratch.refinenet1.resConfUnit1.conv2.bias"] == (256,)
    assert shapes["scratch.output_conv.0.weight"] == (128, 256, 3, 3)
    assert shapes["scratch.output_conv.2.weight"] == (32, 128, 3, 3)
    assert shapes["scratch.output_conv.4.weight"] == (1, 32, 1, 1)


def image(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def depth_model(network):
    return DepthModel(network, side=64)


def test_maps_have_the_frames_size_and_whole_range(depth_model):
    """512 x 512 becomes 479 x 479, 1344 x 768 becomes 480 x 274: height first. Every value is of eight bits."""
    found = depth_model.depth([image(512, 512), image(1344, 768), image(60, 90)])
    assert [one.shape for one in found] == [(479, 479), (274, 480), (480, 320)]
    for one in found:
        assert one.min() >= 0
        assert one.max() <= 1
        assert one.max() - one.min() > 0.9
        assert np.array_equal(np.round(one * 255), one * 255)


def test_maps_do_not_depend_on_the_batch(depth_model):
    images = [image(64, 64, seed) for seed in range(10)]
    together = depth_model.depth(images)
    for one, map_of_one in zip(images, together, strict=True):
        # A last bit of the network's output can move a value to the next of the 256 steps.
        assert np.abs(depth_model.depth([one])[0] - map_of_one).max() <= 1.01 / 255


def test_quantisation_is_that_of_the_picture_file(tmp_path):
    """Written to a PNG and read back, step by step, as the benchmark does."""
    depth = torch.rand(32, 32, generator=torch.Generator().manual_seed(3))
    depth = stretch(depth[None])[0]
    found = quantise(depth, (50, 40))
    rows, columns = torch.linspace(0, 31, 40).double(), torch.linspace(0, 31, 50).double()
    grey = np.zeros((40, 50), np.uint8)
    for y, row in enumerate(rows.tolist()):
        for x, column in enumerate(columns.tolist()):
            top, left = min(int(row), 30), min(int(column), 30)
            down, right = row - top, column - left
            corners = depth[top : top + 2, left : left + 2].double()
            value = (1 - down) * ((1 - right) * corners[0, 0] + right * corners[0, 1])
            value += down * ((1 - right) * corners[1, 0] + right * corners[1, 1])
            grey[y, x] = int(value * 255 + 1e-4)
    Image.fromarray(grey).save(tmp_path / "depth.png")
    with Image.open(tmp_path / "depth.png") as picture:
        expected = np.array(picture.resize((480, 384), Image.Resampling.BILINEAR)) / 255
    assert found.shape == expected.shape == (384, 480)
    assert np.abs(found - expected).max() <= 1.01 / 255
    assert (found == expected).mean() > 0.99


def test_nearest_is_1_and_farthest_0():
    assert stretch(torch.tensor([[[2.0, 4.0], [3.0, 2.5]]])).tolist() == [[[0.0, 1.0], [0.5, 0.25]]]


class Flat(DptHybrid):
    """Sees the same depth everywhere in the images that are black."""

    def forward(self, pixels):
        return super().forward(pixels) * (pixels.amax((1, 2, 3)) > -1)[:, None, None]


def test_flat_or_broken_depth_is_an_error_at_the_images_position(network):
    flat = Flat(TINY)
    flat.load_state_dict(network.state_dict())
    images = [image(64, 64, seed) for seed in range(10)]
    images[9] = Image.new("RGB", (64, 64))
    with pytest.raises(NotFiniteError) as caught:
        DepthModel(flat, side=64).depth(images)
    assert (caught.value.what, caught.value.position) == ("depth map", 9)


def test_half_precision_stays_near_float32(network, depth_model):
    """bfloat16 has three digits: most of the 256 steps are off by a few."""
    [whole], [half] = (
        model.depth([image(64, 64)]) for model in (depth_model, DepthModel(network, "cpu", "bfloat16", 64))
    )
    assert np.abs(whole - half).mean() < 0.05
    assert not np.array_equal(whole, half)
