"""The whole analysis on tiny bases of both families: what is measured, and files that are the same each time."""

import csv
import json
from itertools import product

import pytest
import torch

from compbench.scorers.clip import ClipScorer
from lab.analysis.doses import doses
from lab.analysis.drawing import Studio, embedded, first_of_each
from lab.analysis.measure import ADAPTER, BASELINE, TACA, Choice, measure
from lab.analysis.write import curves, write_analysis
from lab.generation.arm import Setup, drawing
from lab.generation.generate import Sampling
from lab.generation.plan import plan_images
from lab.models import family
from lab.models.load import load_without_text
from lab.params.sections import Acting
from lab.report.analysed import read_analysis
from taca.families import attention_modules, family_of
from taca.hooks import taca
from taca.steps import active_steps
from tests.tiny_base import tiny_base
from tests.tiny_flux import tiny_flux

STEPS = 4
SETUP = Setup("float32", "none", compile=False, offload="none")
PROMPTS = [("color", "red circle"), ("color", "blue star"), ("shape", "green square")]
BASES = {"sd3": (tiny_base, 2.0), "flux": (tiny_flux, 1.0)}  # SD3 guided by a second pass


METHODS = (
    Acting(gamma=1.0, threshold=800.0),
    Acting(gamma=1.5, threshold=800.0),
    Acting(gamma=1.5, threshold=800.0, method="random-direction", method_seed=0),
    Acting(gamma=1.5, threshold=400.0, until=800.0),
)


def planned():
    rows = [{"prompt": text, "category": category, "index": i} for i, (category, text) in enumerate(PROMPTS)]
    return first_of_each(plan_images(rows, 2, 5, firsts=1), 3)


def lora_of(base, folder):
    """Random LoRA weights in the pipeline's own layout."""
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    pipe = load_without_text(base, "float32")
    pipe.transformer.add_adapter(
        LoraConfig(r=4, lora_alpha=4, target_modules=["to_q", "to_k"], init_lora_weights=False)
    )
    type(pipe).save_lora_weights(folder, transformer_lora_layers=get_peft_model_state_dict(pipe.transformer))
    return folder


@pytest.fixture(scope="module", params=BASES)
def case(request, tmp_path_factory):
    """A studio, images, choice and what is measured."""
    make, guidance = BASES[request.param]
    base, folder = make(), tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    lora = lora_of(base, folder / "lora")
    sampling = Sampling(STEPS, guidance, 2, 64, 64)
    known = family.family_of(load_without_text(base, "float32").transformer)
    embeddings = embedded(base, known, planned(), "float32", 8, folder / "embeddings")
    studio = Studio(base, SETUP, sampling, embeddings)
    choice = Choice(1.5, 800.0, (1.2, 1.5), (0.0,), lora, METHODS)
    clip = ClipScorer.from_folder(tiny_base() / "clip")
    return studio, choice, clip, measure(studio, planned(), choice, clip)


def test_images_of_different_prompts_come_category_by_category_in_turn():
    assert [image.prompt for image in planned()] == ["red circle", "green square", "blue star"]
    assert [image.seed for image in planned()] == [5, 9, 7], "those of the arms"


@pytest.mark.long
def test_the_last_prediction_is_what_an_arm_draws(case):
    """To rounding: batch and dtype are the arm's own."""
    studio, _, _, analysis = case
    with studio.stock() as pipe, drawing(pipe, None, SETUP, 1.5, 800.0, "early"):
        batch = planned()[:2]
        drawn = pipe(
            **studio.embeddings.of([image.prompt for image in batch], pipe.device),
            generator=[torch.Generator().manual_seed(image.seed) for image in batch],
            **studio.sampling.options(pipe),
        ).images
    for ours, theirs in zip(analysis.predictions[1.5, 800.0][-1], drawn, strict=True):
        difference = torch.tensor(list(ours.tobytes())).int() - torch.tensor(list(theirs.tobytes())).int()
        assert difference.abs().max() <= 1
    assert len(analysis.predictions[1.5, 800.0]) == STEPS
    assert len(analysis.predictions[1.5, 0.0]) == 1


