"""Faulty parameters are refused with one sentence each: key, value, what is allowed, what was meant."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.params import load, validate
from runtime.params import ParamsError, read_yaml

ROOT = Path(__file__).parents[2]
DEFAULTS = ROOT / "experiments" / "defaults.yaml"
ABSENT = object()
THEIRS = {"repo": "someone/lora", "revision": "main", "file": "lora.safetensors", "sha256": None}
BENCHMARK = {
    "prompts__source": "compbench",
    "prompts__parser": "spacy",
    "score__attribute": "blip-vqa",
    "score__spatial": "unidet",
    "score__clip": "openai",
    "score__weights": "weights",
}
HUB = {
    "name": "sd35-medium",
    "source": "hub",
    "repo": "stabilityai/stable-diffusion-3.5-medium",
    "revision": "main",
    "variant": None,
    "dtype": "bfloat16",
}
# With the base from a hub.
PUBLISHED = {
    **BENCHMARK,
    "base": HUB,
    "encode__dtype": "bfloat16",
    "generate__dtype": "bfloat16",
    "generate__workers": 1,
    "analyze__dtype": "bfloat16",
}


@pytest.fixture(scope="module")
def defaults():
    return read_yaml(DEFAULTS)


def changed(document, **values):
    """The document with `section__key=value` set, or removed when the value is ABSENT."""
    document = copy.deepcopy(document)
    for path, value in values.items():
        *parents, key = path.split("__")
        section = document
        for parent in parents:
            section = section[parent]
        if value is ABSENT:
            del section[key]
        else:
            section[key] = copy.deepcopy(value)
    return document


def faults_of(document):
    with pytest.raises(ParamsError) as caught:
        validate(document)
    return caught.value.faults


def test_defaults_are_valid_and_frozen():
    params = load(DEFAULTS)
    assert params.arms["taca-r16"].gamma == 1.2
    assert params.adapters["none"].rank == 0
    with pytest.raises(ValueError, match="frozen"):
        params.threads = 3


def test_committed_parameters_are_the_defaults():
    """`make profile PROFILE=default` restores what is committed."""
    paths = ["HEAD:params.yaml", "HEAD:experiments/defaults.yaml"]
    params, defaults = (subprocess.run(["git", "show", path], cwd=ROOT, capture_output=True) for path in paths)
    if params.returncode:
        pytest.skip("this is no git checkout with a commit")
    assert params.stdout == defaults.stdout


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: (folder / "a.png").symlink_to("nowhere"), "/sub/a.png (a link that leads nowhere): rename it"),
        (lambda folder: (folder / "a.png").symlink_to("a.png"), "/sub/a.png (a link that leads nowhere)"),
        (lambda folder: (folder / "caf\udce9.png").touch(), "/sub/caf\\udce9.png (a name that is not in UTF-8)"),
        (lambda folder: os.mkfifo(folder / "a"), "/sub/a (no file)"),
        (lambda folder: (folder / ".dvcignore").touch(), "/sub/.dvcignore (a file of DVC's own)"),
    ],
)
def test_what_dvc_cannot_hash_in_a_folder_of_images_is_named(defaults, tmp_path, make, said):
    """DVC itself says so after the work, and of some without the file's name."""
    folder = tmp_path / "mine/sub"
    folder.mkdir(parents=True)
    (folder / "link.png").symlink_to(folder)
    document = changed(defaults, sample={"source": "folder", "folder": str(folder.parent), "size": 96, "seed": 11})
    assert validate(document).sample.source == "folder"
    make(folder)
    (fault,) = faults_of(document)
    assert said in fault
    assert f"`sample.folder` is {str(folder.parent)!r}, but DVC, which notices what changes in it, cannot" in fault


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        (
            {"arms__baseline__gamma": 0},
            "`arms.baseline.gamma` is 0, but must be a finite number above 0 (1 changes nothing).",
        ),
        ({"arms__baseline__gamma": -1.2}, "`arms.baseline.gamma` is -1.2, but must be a finite number above 0"),
        ({"arms__baseline__gamma": float("nan")}, "`arms.baseline.gamma` is nan, but must be a finite number above 0"),
        ({"arms__baseline__gamma": float("inf")}, "`arms.baseline.gamma` is inf, but must be a finite number above 0"),
        ({"arms__baseline__gamma": "1.2"}, "`arms.baseline.gamma` is '1.2', but must be a finite number above 0"),
        (
            {"arms__baseline__threshold": 1000.5},
            "`arms.baseline.threshold` is 1000.5, but must be a number from 0 to",
        ),
        ({"arms__baseline__threshold": -1}, "`arms.baseline.threshold` is -1, but must be a number from 0 to 1000"),
        ({"arms__baseline__threshold": float("nan")}, "`arms.baseline.threshold` is nan, but must be a number from 0"),
        ({"arms__baseline__method": "mass"}, "`arms.baseline.method` is 'mass', but must be one of temperature, mass-"),
        (
            {"arms__control__images_per_prompt": 9},
            "`arms.control.images_per_prompt` is 9, but must be at most `gen",
        ),
        ({"arms__baseline__method": "random-direction"}, "`arms.baseline.method_seed` is missing; it must be a seed"),
        ({"arms__baseline__method": "mass-rule"}, "`arms.baseline.method_seed` is missing; it must be a seed"),
        (
            {"arms__taca-free__method": "ratio-rule"},
            "`arms.taca-free.gamma` is 1.2, but must be 1.0, since `arms.taca-",
        ),
        (
            {"arms__baseline__guidance_window": [300.0]},
            "`arms.baseline.guidance_window` is [300.0], but must be a list",
        ),
        (
            {"arms__baseline__guidance_window": [900.0, 300.0], "arms__baseline__guidance": 3.0},
            "`arms.baseline.guidance_window` is [900.0, 300.0], but",
        ),
        (
            {"arms__baseline__guidance_window": [300.0, 900.0], "arms__baseline__guidance": 1.0},
            "`arms.baseline.guidance` is 1, which guides nothing, but `arms.baseline.guidance_window` is [300.0",
        ),
        ({"arms__baseline__method_seed": 3}, "`arms.baseline.method_seed` is 3, but `arms.baseline.method` is temp"),
        ({"arms__baseline__blocks": [1]}, "`arms.baseline.blocks` is for the method text-states alone"),
        (
            {"arms__baseline__guider": "apg"},
            "`arms.baseline.guidance` is 1, which guides nothing, but `arms.baseline.gui",
        ),
        (
            {
                "arms__baseline__guider": "apg",
                "arms__baseline__guidance": 3.0,
                "arms__baseline__guidance_window": [300.0, 900.0],
            },
            "`arms.baseline.guider` is apg, but cannot be combined with `arms.baseline.guidance_window`",
        ),
        ({"analyze__adapter": "tacar16"}, "`analyze.adapter` is 'tacar16', but must be one of `adapters`: none, "),
        ({"analyze__gammas": []}, "`analyze.gammas` is [], but must be a list of at least one gamma"),
        ({"arms__baseline__share": 0.5}, "`arms.baseline.share` is for the method log-count-bias alone"),
        ({"arms__baseline__method": "log-count-bias"}, "`arms.baseline.share` must be given with the method log-"),
        ({"arms__baseline__until": 800.0}, "`arms.baseline.until` is 800.0, but must lie above `arms.baseline.thres"),
        (
            {"arms__baseline__until": 990.0, "arms__baseline__threshold_tokens": 4096},
            "`arms.baseline.until` is 990.0, but cannot be combined with `arms.baseline.threshold_tokens`",
        ),
        (
            {"arms__taca-free__method": "log-count-bias", "arms__taca-free__share": 1.0},
            "`arms.taca-free.gamma` is 1.2, but must be 1.0, since `arms.taca-free.method` is log-count-bias, which",
        ),
        ({"arms": {}}, "`arms` is {}, but must be a mapping of at least one name."),
        ({"adapters": {}}, "`adapters` is {}, but must be a mapping of at least one name."),
        ({"arms": ABSENT}, "`arms` is missing; it must be a mapping of at least one name."),
        ({"train__steps": 0}, "`train.steps` is 0, but must be an integer of at least 1."),
        ({"train__steps": 2.5}, "`train.steps` is 2.5, but must be an integer of at least 1."),
        ({"threads": True}, "`threads` is True, but must be an integer of at least 1."),
        ({"prompts__source": "wrld"}, "`prompts.source` is 'wrld', but must be one of world, folder, compbench."),
        (
            {"base": None},
            "`base` is null, but must be a mapping with the keys name, source, and those that go with them.",
        ),
        ({"base": ABSENT}, "`base` is missing; it must be a mapping with the keys name, source, and those that go"),
        ({"base": {"name": "mine"}}, "`base.source` is missing; it must be one of world, hub, folder."),
        ({"base__source": "wrld"}, "`base.source` is 'wrld', but must be one of world, hub, folder."),
        ({"base__seed": -1}, "`base.seed` is -1, but must be an integer from 0 to 4294967295."),
        ({**PUBLISHED, "base__repo": "sd35"}, "`base.repo` is 'sd35', but must be owner/name, as on the hub."),
        ({**PUBLISHED, "base__variant": ABSENT}, "`base.variant` is missing; it must be a variant such as fp16, or"),
        (
            {**PUBLISHED, "encode__dtype": "float32"},
            "`encode.dtype` is 'float32', but must be bfloat16, that of the base (`base.dtype`).",
        ),
        (
            {**PUBLISHED, "base": {"name": "m", "source": "folder", "folder": "no/such", "dtype": "bfloat16"}},
            "`base.folder` is 'no/such', but must be a diffusers pipeline's folder, as `save_pretrained` writes it (it",
        ),
        (
            {**PUBLISHED, "score__clip": "base"},
            "`score.clip` is 'base', but must be openai, since `base.source` is hub and the built-in base alone ",
        ),
        (
            {**PUBLISHED, "prompts__source": "world", "prompts__parser": "rules", "score__spatial": "detector"},
            "`score.spatial` is 'detector', but must be unidet, since `base.source` is hub and the detector knows the "
            "drawings of the built-in base alone.",
        ),
        (
            {"arms__baseline": 3},
            "`arms.baseline` is 3, but must be a mapping with the keys gamma, threshold, ",
        ),
        (
            {"adapters__Bad Name": {"rank": 0}},
            "`adapters` has the name 'Bad Name', but a name must be lower-case letters, digits, - and _, ",
        ),
        (
            {"arms__baseline__adapter": "taca-r61"},
            "`arms.baseline.adapter` is 'taca-r61', but must be one of `adapters`: none, lora-only, taca-r16, taca-r64",
        ),
        ({"report__baseline": "basline"}, "`report.baseline` is 'basline', but must be one of `arms`: baseline, "),
        (
            {"adapters__taca-r64__rank": 512},
            "`adapters.taca-r64.rank` is 512, but must be at most 128, the width of the layers (`base.width`).",
        ),
        (
            {"adapters__taca-r64__alpha": ABSENT},
            "`adapters.taca-r64.alpha` is missing; it must be a finite number",
        ),
        ({"sample__folder": "here"}, "`sample.folder` is 'here', but must be lab/world, the code that draws."),
        ({"sample__folder": None}, "`sample.folder` is null, but must be lab/world, the code that draws."),
        (
            {"sample__source": "folder", "sample__folder": "no/such"},
            "`sample.folder` is 'no/such', but must be a folder that exists",
        ),
        ({"sample__source": "folder", "sample__folder": "a" * 999}, f"`sample.folder` is '{'a' * 999}', but must be a"),
        ({"prompts__folder": "here"}, "`prompts.folder` is 'here', but must be null, since `prompts.source` is world."),
        (
            {"train__precision": "bf16", "train__mixed_precision": "no"},
            "`train.mixed_precision` is 'no', but must be bf16, since `train.precision` is bf16 and the adapter is",
        ),
        ({"train__mixed_precision": "fp16"}, "`train.mixed_precision` is 'fp16', but must be one of no, bf16."),
        (
            {"train__caption_dropout": 0.1},
            "`encode.empty_caption` is False, but must be True, since `train.caption_dropout` is 0.1.",
        ),
        ({"train__caption_dropout": 1}, "`train.caption_dropout` is 1, but must be a number of at least 0 and below 1"),
        ({"train__warmup_steps": 125}, "`train.warmup_steps` is 125, but must be below `train.steps`, which is 125."),
        ({"train__targets": []}, "`train.targets` is [], but must be a list of ends of layers' names, or null"),
        ({"train__precision": "int8"}, "`train.precision` is 'int8', but must be one of float32, bf16, nf4."),
        ({"train__preview": {"every": 200}}, "`train.preview.every` is 200, but must be at most `train.steps`, which"),
        (
            {"train__preview": {"every": 5, "images": 129}},
            "`train.preview.images` is 129, but must be at most `train.held_out`, which is 128.",
        ),
        ({"train__preview": {"every": 0}}, "`train.preview.every` is 0, but must be an integer of at least 1."),
        ({"train__preview": {"images": 2}}, "`train.preview.every` is missing; it must be an integer of at least 1."),
        (
            {"train__preview": {"every": 5, "image": 2}},
            "`train.preview.image` (2) is not a known key (did you mean `images`?); `train.preview` takes ",
        ),
        (
            {"train__preview": 5},
            "`train.preview` is 5, but must be a mapping with the keys every, images, num_inference_steps, guid",
        ),
        ({"train__compile": "yes"}, "`train.compile` is 'yes', but must be true or false."),
        ({"encode__aspects": []}, "`encode.aspects` is [], but must be a list of at least one width / height."),
        ({"score__attribute": "blip"}, "`score.attribute` is 'blip', but must be one of detector, blip-vqa."),
        ({"score__mode": "fixed"}, "`score.mode` is 'fixed', but must be one of official, corrected."),
        ({"score__device": "gpu"}, "`score.device` is 'gpu', but must be one of cpu, cuda."),
        ({"score__quality": "musiq"}, "`score.quality` is 'musiq', but must be a list of musiq, maniqa, both or none."),
        ({"score__quality": ["niqe"]}, "`score.quality.0` is 'niqe', but must be one of musiq, maniqa."),
        (
            {"score__attribute": "blip-vqa"},
            "`score.weights` is null, but must be the folder that `python -m compbench.weights` fills, since "
            "`score.attribute` is blip-vqa.",
        ),
        ({"score__spatial": "unidet"}, "`score.weights` is null, but must be the folder that `python -m compbench."),
        ({"score__clip": "openai"}, "`score.weights` is null, but must be the folder that `python -m compbench."),
        (
            {"score__quality": ["maniqa"]},
            "`score.weights` is null, but must be the folder that `python -m compbench.weights` fills, since "
            "`score.quality` has maniqa.",
        ),
        (
            {**BENCHMARK, "score__attribute": "detector"},
            "`score.attribute` is 'detector', but must be blip-vqa, since `prompts.source` is compbench and the "
            "detector knows the built-in world's words alone.",
        ),
        ({**BENCHMARK, "score__spatial": "detector"}, "`score.spatial` is 'detector', but must be unidet, since"),
        (
            {**BENCHMARK, "prompts__parser": "rules"},
            "`prompts.parser` is 'rules', but must be spacy-3.6, spacy, or the file that `make parse` writes, since ",
        ),
        (
            {"prompts__edition": "before-2025-09"},
            "`prompts.edition` is 'before-2025-09', but must be current, since `prompts.source` is world and only ",
        ),
        ({"prompts__split": "train+val"}, "`prompts.split` is 'train+val', but must be val or train, since "),
        (
            {"prompts__categories": []},
            "`prompts.categories` is [], but must be a list of the benchmark's categor",
        ),
        (
            {"generate__height": 64},
            "`generate.width` is null, but must be given with `generate.height`, or ",
        ),
        (
            {"generate__attention": ["flash", "flash", "math", "cudnn"]},
            "`generate.attention` is ['flash', 'flash', 'math', 'cudnn'], but must name flash, cudnn, efficient ",
        ),
        (
            {"generate__attention": ["math"]},
            "`generate.attention` is ['math'], but must be a list of flash, cud",
        ),
        (
            {"generate__workers": 2, "generate__compile": True},
            "`generate.workers` is 2, but must be 1 with `generate.compile`, `generate.quantization` or "
            "`generate.offload`, which are for one copy of the base on a GPU.",
        ),
        (
            {"generate__offload": "group", "generate__compile": True, "generate__workers": 1},
            "`generate.offload` is group, but must be none with `generate.compile` or `generate.quantization`: blocks ",
        ),
        (
            {"published_adapters__taca-r16": THEIRS},
            "`published_adapters.taca-r16` has the name of one of `adapters`, but both write models/adapters/taca-r16",
        ),
        (
            {"published_adapters__theirs": {**THEIRS, "revision": None}},
            "`published_adapters.theirs.revision` is null, but must be given with `published_adapters.theirs.repo`, or",
        ),
        (
            {"published_adapters__theirs": {**THEIRS, "repo": None, "revision": None}},
            "`published_adapters.theirs.file` is 'lora.safetensors', but must be a file that exists, since ",
        ),
        (
            {"published_adapters__theirs": {**THEIRS, "sha256": "abc"}},
            "`published_adapters.theirs.sha256` is 'abc', but must be 64 hex digits, or null to record them when",
        ),
        ({"arms__baseline__adapter": "thiers"}, "`arms.baseline.adapter` is 'thiers', but must be one of `adapters`"),
        (
            {**BENCHMARK, "prompts__parser": "no/such.jsonl"},
            "`prompts.parser` is 'no/such.jsonl', but must be rules, spacy, spacy-3.6, or a file that exists, such "
            "as data/parses/compbench.jsonl, which `make parse` writes.",
        ),
    ],
)
def test_fault_is_one_sentence_with_key_value_and_what_is_allowed(defaults, values, fault):
    (found,) = faults_of(changed(defaults, **values))
    assert found.startswith(f"params.yaml: {fault}")
    assert "\n" not in found


