"""The programs that measure: every variant computes Eq. 10, and the page is what the results say."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from tiny_models import CASES, predict
from tiny_sd3 import relative_error

from benchmarks import scoring_table, table
from benchmarks.attention import attention_runs
from benchmarks.gpu import __main__ as gpu_main
from benchmarks.gpu import models as gpu_models
from benchmarks.gpu import ways
from benchmarks.gpu.busy import covered
from benchmarks.gpu.models import SCHEDULERS, random_pipeline, random_transformer
from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.process import run_part
from benchmarks.gpu.scale import FULL, TINY
from benchmarks.gpu.targets import TARGETS, compared
from benchmarks.models import schedule, transformer
from benchmarks.steps import step_runs
from benchmarks.timing import Run, compare
from benchmarks.unidet import torchvision_around
from benchmarks.variants import GAMMA, variants, with_variant
from compbench.scorers.unidet.model import R50, RS200, UniDet
from taca import TacaConfig, taca
from taca.processors.swap import swapped
from tests.published import published_config


@pytest.mark.parametrize("text_first", [True, False])
def test_every_variant_computes_the_same(text_first):
    found = variants(12, 5, text_first, "cpu")
    query, key, value = torch.randn(3, 1, 2, 17, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = found["explicit"](query, key, value)
    for name in ("ours", "recomposed", "flex"):
        # gamma comes as a float32 here and there, as in the processors.
        assert relative_error(found[name](query, key, value), expected) < 1e-7
    assert relative_error(found["plain"](query, key, value), expected) > 1e-3


@pytest.mark.parametrize("case", [case for case in CASES if case.name in ("sd3.5", "flux")], ids=lambda case: case.name)
@pytest.mark.parametrize("name", ["recomposed", "explicit", "flex"])
@torch.no_grad()
def test_every_variant_is_put_into_every_block(case, name):
    model, arguments = case.model(), case.inputs([990.0])
    with taca(model, TacaConfig(gamma=GAMMA)):
        expected = predict(model, arguments)
    variant = variants(case.image_tokens, case.text_tokens, case.text_first, "cpu")[name]
    with swapped(with_variant(model, variant, case.text_tokens)):
        assert relative_error(predict(model, arguments), expected) < 1e-5


def test_a_variant_that_cannot_run_says_why():
    figures = compare({"plain": Run(lambda: None), "never": Run(lambda: 1 / 0)}, 3, "cpu")
    assert figures["never"] == {"failed": "ZeroDivisionError: division by zero"}
    assert figures["plain"]["ratio"] == 1


@pytest.mark.parametrize(("ours", "published"), [("FLUX", "flux-dev"), ("SD3.5", "sd35-medium")])
def test_what_is_measured_has_the_published_sizes(ours, published):
    with torch.device("meta"):
        found = transformer(ours, None, None).config
    expected = published_config(published, "transformer/config.json")
    for key in (key for key in expected if not key.startswith("_")):
        assert found[key] == (tuple(expected[key]) if isinstance(expected[key], list) else expected[key])
    scheduler = FlowMatchEulerDiscreteScheduler(**SCHEDULERS[ours]).config
    expected = published_config(published, "scheduler/scheduler_config.json")
    assert all(scheduler[key] == value for key, value in expected.items() if not key.startswith("_"))


def test_the_autoencoder_that_draws_has_the_published_sizes(monkeypatch):
    """FLUX.1-dev's, with a tiny transformer beside it."""
    monkeypatch.setattr(gpu_models, "filled", lambda model, device: model)
    found = random_pipeline(replace(TINY, vae_channels=FULL.vae_channels), "meta").vae.config
    expected = published_config("flux-dev", "vae/config.json")
    for key in (key for key in expected if not key.startswith("_")):
        assert found[key] == (tuple(expected[key]) if isinstance(expected[key], list) else expected[key]), key


def test_random_weights_are_never_in_float32_and_finite():
    tensors = random_transformer("SD3.5", TINY, "cpu").state_dict().values()
    assert {tensor.dtype for tensor in tensors} == {torch.bfloat16}
    assert all(tensor.isfinite().all() for tensor in tensors)


