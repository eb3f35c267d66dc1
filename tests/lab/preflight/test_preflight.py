"""What a published base needs is taken away piece by piece: each is a sentence with its remedy, and nothing runs."""

import json
import os
import re
import shutil
import stat

import pytest
import torch
import yaml

from tests.chat_server import MODEL, ChatServer
from tests.hub_server import TOKEN
from tests.lab.data.test_draw import write_tables
from tests.published_clone import ADAPTER, BASE, ROOT, Clone
from tests.tiny_llava import save_tiny_llava

WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
FETCHES = ("base", "fetch")  # the stages that look at an adapter's file
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU that PyTorch can use")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    clone = Clone(tmp_path_factory.mktemp("clone"))
    yield clone
    clone.close()


@pytest.fixture
def clone(whole):
    """Nothing is missing at first, nor in the next test."""
    yield whole
    hub = whole.hub
    hub.gated, hub.status = False, None
    hub.sizes.clear()


def the_one(sentences):
    assert len(sentences) == 1, sentences
    assert "\n" not in sentences[0]
    return sentences[0]


def made(root):
    """The files in the repository, without those of Python and DVC."""
    files = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return {file.as_posix() for file in files if not {"__pycache__", ".dvc"} & set(file.parts)}


def nvidia_smi(folder, driver, free):
    """A program of that name, which answers as NVIDIA's does; the PATH on which it is found."""
    folder.mkdir()
    program = folder / "nvidia-smi"
    program.write_text(f'#!/bin/sh\necho "0, GPU-12345678, NVIDIA A100-SXM4-80GB, {driver}, 81920, {free}"\n')
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.long
def test_with_all_in_place_nothing_is_missing_and_nothing_is_made(clone):
    before = made(clone.root)
    assert clone.missing() == []
    assert made(clone.root) - before <= {"params.yaml", "weights/.hashes.json"}  # this is a memory of what was read
    assert [name for name in clone.hub.asked if not name.endswith((".json", "lora.safetensors"))] == []


@pytest.mark.long
def test_a_gate_without_a_token_is_said_of_base_and_adapter(clone):
    clone.hub.gated = True
    base, adapter = clone.missing()
    assert base == (
        f"base: {BASE} is given to those alone who have accepted its licence: accept it at {clone.hub.url}/{BASE}, "
        "then log in with `hf auth login`, or set HF_TOKEN to a token that may read it."
    )
    assert adapter.startswith(f"fetch@theirs: lora.safetensors of {ADAPTER} at main is not given to everyone: ask for")
    assert clone.missing(HF_TOKEN=TOKEN) == []


def test_a_revision_that_is_gone_is_named(clone):
    assert the_one(clone.missing(changes={"base": {"revision": "gone"}})).startswith(
        f"base: `base.revision` is 'gone', but {BASE} has no such branch, tag or commit: "
    )


@pytest.mark.long
def test_an_adapters_file_that_is_gone_is_named_beside_those_that_are_there(clone):
    theirs = clone.params["published_adapters"]["theirs"] | {"file": "other.safetensors"}
    assert the_one(clone.missing(changes={"published_adapters": {"theirs": theirs}})) == (
        f"fetch@theirs: other.safetensors of {ADAPTER} at main is not on the hub, where the repository has "
        "lora.safetensors: correct `file`."
    )


@pytest.mark.long
def test_an_adapters_file_that_has_changed_is_refused_by_its_hash(clone):
    theirs = clone.params["published_adapters"]["theirs"]
    digest = clone.publish(clone.checkpoints["sd35-medium"], {})
    assert clone.missing(*FETCHES, changes={"published_adapters": {"theirs": theirs | {"sha256": digest}}}) == []
    said = the_one(clone.missing(*FETCHES, changes={"published_adapters": {"theirs": theirs | {"sha256": "0" * 64}}}))
    assert said.startswith(f"fetch@theirs: lora.safetensors has sha256 {digest}, but ")