@pytest.mark.parametrize(
    "values",
    [
        BENCHMARK,
        {**BENCHMARK, "prompts__parser": str(DEFAULTS)},  # any file: what it holds is for the stage to see
        {
            **BENCHMARK,
            "prompts__source": "world",
            "prompts__parser": "rules",
            "score__quality": ["musiq", "maniqa"],
            "score__mode": "corrected",
        },
    ],
    ids=["spacy", "parses", "world"],
)
def test_published_scorers_go_with_the_benchmarks_prompts_and_the_worlds(defaults, values):
    assert validate(changed(defaults, **values)).score.spatial == "unidet"


def test_a_base_from_a_hub_or_a_folder_goes_with_published_scorers(defaults, tmp_path):
    (tmp_path / "model_index.json").touch()
    own = {"name": "mine", "source": "folder", "folder": str(tmp_path), "dtype": "bfloat16"}
    for base in (HUB, own):
        assert validate(changed(defaults, **{**PUBLISHED, "base": base})).base.source == base["source"]


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        (
            {"arms__baseline__gamma": ABSENT, "arms__baseline__gama": 1.2},
            "`arms.baseline.gama` (1.2) is not a known key (did you mean `gamma`?); `arms.baseline` takes gamma, ",
        ),
        ({"armz": {}}, "`armz` ({}) is not a known key (did you mean `arms`?); the file takes threads, base, "),
        ({"train__nonsense": 1}, "`train.nonsense` (1) is not a known key; `train` takes steps, "),
        ({**PUBLISHED, "base__threads": 1}, "`base.threads` (1) is not a known key; `base` takes name, source, repo, "),
        (
            {**PUBLISHED, "base__revision": ABSENT, "base__revison": "main"},
            "`base.revison` ('main') is not a known key (did you mean `revision`?); `base` takes name, source, repo, ",
        ),
        ({"base__repo": "a/b"}, "`base.repo` ('a/b') is not a known key; `base` takes name, source, threads, seed, "),
    ],
)
def test_unknown_key_is_refused_with_the_one_that_was_meant(defaults, values, fault):
    (found,) = faults_of(changed(defaults, **values))
    assert found.startswith(f"params.yaml: {fault}")


