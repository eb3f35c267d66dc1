"""A threshold belongs to a resolution, and is a noise level."""

import math
from pathlib import Path

import numpy as np
import pytest
import tiny_pipelines
import tiny_sd3
import torch
from diffusers import (
    CogVideoXDDIMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxKontextPipeline,
)

from taca import TacaConfig, active_steps
from taca.errors import TacaError
from taca.noise import noise_of
from taca.schedule import equivalent_threshold, level_of_index


@pytest.mark.parametrize(("tokens", "expected"), [(4096, 970.0), (1024, 941.75), (64, 801.65), (16384, 984.77)])
def test_the_papers_threshold_at_other_sizes(tokens, expected):
    assert equivalent_threshold(970.0, tokens) == pytest.approx(expected, abs=0.005)


def test_a_scheduler_with_a_shift_of_its_own_gives_it():
    """FLUX.1 at 512 x 512: mu is .63 at 1,024 tokens and 1.15 at 4,096."""
    assert equivalent_threshold(970.0, 1024, shift=math.exp(0.63 - 1.15)) == pytest.approx(950.55, abs=0.05)


def test_there_and_back_is_the_same_threshold():
    for tokens in (16, 64, 1024, 5000, 65536):
        for threshold in (0.0, 1.0, 500.0, 970.0, 1000.0):
            there = equivalent_threshold(threshold, tokens)
            assert equivalent_threshold(there, 4096, reference_tokens=tokens) == pytest.approx(threshold, abs=1e-9)


def test_more_tokens_never_lower_it_and_the_ends_stay():
    levels = [equivalent_threshold(970.0, tokens) for tokens in (1, 64, 256, 4096, 10**6)]
    assert levels == sorted(levels)
    assert all(equivalent_threshold(end, tokens) == end for end in (0.0, 1000.0) for tokens in (1, 64, 4096, 9216))


@pytest.mark.parametrize("steps", [28, 30, 50])
@pytest.mark.parametrize("threshold", [300.0, 900.0, 970.0])
def test_as_many_steps_are_active_where_the_schedule_is_shifted_alike(steps, threshold):
    """A schedule of s times the shift, and the threshold that is equivalent to it."""
    for s in (0.125, 0.5, 1.5):
        counts = []
        for shift, bound in ((3.0, threshold), (3.0 * s, equivalent_threshold(threshold, 1, shift=s))):
            scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
            scheduler.set_timesteps(sigmas=torch.linspace(1, 1 / steps, steps).tolist())
            counts.append(int((scheduler.timesteps >= bound).sum()))
        assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"threshold": 1001.0, "tokens": 64}, "`threshold`"),
        ({"threshold": math.nan, "tokens": 64}, "`threshold`"),
        ({"threshold": "970", "tokens": 64}, "`threshold`"),
        ({"threshold": 970.0, "tokens": 0}, "`tokens`"),
        ({"threshold": 970.0, "tokens": "64"}, "`tokens`"),
        ({"threshold": 970.0, "tokens": 64, "reference_tokens": -1}, "`reference_tokens`"),
        ({"threshold": 970.0, "tokens": 64, "shift": math.inf}, "`shift`"),
    ],
)
def test_what_is_no_threshold_no_count_and_no_shift_is_refused(arguments, named):
    with pytest.raises(TacaError, match=named):
        equivalent_threshold(**arguments)


def test_an_index_is_mapped_to_the_weight_of_the_noise():
    """Of a picture of equal parts of variance it is a half; the last step of CogVideoX is pure noise."""
    assert level_of_index(torch.tensor([0]), torch.tensor([0.5])).item() == pytest.approx(500)
    alphas = CogVideoXDDIMScheduler(rescale_betas_zero_snr=True, snr_shift_scale=1.0).alphas_cumprod
    levels = level_of_index(torch.arange(1000), alphas)
    assert levels[-1] == 1000
    assert (levels.diff() > 0).all()
    alpha, sigma = alphas[400].sqrt().item(), (1 - alphas[400]).sqrt().item()
    assert levels[400].item() == pytest.approx(1000 * sigma / (alpha + sigma), abs=1e-4)