def test_the_busy_share_counts_overlapping_work_once():
    assert covered([(0, 4), (2, 6), (3, 5), (8, 9)]) == 7


def test_a_target_that_nothing_was_measured_for_says_so():
    lines = compared({"parts": {"generate": {"rows": [], "failed": "no room"}}})
    assert {found for _, _, found, _ in lines} == {"not measured"}


def test_errors_on_a_gpu_are_those_of_rounding_and_a_missing_kernel_says_so(monkeypatch):
    checked = [(torch.float32, "default"), (torch.bfloat16, "default"), (torch.bfloat16, "cudnn")]
    monkeypatch.setattr(ways, "CHECKED", checked)
    rows = list(ways.error_rows(TINY, "cpu"))
    assert len(rows) == 2 * 3 * 2
    for row in rows:
        bound = 1e-5 if row["dtype"] == "torch.float32" else 0.02
        for way in ("plain", "ours"):
            assert "No viable backend" in row[way] if row["backend"] == "cudnn" else 0 < row[way] < bound


@pytest.mark.skipif(torch.cuda.is_available(), reason="would measure")
def test_the_gpu_check_is_refused_without_one(monkeypatch):
    monkeypatch.setattr("sys.argv", ["gpu"])
    with pytest.raises(SystemExit, match="sees no NVIDIA GPU"):
        gpu_main.main()


def test_a_part_that_fails_or_takes_too_long_says_so():
    assert "invalid choice" in run_part(["--parts", "nothing"], 60)["failed"]
    assert run_part(["--parts", "error", "--tiny"], 0.2)["failed"] == "It was ended after 0 seconds, its limit."


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="bitsandbytes is installed on Linux alone")
def test_all_of_the_gpu_check_runs_at_tiny_size(tmp_path):
    """In its processes; the page is made of its report."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--tiny", "--minutes", "14", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "gpu-tiny.json").read_text())
    assert {name: part.get("failed") for name, part in report["parts"].items()} == dict.fromkeys(PARTS)
    assert all(part["rows"] for part in report["parts"].values())
    assert [row["same"] for row in report["parts"]["resume"]["rows"]] == [True, True]
    text = table.page([report])
    assert all(target.text in text for target in TARGETS)


def test_both_measurements_name_the_same_ways():
    attention = attention_runs((8, 4, 8, True), 1, "cpu", backward=False, compiled=False)
    step = step_runs("FLUX", next(case for case in CASES if case.name == "flux").model(), "cpu", False, False)
    assert set(attention) <= set(step)


def test_the_schedule_is_that_of_flux_dev():
    """METHOD: three of 30 steps at or above 970."""
    steps = schedule(30)
    assert [round(t) for t in steps[:4]] == [1000, 989, 978, 966]
    assert sum(t >= 970 for t in steps) == 3


def test_the_page_is_written_from_the_results():
    assert table.PAGE.read_text() == table.page(table.reports())


def multiply_adds(head: torch.nn.Module) -> int:
    """Of one proposal: a convolution's weights are used at each of 7 x 7 places, a linear layer's once."""
    weights = [parameter for parameter in head.parameters() if parameter.ndim > 1]
    return sum(weight.numel() * (49 if weight.ndim == 4 else 1) for weight in weights)


@pytest.mark.parametrize(("name", "variant"), [("R50", R50), ("RS200", RS200)])
def test_the_page_counts_the_heads_that_were_measured(name, variant):
    with torch.device("meta"):
        model = UniDet(variant)
        plain = torchvision_around(model).roi_heads
    ours = [multiply_adds(getattr(model.roi_heads, part)) for part in ("box_head", "box_predictor")]
    assert scoring_table.MULTIPLY_ADDS[name, "ours"] * scoring_table.STAGES["ours"] == sum(ours)
    assert scoring_table.MULTIPLY_ADDS[name, "plain"] == multiply_adds(plain)


def test_the_page_shows_every_result_once():
    text = table.PAGE.read_text()
    results = list(table.RESULTS.rglob("*.json"))
    assert len(table.reports()) == len(results) == text.count("; torch ")
