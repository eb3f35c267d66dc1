"""`make profile`: params.yaml is the defaults plus one overlay, comments and all."""

import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

from lab.params import load, profile
from lab.params.profile import profile_params
from lab.prompts import prompts_of
from lab.world.prompts import CATEGORIES
from runtime.execution.graph import overlap, read_stages
from runtime.params import ParamsError, read_yaml

ROOT = Path(__file__).parents[2]
OVERLAYS = sorted(path.stem for path in (ROOT / "experiments" / "overlays").glob("*.yaml"))
PROFILE_FILES = {path.stem: path for path in (ROOT / "experiments" / "profiles").glob("*.yaml")}
PROFILES = sorted(path.stem for path in (ROOT / "experiments" / "profiles").glob("*.yaml"))


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A folder with the defaults, profiles and overlays, and a params.yaml that somebody has edited."""
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    (tmp_path / "params.yaml").write_text("edited: by hand\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def switch(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["profile", *arguments])
    profile.main()


def overlay(repository, text):
    path = repository / "experiments" / "profiles" / "mine.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", PROFILES)
def test_each_profile_is_valid(repository, monkeypatch, name):
    switch(monkeypatch, name)
    load(repository / "params.yaml")


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("name", ["sd35-medium", "flux-dev"])
def test_overlays_stack_upon_the_papers_profiles(repository, monkeypatch, name, overlay):
    """Each gives valid parameters, also with another one below it."""
    switch(monkeypatch, f"{name}-{overlay}")
    load(repository / "params.yaml")
    switch(monkeypatch, f"{name}-standard-{overlay}")
    load(repository / "params.yaml")


def test_a_smoke_run_is_ten_prompts_and_twenty_steps(repository, monkeypatch):
    switch(monkeypatch, "flux-dev-24gb-smoke")
    params = load(repository / "params.yaml")
    assert params.prompts.per_category * len(params.prompts.categories) * params.generate.images_per_prompt == 10
    assert (params.train.steps, params.train.precision, params.generate.quantization) == (20, "nf4", "nf4")
    assert params.train.held_out < params.sample.size


@pytest.mark.parametrize(("name", "guidance", "tokens"), [("sd35-medium", 7.0, 256), ("flux-dev", 3.5, 512)])
def test_the_papers_profiles_hold_its_settings(repository, monkeypatch, name, guidance, tokens):
    """Table 1's arms with the authors' adapters beside; 1,000 prompts in six categories, one image each, seed 42."""
    switch(monkeypatch, name)
    params = load(repository / "params.yaml")
    assert list(params.arms) == ["baseline", "taca-r16", "taca-r64", "authors-r16", "authors-r64"]
    assert {arm.guidance for arm in params.arms.values()} == {guidance}
    assert list(params.adapters) == ["none", "taca-r16", "taca-r64"]
    assert (params.prompts.edition, params.prompts.per_category) == ("before-2025-09", 1000)
    assert (params.generate.seed, params.generate.num_inference_steps, params.generate.images_per_prompt) == (42, 30, 1)
    assert params.generate.max_sequence_length == params.encode.max_sequence_length == tokens
    assert (params.train.learning_rate, params.train.batch_size) == (1e-4, 4)
    assert (params.score.device, params.score.weights, params.prompts.parser) == ("cuda", "weights", "spacy-3.6")


@pytest.mark.parametrize("name", ["sd35-medium", "flux-dev"])
def test_the_authors_adapters_are_judged_before_there_is_anything_to_train_on(repository, monkeypatch, name):
    """Their scores need nothing of `sample` to `train`, as the guide promises."""
    switch(monkeypatch, name)
    shutil.copy(ROOT / "dvc.yaml", repository)
    stages = read_stages(repository)
    for rank in (16, 64):
        needed = ahead = {f"score@authors-r{rank}"}
        while ahead:
            outs = {name: stage.outs for name, stage in stages.items() if name not in needed}
            deps = [dep for name in ahead for dep in stages[name].deps]
            ahead = {name for name in outs if any(overlap(dep, out) for dep in deps for out in outs[name])}
            needed = needed | ahead
        programs = {name.partition("@")[0] for name in needed}
        assert programs == {"check", "base", "prompts", "fetch", "generate", "score"}
        assert [name for name in needed if name.startswith("fetch")] == [f"fetch@authors-r{rank}"]


@pytest.mark.parametrize("name", ["sd35-medium", "flux-dev"])
def test_the_papers_profiles_fix_every_key(name):
    """So that a default that changes for the built-in world does not change the paper's experiment."""
    said, defaults = (read_yaml(path) for path in (PROFILE_FILES[name], ROOT / "experiments" / "defaults.yaml"))
    assert set(defaults) - set(said) == {"threads", "tracking"}
    for section in ("prompts", "encode", "train", "generate", "score", "report"):
        assert set(said[section]) == set(defaults[section]), section


