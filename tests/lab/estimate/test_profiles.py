"""The profiles' estimates, from the published configurations."""

import pytest

from lab.estimate import drawing, work
from lab.estimate.estimate import estimate
from lab.estimate.rates import rates
from lab.estimate.table import cards, table
from lab.params.profile import profile_params
from lab.params.sections import Adapter
from tests.published_estimates import DOCS, PROFILES, published, section

GIB = 2**30


@pytest.mark.slow
def test_every_stage_of_flux_dev_24gb_stays_under_22_gib():
    """4 bits in training and in drawing, counted on the meta device."""
    rows = list(estimate(profile_params("flux-dev-24gb"), published("flux-dev-24gb")))
    peaks = {row.stage: row.peak / GIB for row in rows if row.peak}
    assert {stage.partition("@")[0] for stage in peaks} == {"caption", "encode", "train", "generate", "score"}
    assert max(peaks.values()) < 22, peaks
    assert "too small" not in table(rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    "rate", rates(), ids=lambda rate: f"{rate.stage}-{rate.card}-{rate.transformer}-{rate.seconds}"
)
def test_operations_of_what_was_measured_are_as_noted(rate):
    assert COUNTED[rate.stage, rate.transformer](rate) == pytest.approx(rate.tflop, rel=0.01)
    assert rate.card in cards()


def trained(name: str, rank: int, targets: list[str] | None, **settings: object):
    """Operations of a step."""

    def count(rate) -> float:
        params, base = profile_params(name), published(name)
        _, encoded = work.encode(base, params.encode)
        train = params.train.model_copy(update={"precision": rate.precision, "targets": targets, **settings})
        return work.train(base, train, Adapter(rank=rank, alpha=float(rank)), encoded).step.flops / 1e12

    return count


def drawn(name: str, steps: int, whole: bool, guidance: float):
    """Operations of an image, with or without what is not a step."""

    def count(rate) -> float:
        params, base = profile_params(name), published(name)
        settings = params.generate.model_copy(update={"batch_size": 1})
        arm = params.arms["baseline"].model_copy(update={"guidance": guidance})
        found = drawing.draw(base, settings, arm, None, None)
        rest = found.other_flops + drawing.embed(base, settings).flops if whole else 0
        return (steps * found.step_flops + rest) / 1e12

    return count


COUNTED = {
    ("train", "SD3Transformer2DModel"): trained(
        "sd35-medium", 128, ["to_k", "to_q", "to_v", "to_out.0"], batch_size=3, gradient_checkpointing=0
    ),
    ("train", "FluxTransformer2DModel"): trained("flux-dev", 16, None, batch_size=1, gradient_checkpointing=1),
    ("generate", "FluxTransformer2DModel"): drawn("flux-dev", 28, True, 3.5),
    ("generate", "SD3Transformer2DModel"): drawn("sd35-medium", 30, False, 1.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
def test_the_docs_show_what_the_program_prints(profile):
    assert section(profile) in DOCS.read_text()
