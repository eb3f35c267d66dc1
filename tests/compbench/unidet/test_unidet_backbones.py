"""ResNeSt against timm's, ResNet against the difference from torchvision's that the checkpoints ask for."""

import re

import pytest
import torch
from random_unidet import randomised
from timm.models.resnest import ResNestBottleneck
from timm.models.resnet import ResNet

from compbench.scorers.unidet.resnest import Bottleneck, resnest
from compbench.scorers.unidet.resnet import resnet

RENAMED = (
    (r"stem\.conv1_1\.norm", "conv1.1"),
    (r"stem\.conv1_2\.norm", "conv1.4"),
    (r"stem\.conv1_3\.norm", "bn1"),
    (r"stem\.conv1_1", "conv1.0"),
    (r"stem\.conv1_2", "conv1.3"),
    (r"stem\.conv1_3", "conv1.6"),
    (r"res(\d)", lambda match: f"layer{int(match[1]) - 1}"),
    (r"conv(\d)\.norm", r"bn\1"),
    (r"shortcut\.norm", "downsample.2"),
    (r"shortcut", "downsample.1"),
)


def timms(name: str) -> str:
    """timm's name of a tensor."""
    for pattern, new in RENAMED:
        name = re.sub(pattern, new, name)
    return name


def timm_resnest(blocks: tuple) -> ResNet:
    return ResNet(
        ResNestBottleneck,
        list(blocks),
        channels=(8, 16, 32, 64),
        stem_type="deep",
        stem_width=8,
        avg_down=True,
        base_width=64,
        block_args={"radix": 2, "avd": True, "avd_first": False},
    ).eval()


def taken_over(theirs: torch.nn.Module, ours: torch.nn.Module) -> None:
    tensors = {timms(name): tensor for name, tensor in ours.state_dict().items()}
    missing, unknown = theirs.load_state_dict(tensors, strict=False)
    assert not unknown
    assert all(name.endswith("num_batches_tracked") or name.startswith("fc.") for name in missing), missing


@pytest.mark.parametrize("size", [64, 72])
def test_resnest_is_timms_from_the_same_tensors(size):
    """A side of 72 leaves odd maps, where means at the border differ between ways of padding."""
    ours, theirs = randomised(resnest(8, (2, 3, 2, 2))), timm_resnest((2, 3, 2, 2))
    taken_over(theirs, ours)
    pixels = torch.randn(2, 3, size, size)
    with torch.no_grad():
        hidden_states = theirs.maxpool(theirs.act1(theirs.bn1(theirs.conv1(pixels))))
        expected = []
        for layer in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
            hidden_states = layer(hidden_states)
            expected.append(hidden_states)
    for found, plainly in zip(ours(pixels), expected[1:], strict=True):
        torch.testing.assert_close(found, plainly, rtol=1e-4, atol=1e-4 * plainly.abs().max().item())


def test_split_attention_depends_on_the_whole_map():
    """So that a detector has to keep images of different sizes apart."""
    block = randomised(Bottleneck(32, 8, 1))
    map_ = torch.randn(1, 32, 40, 40)
    padded = torch.nn.functional.pad(map_, (0, 24))
    assert not torch.allclose(block(map_)[..., :20, :20], block(padded)[..., :20, :20], atol=1e-3)


def test_resnet_strides_in_the_first_convolution():
    """What the first 1x1 convolution passes over has no influence, as it would with the stride in the 3x3 one."""
    network = randomised(resnet(8, (1, 1, 1, 1)))
    map_ = torch.randn(1, 32, 16, 16)
    changed = map_.clone()
    changed[..., 1::2, :] += 1
    changed[..., 1::2] += 1
    assert torch.equal(network.res3(map_), network.res3(changed))


def test_published_widths_make_the_published_channels():
    with torch.device("meta"):
        pixels = torch.empty(1, 3, 64, 64)
        for network in (resnet(64, (1, 1, 1, 1)), resnest(64, (1, 1, 1, 1))):
            shapes = [tuple(level.shape) for level in network(pixels)]
            assert shapes == [(1, 512, 8, 8), (1, 1024, 4, 4), (1, 2048, 2, 2)]