@pytest.mark.parametrize(
    ("base", "metadata", "fault"),
    [
        ("flux-dev", {}, "does not fit the base tiny: "),
        ("sd35-medium", {"taca.base": "other"}, "was trained on the base other, but `base.name` is tiny: "),
        ("sd35-medium", {"taca.base": "tiny", "taca.precision": "nf4"}, "was trained on a base in nf4, but is drawn "),
    ],
)
def test_an_adapter_for_another_base_family_or_precision_is_refused_by_its_header(clone, base, metadata, fault):
    clone.publish(clone.checkpoints[base], metadata)
    try:
        assert the_one(clone.missing(*FETCHES)).startswith(f"fetch@theirs: The adapter theirs {fault}")
    finally:
        clone.publish(clone.checkpoints["sd35-medium"], {})


@pytest.mark.long
def test_adapters_trained_here_are_drawn_in_their_precision(clone):
    assert the_one(clone.missing("base", "generate", changes={"train": {"precision": "float32"}})).startswith(
        "generate: The adapter small was trained on a base in float32, but is drawn with one in bf16: set "
    )


def test_a_prompt_without_a_parse_is_named(clone):
    parses = clone.root / "parses.jsonl"
    parses.write_text("")
    said = the_one(clone.missing("prompts", changes={"prompts": {"parser": str(parses)}}))
    assert said.startswith(f"prompts: {parses} holds no parse of the prompt ")
    assert "`make parse" in said


def test_weights_of_scorers_are_named_with_the_command_that_fetches_them(clone):
    """A base from the hub is the consent to fetch them; this one lies in a folder."""
    folder = {"name": "tiny", "source": "folder", "folder": str(clone.checkpoints["sd35-medium"]), "dtype": "bfloat16"}
    kept = clone.params["base"]
    clone.params["base"] = folder
    file = clone.root / "weights" / "unidet" / "learned_mAP+M.json"
    content = file.read_text()
    file.unlink()
    try:
        assert the_one(clone.missing("score")) == (
            "score: weights lacks unidet/learned_mAP+M.json: fetch with `python -m compbench.weights spatial`, which "
            "can also take them from a folder (--from)."
        )
    finally:
        file.write_text(content)
        clone.params["base"] = kept


def test_a_world_only_scorer_is_refused_on_a_published_base(clone):
    assert "`score.spatial` is 'detector', but must be unidet, since " in the_one(
        clone.missing(changes={"score": {"spatial": "detector"}})
    )


@pytest.mark.long
def test_a_disk_that_is_too_small_is_said_with_all_that_needs_it(clone):
    clone.hub.sizes[WEIGHTS] = 10**15
    clone.params["generate"]["images_per_prompt"], kept = 10**4, clone.params["generate"]["images_per_prompt"]
    try:
        (said,) = clone.missing(TACA_ALLOW_CPU="1")
    finally:
        clone.params["generate"]["images_per_prompt"] = kept
    assert said.startswith("disk: ")
    needed = rf" GB are needed \(the files of {BASE} 1000000\.0, results/images/small 0\.2, results/images/theirs "
    assert re.search(needed, said)
    assert "set HF_HOME to a larger disk for what is downloaded" in said


@pytest.mark.long
@no_gpu
def test_a_large_base_on_a_cpu_has_to_be_asked_for(clone):
    clone.hub.sizes[WEIGHTS] = 2 * 10**9
    assert the_one(clone.missing()) == (
        "GPU: The base is 2.0 GB large, and PyTorch finds no GPU here: compute where there is one, or set "
        "TACA_ALLOW_CPU=1 if it shall take days on the CPU."
    )
    assert clone.missing("base", "encode", TACA_ALLOW_CPU="1") == []


