"""A threshold in params.yaml may say which number of image tokens it was chosen at."""

import json
from pathlib import Path

import pytest
import yaml

from lab.models.family import family_named, shift_of
from lab.models.thresholds import threshold_at, tokens_of
from lab.params import validate
from lab.params.settings import arm_settings, training_settings
from runtime.params.loading import ParamsError

ROOT = Path(__file__).parents[3]


def scheduler(base: str) -> dict:
    return json.loads((ROOT / f"tests/published/configs/{base}/scheduler/scheduler_config.json").read_text())


def family(base: str):
    config = json.loads((ROOT / f"tests/published/configs/{base}/transformer/config.json").read_text())
    return family_named(config["_class_name"], config)


@pytest.mark.parametrize(
    ("base", "tokens", "expected"),
    [("sd35-medium", 64, 801.65), ("sd35-medium", 1024, 941.75), ("flux-dev", 1024, 950.55), ("flux-dev", 4096, 970.0)],
)
def test_a_threshold_is_taken_to_the_pictures_that_are_drawn(base, tokens, expected):
    """By the published schedulers' files, which leave out what is a default."""
    assert threshold_at(970.0, 4096, scheduler(base), tokens) == pytest.approx(expected, abs=0.05)
    assert threshold_at(970.0, None, scheduler(base), tokens) == 970.0


def test_a_schedulers_file_may_leave_out_defaults():
    """Stable Diffusion 3.5's says nothing of dynamic shifting, FLUX.1's nothing of its form."""
    assert shift_of(scheduler("sd35-medium"), 64) == 3.0
    assert shift_of(scheduler("flux-dev"), 4096) == pytest.approx(3.158, abs=1e-3)


@pytest.mark.parametrize("base", ["sd35-medium", "flux-dev"])
def test_tokens_of_a_picture(base):
    assert tokens_of(family(base), 8, 512, 768) == 32 * 48
    assert tokens_of(family(base), 8, None, None) == 4096


def params(**arm) -> dict:
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    document["arms"]["taca-free"] |= arm
    document["adapters"]["taca-r16"] |= arm
    return document


def test_arms_and_adapters_may_say_what_their_threshold_was_chosen_at():
    """It is recorded where it is said, and nowhere else."""
    checked = validate(params(threshold_tokens=4096), "params.yaml")
    assert arm_settings(checked, "taca-free")["threshold_tokens"] == 4096
    assert training_settings(checked, "taca-r16")["threshold_tokens"] == 4096
    assert "threshold_tokens" not in arm_settings(checked, "baseline")


@pytest.mark.parametrize("value", [0, -5, 1.5, "many"])
def test_what_is_no_number_of_tokens_is_refused(value):
    with pytest.raises(ParamsError, match=r"`arms.taca-free.threshold_tokens` is .* must be the image tokens"):
        validate(params(threshold_tokens=value), "params.yaml")
