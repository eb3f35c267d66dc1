"""What a manifest says, and that it says it in the same bytes each time."""

import hashlib
import json
from dataclasses import replace
from importlib.util import find_spec

import pytest

from compbench.errors import CompbenchError
from compbench.manifest import build_manifest, hash_weights
from compbench.scorers.choice import Choice
from compbench.scorers.interface import Prompt
from compbench.scorers.mode import Mode
from compbench.weights.registry import NEEDS, WeightFile

WORLD = Choice(attribute="detector", spatial="detector", clip="base")
OFFICIAL_PARSER = "spacy 3.5.3 en_core_web_sm 3.5.0"
SPATIAL = [
    Prompt(0, "a dog on top of a cat", "complex", ("a dog", "a cat"), ("dog", "cat"), "on top of", subset="spatial"),
    Prompt(1, "a dog near a wallet", "spatial", (), ("dog", "wallet"), "near", parser=OFFICIAL_PARSER),
    Prompt(2, "a dog near a cat", "spatial", (), ("dog", "cat"), "near", parser="rules"),
    Prompt(3, "a red dog", "color", ("a red dog",)),
]
CATEGORIES = ("complex", "spatial", "color")
PATHS = {
    "color": ("blip/net.pth",),
    "spatial": ("unidet/net.pth", "unidet/learned_mAP+M.json"),
    "non_spatial": ("clip/net",),
    "quality": ("quality/net",),
}
PATHS["complex"] = PATHS["color"] + PATHS["spatial"] + PATHS["non_spatial"]


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Files of a few bytes under the names that each category needs."""
    for category, paths in PATHS.items():
        monkeypatch.setitem(NEEDS, category, tuple(WeightFile(path, "https://example.org") for path in paths))
    for path in PATHS["complex"] + PATHS["quality"]:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(path)
    categories = [{"id": 0, "name": "Dog__"}, {"id": 1, "name": "Cat__"}]
    (tmp_path / "unidet/learned_mAP+M.json").write_text(json.dumps({"categories": categories}))
    return tmp_path


def test_same_inputs_give_the_same_bytes_without_any_absolute_path(weights):
    choice = Choice(weights=weights)
    first, second = (json.dumps(build_manifest(choice, SPATIAL, CATEGORIES, {"images": 10})) for _ in range(2))
    assert first == second
    assert str(weights) not in first


def test_manifest_says_mode_protocol_device_and_what_each_metric_computes_in(weights):
    choice = Choice(weights=weights, device="cpu", dtype="float16")
    found = build_manifest(choice, SPATIAL, CATEGORIES, {"images": 10})
    assert (found["mode"], found["device"], found["protocol"]) == ("official", "cpu", {"images": 10})
    assert found["scorers"] == {
        "attribute": {"scorer": "blip-vqa", "dtype": "float32"},
        "spatial": {"scorer": "unidet", "dtype": "float16"},
        "clip": {"scorer": "openai", "dtype": "float16"},
    }
    assert {"python", "torch", "spacy"} <= found["versions"].keys()


def test_weights_are_named_with_their_hashes(weights):
    found = hash_weights(Choice(weights=weights, quality=("maniqa",)), ("color",))
    assert found == {path: hashlib.sha256(path.encode()).hexdigest() for path in ("blip/net.pth", "quality/net")}


@pytest.mark.skipif(find_spec("pyiqa") is None, reason="pyiqa is an extra: `make quality`")
def test_image_quality_is_named_with_the_version_behind_it(weights):
    found = build_manifest(Choice(weights=weights, quality=("musiq",)), SPATIAL, CATEGORIES, {})
    assert found["scorers"]["musiq"] == {"scorer": "musiq", "dtype": "float32"}
    assert found["versions"]["pyiqa"]


@pytest.mark.skipif(find_spec("pyiqa") is not None, reason="pyiqa is installed")
def test_image_quality_without_pyiqa_is_refused_with_the_remedy(weights):
    with pytest.raises(CompbenchError, match=r"The maniqa scorer needs pyiqa, .* run `make quality`"):
        build_manifest(Choice(weights=weights, quality=("maniqa",)), SPATIAL, CATEGORIES, {})


def test_scorers_of_the_built_in_world_need_no_weights():
    found = build_manifest(WORLD, SPATIAL, CATEGORIES, {})
    assert found["weights"] == found["never_score"] == {}
    assert build_manifest(replace(WORLD, mode=Mode.CORRECTED), SPATIAL, CATEGORIES, {})["corrections"] == []


def test_of_mixed_scorers_only_the_published_ones_weights_are_needed(weights):
    """Complex by BLIP and the world's detector: neither UniDet's nor CLIP's files."""
    choice = replace(WORLD, attribute="blip-vqa", weights=weights)
    assert list(build_manifest(choice, SPATIAL, ("complex",), {})["weights"]) == ["blip/net.pth"]


def test_missing_weights_are_named(weights):
    (weights / "clip/net").unlink()
    with pytest.raises(CompbenchError, match=r"lacks clip/net: fetch with `python -m compbench.weights complex"):
        build_manifest(Choice(weights=weights), SPATIAL, ("complex",), {})


def test_every_parser_is_labelled(weights):
    found = build_manifest(Choice(weights=weights), SPATIAL[1:3], ("spatial",), {})
    assert found["parsers"] == [
        {"label": "rules: not the official parser", "official": False},
        {"label": OFFICIAL_PARSER, "official": True},
    ]


def test_another_parse_of_the_same_prompts_is_another_hash():
    one, other = SPATIAL, [*SPATIAL[:-1], replace(SPATIAL[-1], phrases=("red dog",))]
    hashes = {build_manifest(WORLD, prompts, CATEGORIES, {})["prompts"]["sha256"] for prompts in (one, other)}
    assert len(hashes) == 2


def test_official_mode_names_the_prompts_that_never_score(weights):
    found = build_manifest(Choice(weights=weights), SPATIAL, CATEGORIES, {})
    assert found["never_score"] == {
        "complex": {'the benchmark has no rule for "on top of"': ["a dog on top of a cat"]},
        "spatial": {'no label of the detector is "wallet"': ["a dog near a wallet"]},
    }
    assert "corrections" not in found


def test_corrected_mode_lists_each_correction_with_its_share_of_prompts(weights):
    found = build_manifest(Choice(weights=weights, mode=Mode.CORRECTED), SPATIAL, CATEGORIES, {})
    shares = {one["name"]: one["share"] for one in found["corrections"]}
    assert shares["complex: on top of"] == 1
    assert shares["spatial: on top of"] == 0
    assert shares["color: no rounding"] == 1
    assert not any(name.startswith("shape") for name in shares)
    assert all(one["what"] for one in found["corrections"])
    assert found["never_score"] == {"spatial": {'no label of the detector means "wallet"': ["a dog near a wallet"]}}


def test_corrected_mode_computes_cosines_in_float32_and_says_so(weights):
    """Its list of corrections says that cosines are not rounded to half precision."""
    choice = Choice(weights=weights, mode=Mode.CORRECTED, dtype="float16")
    found = build_manifest(choice, SPATIAL, CATEGORIES, {})["scorers"]
    assert found["clip"] == {"scorer": "openai", "dtype": "float32"}
    assert found["spatial"] == {"scorer": "unidet", "dtype": "float16"}
