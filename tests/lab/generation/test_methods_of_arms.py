"""An arm may name another method than TACA's, and a window of noise levels."""

from pathlib import Path

import pytest
import torch
import yaml
from tiny_base import tiny_base

from lab.generation.arm import Setup, drawing
from lab.generation.load import load_drawing
from lab.generation.methods import method_of
from lab.params import validate
from stages.report import arm_settings as reported
from taca.adaptive import MassRule, RatioRule
from taca.methods import LogCountBias, MassOnly, RandomDirection, RandomImageKeys, SharpeningOnly, Temperature
from taca.text_states import TextStates

ROOT = Path(__file__).parents[3]
METHODS = {
    "mass": ({"method": "mass-only"}, MassOnly(1.2)),
    "sharp": ({"method": "sharpening-only"}, SharpeningOnly(1.2)),
    "direction": ({"method": "random-direction", "method_seed": 3}, RandomDirection(1.2, 3)),
    "image-keys": ({"method": "random-image-keys", "method_seed": 4}, RandomImageKeys(1.2, 4)),
    "counts": ({"method": "log-count-bias", "share": 0.5, "gamma": 1.0}, LogCountBias(0.5)),
    "ratio": ({"method": "ratio-rule", "gamma": 1.0}, RatioRule()),
    "mass-rule": ({"method": "mass-rule", "method_seed": 5, "gamma": 1.0}, MassRule(5)),
    "states": ({"method": "text-states", "gamma": 2.0, "blocks": [1]}, TextStates(2.0, (1,))),
    "below": ({"threshold": 900.0, "until": 970.0}, Temperature(1.2)),
    "taca": ({}, None),
}


@pytest.fixture
def params():
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name, (said, _) in METHODS.items():
        document["arms"][name] = {**document["arms"]["taca-free"], **said}
    return validate(document, "params.yaml")


@pytest.mark.parametrize("name", METHODS)
def test_an_arms_method_is_the_librarys(params, name):
    assert method_of(params.arms[name]) == METHODS[name][1]


def test_the_report_names_methods_where_there_are_others(params):
    """In every arm, so that its table has the same columns; and not at all where all arms are TACA's."""
    assert reported(params, "direction")["method"] == "random-direction, seed 3"
    assert reported(params, "states")["method"] == "text-states, blocks 1"
    assert reported(params, "below")["method"] == "temperature, until 970"
    assert reported(params, "baseline")["method"] == "temperature"
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    del values["arms"]["control"]
    plain = validate(values, "params.yaml")
    assert "method" not in reported(plain, "baseline")


@pytest.mark.long
def test_an_arm_draws_by_its_method(params):
    """Each draws something of its own, and the pipeline is the stock one afterwards."""
    pipe = load_drawing(tiny_base(), "float32", "none")
    pipe.set_progress_bar_config(disable=True)
    widths = pipe.transformer.config
    generator = torch.Generator().manual_seed(0)
    call = {
        "prompt_embeds": torch.randn(1, 6, widths.joint_attention_dim, generator=generator),
        "pooled_prompt_embeds": torch.randn(1, widths.pooled_projection_dim, generator=generator),
        "guidance_scale": 1.0,
        "num_inference_steps": 12,
        "output_type": "latent",
    }

    @torch.no_grad()
    def draw():
        return pipe(**call, generator=torch.Generator().manual_seed(1)).images

    stock, drawn = draw(), []
    for name in METHODS:
        arm = params.arms[name]
        acting = arm.gamma, arm.threshold, arm.adapter_scope, method_of(arm), arm.until
        with drawing(pipe, None, Setup("float32", "none", False, "none"), *acting):
            drawn.append(draw())
        assert torch.equal(draw(), stock)
    for i, one in enumerate(drawn):
        assert not torch.equal(one, stock)
        assert not any(torch.equal(one, other) for other in drawn[:i])