@pytest.mark.long
def test_power_draws_eight_images_a_prompt_of_all_categories_in_every_arm(repository):
    """An arm that kept the default's one image would have little of the power that the others have."""
    params = profile_params("power")
    images = {arm.images_per_prompt or params.generate.images_per_prompt for arm in params.arms.values()}
    rows = prompts_of(params.prompts)
    assert images == {8}
    assert Counter(row["category"] for row in rows) == dict.fromkeys(CATEGORIES, 150)


def test_only_what_the_overlay_says_changes(repository, monkeypatch, capsys):
    """Every other line stays as it is, comments included; the diff shows what changed."""
    switch(monkeypatch, "default")
    capsys.readouterr()
    overlay(repository, "sample: {size: 48}\n")
    switch(monkeypatch, "mine")
    before = (repository / "experiments" / "defaults.yaml").read_text().splitlines()
    after = (repository / "params.yaml").read_text().splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [("  size: 768                       # images", "  size: 48                        # images")]
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith(("-  ", "+  "))] == [
        f"-{changed[0][0]}",
        f"+{changed[0][1]}",
    ]


def test_default_restores_the_defaults_byte_for_byte(repository, monkeypatch):
    switch(monkeypatch, "quick")
    switch(monkeypatch, "default")
    assert (repository / "params.yaml").read_bytes() == (repository / "experiments" / "defaults.yaml").read_bytes()


def test_arms_are_added_and_removed(repository, monkeypatch):
    arm = "{gamma: 1.4, threshold: 970.0, guidance: 1.0, adapter: none, adapter_scope: early}"
    overlay(repository, f"arms: {{taca-r64: null, stronger: {arm}}}\n")
    switch(monkeypatch, "mine")
    arms = load(repository / "params.yaml").arms
    kept = ["baseline", "taca-free", "control", "lora-only", "lora-gamma", "taca-r16", "taca-r16-plain"]
    assert list(arms) == [*kept, "stronger"]
    assert f"  stronger: {arm}\n" in (repository / "params.yaml").read_text()


HUB = "name: tiny, source: hub, repo: some/base, revision: main, variant: null, dtype: bfloat16"
SCORE = "score: {attribute: blip-vqa, spatial: unidet, clip: openai, weights: weights}"


def test_another_source_of_the_base_brings_its_whole_section(repository, monkeypatch):
    """What the built-in base is trained with means nothing to a published one; the other sections stay."""
    sixteen = "".join(f"{section}: {{dtype: bfloat16}}\n" for section in ("encode", "generate", "analyze"))
    overlay(repository, f"base: {{{HUB}}}\n{sixteen}{SCORE}\n")
    switch(monkeypatch, "mine")
    assert load(repository / "params.yaml").base.repo == "some/base"
    text = (repository / "params.yaml").read_text()
    lines = "\n".join(f"  {entry}" for entry in HUB.split(", "))
    assert f"{lines}\n\nprompts:\n" in text
    assert "scenes" not in text


def test_the_same_source_of_the_base_keeps_the_rest(repository, monkeypatch):
    overlay(repository, "base: {name: small, source: world, width: 64, layers: 2}\n")
    switch(monkeypatch, "mine")
    base = load(repository / "params.yaml").base
    assert (base.name, base.width, base.scenes) == ("small", 64, 24576)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"base: {{{HUB}, threads: 2}}\n", "`base.threads` (2) is not a known key; `base` takes name, source, repo, "),
        ("sample: {sise: 48}\n", "`sample.sise` (48) is not a known key (did you mean `size`?)"),
        ("smaple: {size: 48}\n", "`smaple` ({'size': 48}) is not a known key (did you mean `sample`?)"),
        ("sample: {size: 0}\n", "`sample.size` is 0, but must be an integer of at least 1."),
        ("arms: {gone: null}\n", "`arms.gone` is null, but the defaults have none to remove."),
        ("adapters: {taca-r64: null}\n", "`arms.taca-r64.adapter` is 'taca-r64', but must be one of `adapters`: "),
    ],
)
def test_faulty_overlay_is_one_sentence_that_names_it(repository, text, fault):
    path = overlay(repository, text)
    with pytest.raises(ParamsError) as caught:
        profile.compose(path)
    (found,) = caught.value.faults
    assert found.startswith(f"{path}: {fault}")


def test_unknown_profile_leaves_the_file_and_names_the_known_ones(repository, monkeypatch):
    with pytest.raises(SystemExit) as caught:
        switch(monkeypatch, "qick")
    choices = ", ".join(["default", *PROFILES])
    assert str(caught.value) == (
        f"There is no profile 'qick'; say `make profile PROFILE=...` with {choices}, and behind it what is to be laid "
        f"over it: {', '.join(f'-{overlay}' for overlay in OVERLAYS)}."
    )
    assert (repository / "params.yaml").read_text() == "edited: by hand\n"