@pytest.mark.long
@no_gpu
def test_an_old_driver_is_named_with_the_one_that_is_needed(clone, tmp_path):
    path = nvidia_smi(tmp_path / "old", driver="535.104.05", free=80000)
    said = the_one(clone.missing(PATH=path))
    assert said.startswith(
        f"GPU: nvidia-smi lists NVIDIA A100-SXM4-80GB, which PyTorch {torch.__version__} cannot use: "
    )
    if torch.version.cuda and torch.version.cuda.startswith("13."):
        assert f"the driver is 535.104.05, and CUDA {torch.version.cuda} needs one of series 580 or later; " in said
    assert clone.missing("base", "encode", PATH=path, TACA_ALLOW_CPU="1") == []
    assert clone.missing("base", "encode", PATH=path, CUDA_VISIBLE_DEVICES="1") == []


@pytest.mark.long
@no_gpu
def test_too_little_memory_on_the_gpu_is_said_before_anything_is_loaded(clone, tmp_path):
    new = nvidia_smi(tmp_path / "new", driver="580.65.06", free=0)
    unusable, full = clone.missing(PATH=new)
    assert "though the driver 580.65.06 is new enough (" in unusable
    assert full.startswith("GPU: Stage ")
    assert "by the estimate, and NVIDIA A100-SXM4-80GB has 0.0 GB free of 85.9: end what else is on it" in full


def test_sizes_layers_and_ranks_that_the_base_cannot_take_are_refused_together(clone):
    found = clone.missing(
        changes={
            "encode": {"resolution": 100},
            "generate": {"height": 100},
            "train": {"targets": ["to_nothing"], "guidance": 3.5},
        }
    )
    assert [sentence.partition(":")[0] for sentence in found] == ["encode", "generate", "train", "train@small"]


ADDRESSES = {
    "source": "urls",
    **{"folder": "lab/hosted", "repo": "some/table", "revision": "main", "address": None, "files": "*.parquet"},
    "columns": {"url": "URL", "caption": "TEXT", "width": "WIDTH", "height": "HEIGHT", "sha256": None},
    **{"filters": {}, "max_aspect": None, "min_side": 64, "max_pixels": 10**6, "max_bytes": 10**6},
    **{"duplicate_distance": 4, "candidates": 3, "contact": "me@example.org", "honour_opt_outs": True},
    "loopback_port": None,
}


@pytest.fixture
def table(clone, tmp_path):
    """A table of addresses on the clone's hub, which is gone afterwards."""
    write_tables(tmp_path / "table", 1, 20)
    yield clone.hub.add("some/table", tmp_path / "table")
    del clone.hub.repositories["some/table"]


@pytest.mark.long
def test_a_table_of_addresses_that_can_be_read_lacks_nothing(clone, table):
    """Its footer is all that is read of it, once."""
    clone.hub.asked.clear()
    for _ in range(2):
        assert clone.missing("sample", changes={"sample": ADDRESSES}) == []
    assert clone.hub.asked.count("part-00000.parquet") == 1