def flux(**scheduler):
    """FLUX.1 around a tiny transformer, with the published scheduler's shift and autoencoder's scale."""
    pipe = tiny_pipelines.flux()
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, base_image_seq_len=256, max_image_seq_len=4096,
        **scheduler,
    )  # fmt: skip
    pipe.vae_scale_factor = 8
    return pipe


def test_a_pipeline_with_a_fixed_shift_takes_the_papers_threshold_to_a_size():
    """Stable Diffusion 3.5: by the square root of the tokens, to either side; 1024 x 1024 stays what it is."""
    pipe = tiny_sd3.pipeline(tiny_sd3.transformer())
    pixels = pipe.vae_scale_factor * pipe.transformer.config.patch_size
    sizes = {side: TacaConfig.for_pipeline(pipe, side * pixels, side * pixels).threshold for side in (8, 32, 64, 90)}
    assert sizes == {side: pytest.approx(equivalent_threshold(970.0, side * side)) for side in sizes}
    assert sizes[64] == pytest.approx(970.0)
    assert TacaConfig.for_pipeline(pipe, 64 * pixels, 16 * pixels).threshold == pytest.approx(941.75, abs=0.005)


def test_a_shift_by_the_schedulers_own_constants_is_taken_from_them():
    assert TacaConfig.for_pipeline(flux(), 512, 512).threshold == pytest.approx(950.55, abs=0.05)
    assert TacaConfig.for_pipeline(flux(), 1024, 1024).threshold == pytest.approx(970.0)
    linear = TacaConfig.for_pipeline(flux(time_shift_type="linear"), 512, 512).threshold
    assert linear == pytest.approx(equivalent_threshold(970.0, 1024, shift=0.63 / 1.15))


def test_as_many_steps_are_active_at_a_size_as_at_the_papers():
    """The whole point: dynamic schedules move with the size, and the threshold with them."""
    pipe = flux()
    counts = [
        len(active_steps(pipe, 50, side, side, TacaConfig.for_pipeline(pipe, side, side)))
        for side in (256, 512, 1024, 1440)
    ]
    assert len(set(counts)) == 1


def test_other_fields_are_kept_and_another_threshold_is_taken_along():
    config = TacaConfig.for_pipeline(flux(), 512, 512, gamma=1.3, threshold=950.0, branches="conditional")
    assert (config.gamma, config.branches) == (1.3, "conditional")
    assert config.threshold == pytest.approx(equivalent_threshold(950.0, 1024, shift=math.exp(0.63 - 1.15)))


def test_a_video_counts_the_tokens_of_one_frame():
    pipe = tiny_pipelines.cogvideox()
    pixels = pipe.vae_scale_factor_spatial * pipe.transformer.config.patch_size
    found = TacaConfig.for_pipeline(pipe, 32 * pixels, 32 * pixels).threshold
    assert found == pytest.approx(equivalent_threshold(970.0, 1024))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: TacaConfig.for_pipeline(tiny_pipelines.flux(FluxKontextPipeline), 64, 64), "is not known"),
        (lambda: TacaConfig.for_pipeline(object(), 64, 64), "pass one of"),
        (lambda: TacaConfig.for_pipeline(flux(), 8, 64), "at least 16"),
        (lambda: TacaConfig.for_pipeline(flux(), "64", 64), "`height` must be a whole number above 0, got '64'"),
        (lambda: TacaConfig.for_pipeline(flux(), 64, 64, num_inference_steps=-3), "`num_inference_steps` must be"),
        (lambda: TacaConfig.for_pipeline(flux(), 64, 64, strength=1.2), "no field 'strength'"),
        (lambda: TacaConfig(threshold_of="sigma"), "`threshold_of` must be noise or index"),
    ],
)
def test_what_has_no_equivalent_is_refused_with_the_remedy(call, said):
    with pytest.raises(TacaError, match=said):
        call()


def test_flux2_wants_the_number_of_steps():
    """Its shift depends on it."""
    pipe = tiny_pipelines.flux()
    pipe.__class__ = type("Flux2Pipeline", (type(pipe),), {})
    pipe.vae_scale_factor = 8
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    with pytest.raises(TacaError, match="num_inference_steps"):
        TacaConfig.for_pipeline(pipe, 512, 512)
    few, many = (TacaConfig.for_pipeline(pipe, 512, 512, num_inference_steps=n).threshold for n in (10, 50))
    assert few != many
    assert TacaConfig.for_pipeline(pipe, 1024, 1024, num_inference_steps=50).threshold == pytest.approx(970.0)