@pytest.mark.parametrize("key", [7, 1.5, None, True])
def test_a_key_that_is_no_text_is_not_known(defaults, key):
    (of_section,) = faults_of(defaults | {"train": defaults["train"] | {key: 1}})
    (of_file,) = faults_of(defaults | {key: 1})
    assert "is not a known key; `train` takes steps, " in of_section
    assert "is not a known key; the file takes threads, " in of_file


def test_each_fault_has_its_sentence(defaults):
    faults = faults_of(changed(defaults, threads=0, train__steps=0, arms__baseline__guidance=0.5))
    assert len(faults) == 3


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("threads: 2\nthreads: 3\n", "line 2 repeats the key `threads`; keep one of the two."),
        ("arms:\n  a: {gamma: 1}\n  a: {gamma: 2}\n", "line 3 repeats the key `a`; keep one of the two."),
        ("threads: [2\n", "not valid YAML at line 2 ("),
        ("[" * 9999, "not valid YAML (maximum recursion depth exceeded"),
        (f"threads: {'9' * 5000}\n", "not valid YAML (Exceeds the limit"),
        ("", "must be a mapping of keys to values, but is None."),
        ("- threads\n", "must be a mapping of keys to values, but is ['threads']."),
    ],
)
def test_faulty_yaml_is_one_sentence(tmp_path, text, fault):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError) as caught:
        load(path)
    (found,) = caught.value.faults
    assert found.startswith(f"{path}: {fault}")


def test_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(ParamsError, match="there is no such file; run from the repository's root"):
        load(tmp_path / "params.yaml")


def test_numbers_are_read_as_dvc_reads_them(tmp_path):
    """YAML 1.2: 1e-4 is a number (PyYAML takes it for a string), `no` is a string."""
    (tmp_path / "a.yaml").write_text("rate: 1e-4\nname: no\n")
    assert read_yaml(tmp_path / "a.yaml") == {"rate": 1e-4, "name": "no"}


def test_program_prints_faults_and_no_traceback(tmp_path, defaults):
    text = DEFAULTS.read_text()
    (tmp_path / "params.yaml").write_text(text.replace("threads: 2", "threads: 0", 1))
    done = subprocess.run(
        [sys.executable, "-m", "lab.preflight"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == "params.yaml: `threads` is 0, but must be an integer of at least 1.\n"


def test_loading_imports_nothing_heavy():
    """`make repro` and stage `check` answer at once."""
    code = "import sys, lab.params, runtime.execution; print({'torch', 'mlflow', 'pandas', 'dvc'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