@pytest.mark.long
def test_who_may_be_written_to_is_asked_before_anything_is_fetched(clone, table):
    nobody = ADDRESSES | {"contact": None}
    assert the_one(clone.missing("sample", changes={"sample": nobody})).startswith(
        "sample: `sample.contact` is null and TACA_CONTACT is not set: set one of them to an address of yours, by mail "
    )
    assert "TACA_CONTACT is 'me'" in the_one(clone.missing("sample", changes={"sample": nobody}, TACA_CONTACT="me"))
    assert clone.missing("sample", changes={"sample": nobody}, TACA_CONTACT="me@example.org") == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"repo": "some/other"}, "`sample.repo` is 'some/other', but the hub has none of that name, or it is private"),
        ({"revision": "gone"}, "`sample.revision` is 'gone', but some/table has no such branch, tag or commit: "),
        ({"files": "*.tar"}, "`sample.files` is '*.tar', but hf://datasets/some/table@"),
        ({"columns": ADDRESSES["columns"] | {"url": "url"}}, "`sample` names the column url, but hf://datasets/some/"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_before_anything_runs(clone, table, change, said):
    assert the_one(clone.missing("sample", changes={"sample": ADDRESSES | change})).startswith(f"sample: {said}")


@pytest.mark.long
def test_a_gated_table_wants_a_token_and_a_hub_that_is_down_a_network(clone, tmp_path):
    write_tables(tmp_path / "table", 1, 30)
    clone.hub.add("some/gated", tmp_path / "table")
    changes, clone.hub.gated = {"sample": ADDRESSES | {"repo": "some/gated"}}, True
    assert the_one(clone.missing("sample", changes=changes)).startswith(
        "sample: some/gated is given to those alone who have accepted its licence: accept it at "
    )
    assert clone.missing("sample", changes=changes, HF_TOKEN=TOKEN) == []
    clone.hub.gated, clone.hub.status = False, 503
    assert the_one(clone.missing("sample", changes=changes)).startswith("sample: The hub answers with status 503 for ")


def test_images_that_do_not_fit_the_disk_are_counted_as_they_come_and_as_they_are_written(clone, table):
    many = ADDRESSES | {"size": 10**9, "min_side": 1024}
    said = the_one(clone.missing("sample", changes={"sample": many}))
    assert "data/sample 3145728.0, images as they are fetched 943718.4" in said


@pytest.mark.long
def test_only_the_named_stages_are_looked_at(clone):
    clone.hub.status = 503
    assert the_one(clone.missing("base")).startswith(f"base: The hub answers with status 503 for {BASE}: see that it ")
    assert clone.missing("prompts", "sample") == []


def test_a_broken_connection_is_one_sentence_with_what_to_do(clone):
    clone.hub.status = 503
    assert len(clone.missing()) == 2  # base and adapter


@pytest.mark.slow
def test_a_base_that_is_pinned_fetched_and_current_is_asked_of_nobody(clone):
    """And in a clone without the weights the sentence says how they come."""
    clone.missing()
    done = clone.run("dvc", "repro", "-q", "base")
    assert done.returncode == 0, done.stderr
    pin = json.loads((clone.root / "models/base/tiny/pin.json").read_text())
    clone.hub.status = 503
    clone.hub.asked.clear()
    assert clone.missing("base", "encode", "train", "generate@small") == []
    assert clone.hub.asked == []
    blob = next((clone.root.parent / "home" / "hub").rglob("diffusion_pytorch_model*.safetensors")).resolve()
    blob.rename(blob.with_suffix(".away"))
    assert the_one(clone.missing("encode")).endswith(
        f"does not have all of {BASE} at {pin['commit']}: `dvc repro -f -s base` downloads what is missing."
    )
    blob.with_suffix(".away").rename(blob)


@pytest.mark.slow
def test_a_flow_says_what_is_missing_and_runs_no_stage(clone):
    """`make repro` is told by the same program (`tests/test_makefile.py`)."""
    clone.missing(changes={"base": {"revision": "gone"}})
    done = clone.run("python", "-m", "flows.pipeline", HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert (
        "The pipeline did not finish: Nothing was run, since one thing is missing:\n- base: `base.revision`"
        in done.stderr
    )
    assert not (clone.root / "data" / "prompts.parquet").exists()
    assert clone.run("python", "-m", "lab.preflight", HF_HUB_OFFLINE="1").returncode == 1


def test_of_a_profile_all_stages_are_looked_at_whatever_has_run(clone):
    """`make estimate PROFILE=...` leaves params.yaml alone; faults of the profile have a status of their own."""
    (clone.root / "experiments/profiles").mkdir(parents=True, exist_ok=True)
    clone.missing("base", changes={"base": {"revision": "gone"}})
    wanted = (clone.root / "params.yaml").read_text()
    shutil.copy2(ROOT / "experiments/defaults.yaml", clone.root / "experiments/defaults.yaml")
    shutil.copy2(ROOT / "experiments/defaults.yaml", clone.root / "params.yaml")
    kept = ("base", "encode", "generate", "train")
    profile = {key: value for key, value in yaml.safe_load(wanted).items() if key in kept}
    profile["score"] = yaml.safe_load(wanted)["score"]
    profile["prompts"] = yaml.safe_load(wanted)["prompts"]
    profile["analyze"] = {"dtype": "bfloat16"}
    (clone.root / "experiments/profiles/gone.yaml").write_text(yaml.safe_dump(profile))
    said = clone.status("--profile", "gone")
    assert said.startswith("Nothing was run, since one thing is missing:\n- base: `base.revision` is 'gone'")
    assert clone.status("--profile", "none-such") == 2


@pytest.fixture(scope="module")
def captioner(whole, tmp_path_factory):
    """A LLaVA on the hub, and the section that asks for it."""
    repository = whole.hub.add("some/llava", save_tiny_llava(tmp_path_factory.mktemp("llava")))
    asked = {"repo": "some/llava", "revision": repository.commit, "prompt": "Describe it.", "max_tokens": 8}
    asked |= {"temperature": 0.7, "seed": 1, "dtype": "float16", "batch_size": 2}
    return {"captioner": "llava"} | asked


@pytest.mark.long
def test_a_captioner_that_can_be_had_lacks_nothing_and_none_of_its_weights_are_fetched(clone, captioner):
    assert clone.missing(changes={"caption": captioner}) == []
    assert not any(name.startswith("model-") for name in clone.hub.asked)


@pytest.mark.long
def test_a_captioner_that_is_not_there_is_named_by_its_key(clone, captioner):
    said = the_one(clone.missing(changes={"caption": captioner | {"repo": "some/none"}}))
    assert said.startswith("caption: `caption.repo` is 'some/none', but the hub has none of that name")
    said = the_one(clone.missing(changes={"caption": captioner | {"revision": "f" * 40}}))
    assert said.startswith(f"caption: `caption.revision` is '{'f' * 40}', but some/llava has no such branch, tag or")


@pytest.mark.long
@no_gpu
def test_a_captioner_of_gigabytes_is_not_computed_on_a_cpu_unasked(clone, captioner):
    clone.hub.sizes["model.safetensors.index.json"] = 14 * 10**9
    found = clone.missing(changes={"caption": captioner})
    assert [said for said in found if said.startswith("GPU: The captioner is 14.0 GB large, and PyTorch finds no GPU")]


@pytest.fixture
def served():
    """A server of captions, and the section that asks it."""
    server = ChatServer()
    asked = {"captioner": "endpoint", "base_url": server.base_url, "model": MODEL, "prompt": "Describe it."}
    asked |= {"max_tokens": 8, "temperature": 0.7, "seed": 1, "concurrency": 2, "timeout": 5.0, "retries": 0}
    yield server, {"table": "data/sample/index.parquet"} | asked
    server.close()


def test_an_endpoint_that_answers_lacks_nothing_and_is_asked_once(clone, served):
    server, section = served
    assert clone.missing("caption", changes={"caption": section}) == []
    (asked,) = server.asked
    assert (asked["model"], asked["max_tokens"], asked["temperature"]) == (MODEL, 8, 0.0)


@pytest.mark.long
def test_an_endpoint_that_does_not_answer_or_has_not_the_model_is_said_before_anything_runs(clone, served):
    server, section = served
    server.behave = lambda asked, before: 404
    said = the_one(clone.missing("caption", changes={"caption": section | {"model": "lava"}}))
    assert said.startswith(f"caption: {server.base_url} has no model 'lava' (")
    assert f", but has {MODEL}: correct `caption.model`" in said
    server.close()
    said = the_one(clone.missing("caption", changes={"caption": section}))
    assert said.startswith(f"caption: {server.base_url} cannot be reached (")