def test_indices_are_compared_as_noise_levels_unless_the_switch_keeps_them():
    """CogVideoX's timesteps: half of its steps of training are noisier than nine tenths."""
    pipe = tiny_pipelines.cogvideox()
    pipe.scheduler = CogVideoXDDIMScheduler(
        rescale_betas_zero_snr=True, snr_shift_scale=1.0, timestep_spacing="trailing"
    )
    by_noise = active_steps(pipe, 50, 32, 32, threshold=900.0)
    by_index = active_steps(pipe, 50, 32, 32, threshold=900.0, threshold_of="index")
    levels = level_of_index(torch.tensor([t for _, t in by_noise]), pipe.scheduler.alphas_cumprod)
    assert (levels >= 900).all()
    assert [t >= 900 for _, t in by_index] == [True] * len(by_index)
    assert len(by_noise) != len(by_index)


def test_flow_matchings_timesteps_are_levels_whatever_the_scheduler_is_called():
    """A diffusion scheduler with flow matching's sigmas has `alphas_cumprod`, and does not go by them."""
    flow = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0)
    flow.set_timesteps(20)
    assert torch.equal(noise_of(flow.timesteps, flow), flow.timesteps)
    matching = FlowMatchEulerDiscreteScheduler(shift=3.0)
    assert torch.equal(noise_of(matching.timesteps, matching), matching.timesteps)


CONFIGS = Path(__file__).parents[1] / "published/configs"
SIDES = (512, 768, 1024, 1440)


def threshold_rows() -> list[str]:
    """The rows of docs/library.md: published schedules, 30 steps of a picture and 50 of a video."""
    rows = []
    for name, folder, steps in (("Stable Diffusion 3.5", "sd35-medium", 30), ("FLUX.1-dev", "flux-dev", 30)):
        scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(CONFIGS / folder / "scheduler")
        pipe = flux() if folder == "flux-dev" else tiny_sd3.pipeline(tiny_sd3.transformer())
        # The tiny autoencoder's scale apart, a token is 16 pixels wide.
        patch = 2 if folder == "flux-dev" else pipe.transformer.config.patch_size
        pipe.scheduler, pipe.vae_scale_factor = scheduler, 16 // patch
        for side in SIDES:
            config = TacaConfig.for_pipeline(pipe, side, side)
            fixed, moved = (len(active_steps(pipe, steps, side, side, c)) for c in (TacaConfig(), config))
            tokens = f"{(side // 16) ** 2:,}"
            rows.append(
                f"| {name} | {side} x {side} | {tokens} | {config.threshold:.2f} | {fixed} | {moved} | {steps} |"
            )
    video = FlowMatchEulerDiscreteScheduler(shift=7.0)
    video.set_timesteps(sigmas=np.linspace(1.0, 0.0, 51)[:-1])
    diffusion = CogVideoXDDIMScheduler(
        snr_shift_scale=1.0, rescale_betas_zero_snr=True, timestep_spacing="trailing", beta_schedule="scaled_linear"
    )
    diffusion.set_timesteps(50)
    for name, size, levels in (
        ("HunyuanVideo", (720, 1280), video.timesteps),
        ("CogVideoX-5b", (480, 720), level_of_index(diffusion.timesteps, diffusion.alphas_cumprod)),
    ):
        tokens = size[0] // 16 * (size[1] // 16)
        threshold = equivalent_threshold(970.0, tokens)
        fixed, moved = (int((levels >= bound).sum()) for bound in (970.0, threshold))
        shown = f"{size[0]} x {size[1]} | {tokens:,} a frame"
        rows.append(f"| {name} | {shown} | {threshold:.2f} | {fixed} | {moved} | 50 |")
    return rows


def test_the_table_in_the_docs_is_what_the_published_schedules_give():
    page = (Path(__file__).parents[2] / "docs/library.md").read_text()
    for row in threshold_rows():
        print(row)
        assert row in page.splitlines()