def test_attention_is_measured_in_every_step_and_layer_and_grows_with_gamma(case):
    studio, _, _, analysis = case
    with studio.stock() as pipe:
        acting = len(active_steps(pipe, STEPS, 64, 64, threshold=800.0))
        layers = len(attention_modules(pipe.transformer, family_of(pipe.transformer)))
    assert 0 < acting == analysis.acting[800.0] < STEPS
    assert analysis.magnitudes.keys() == set(product(range(STEPS), range(layers)))
    for arm in (BASELINE, TACA):
        assert analysis.maps[arm].shape == (STEPS, 3, analysis.grid[0] * analysis.grid[1])
        assert ((analysis.maps[arm] > 0) & (analysis.maps[arm] < 1)).all()
    changed = (analysis.maps[TACA] - analysis.maps[BASELINE]).abs().amax((1, 2))
    assert changed[0] > 1e-4
    assert all(values[-1] > max(values[:-1]) for values in analysis.magnitudes.values()), "the text alone has no rivals"


def test_what_methods_do_is_measured_where_the_baseline_passes(case):
    """Nothing is no guidance, and a control moves logits as far as TACA does."""
    studio, _, _, analysis = case
    plain, taca, control, later = analysis.doses
    assert plain.change == 0
    assert taca.change > 0
    assert control.change == pytest.approx(taca.change, rel=1e-2), "in later layers queries differ"
    assert plain.steps == taca.steps == analysis.acting[800.0] < STEPS
    with studio.stock() as pipe:
        assert later.steps == len(active_steps(pipe, STEPS, 64, 64, threshold=400.0)) - taca.steps > 0
        guided = family_of(pipe.transformer).transformer.startswith("SD3")
    if guided:
        assert plain.scale == pytest.approx(1, abs=1e-4) != taca.scale
    else:
        assert plain.scale is taca.scale is None


def test_the_equal_guidance_is_the_projection_on_what_the_prompt_does(case):
    """Against velocities that are computed here, for the first step of one image."""
    studio, *_ = case
    with studio.stock() as pipe:
        transformer = pipe.transformer
        if not family_of(transformer).transformer.startswith("SD3"):
            pytest.skip("no second pass")
        calls = []
        handle = transformer.register_forward_hook(lambda *call: calls.append(call[2]), with_kwargs=True)
        studio.predictions(pipe, planned()[:1])
        handle.remove()
        given = calls[0]
        with torch.no_grad():
            without, prompted = transformer(**given)[0].double()
            with taca(transformer, gamma=1.5, threshold=0.0):
                moved = transformer(**given)[0][1].double() - prompted
        [dose] = doses(studio, pipe, planned()[:1], [Acting(gamma=1.5, threshold=1000.0)])
    direction = prompted - without
    assert dose.steps == 1
    assert dose.scale == pytest.approx(1 + ((moved * direction).sum() / direction.square().sum()).item(), abs=1e-5)


def test_predictions_are_compared_with_their_prompts_in_every_step_by_every_arm(case):
    *_, analysis = case
    assert list(analysis.similarities) == [BASELINE, TACA, ADAPTER]
    assert all([len(step) for step in found] == [3] * STEPS for found in analysis.similarities.values())
    first = [found[0] for found in analysis.similarities.values()]
    assert first[0] != first[1] != first[2]


@pytest.mark.long
def test_files_are_the_same_each_time_and_named_in_order(case, tmp_path):
    studio, choice, clip, analysis = case
    write_analysis(tmp_path / "one", analysis, choice)
    again = measure(studio, planned(), choice, clip)
    write_analysis(tmp_path / "two", again, choice)
    files = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()}
    listed = [one["file"] for one in json.loads(files["figures.json"])]
    assert listed == ["gamma.png", "steps.png", "attention.svg", "difference.svg", "similarity.svg"]
    with (tmp_path / "one" / "attention.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == len(analysis.magnitudes) * 4
    assert len(curves(analysis, choice)) == STEPS
    read = read_analysis(tmp_path / "one", "ab.dir")
    assert [read.dose(method)["steps"] for method in METHODS] == [str(dose.steps) for dose in analysis.doses]
    assert read.dose(Acting(gamma=1.4, threshold=800.0)) is None


@pytest.mark.long
def test_without_an_adapter_its_arm_is_left_out(case):
    studio, choice, clip, _ = case
    plain = Choice(choice.gamma, choice.threshold, (1.5,), (800.0,), None)
    analysis = measure(studio, planned()[:2], plain, clip)
    assert list(analysis.similarities) == [BASELINE, TACA]
