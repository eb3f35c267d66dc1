"""What the command refuses: each fault named, with what to do, and before a model is loaded where that can be."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from compbench.scorers import build
from compbench.scorers.blip.checkpoint import NAME
from compbench.scorers.unidet.detector import FILES
from compbench.val_prompts import read_compbench_prompts
from tests.compbench.command.running import (
    COMPLEX,
    PROMPTS,
    parse_line,
    scores_of,
    write_images,
    write_table_of_prompts,
)


@pytest.fixture
def refused(command, monkeypatch):
    """Runs the command, which must end with a sentence before a model is loaded, and returns the sentence."""
    monkeypatch.setattr(build, "build_measures", lambda *_: pytest.fail("models were loaded"))

    def run(*more: str, **where: str) -> str:
        return sentence(command, *more, **where)

    return run


def sentence(command, *more, **where) -> str:
    with pytest.raises(SystemExit) as ended:
        command.run(*more, **where)
    assert isinstance(ended.value.code, str)
    assert not (command.root / "out" / "scores.parquet").exists()
    return ended.value.code


def test_an_image_that_cannot_be_read(command, refused):
    path = command.images[3]
    path.write_bytes(path.read_bytes()[:-30])
    said = refused()
    assert f"{path} is damaged or cut short" in said
    assert "make it again, or move it away and score the others with --partial" in said


@pytest.mark.parametrize("name", ["a red circle.png", "a_b_000001.png", "a red circle_1.jpg", ".DS_Store"])
def test_a_file_name_that_does_not_match_the_layout(command, refused, name):
    shutil.copy(command.images[0], command.images[0].with_name(name))
    said = refused()
    assert f"{name} is not named {{prompt}}_{{index:06d}}.png as the benchmark's images are: rename it, or move" in said


def test_prompts_of_another_category(command, refused):
    """Of the benchmark's, whatever prompts are scored."""
    prompt = read_compbench_prompts("texture")[7]
    shutil.copy(command.images[0], command.images[0].with_name(f"{prompt}_000099.png"))
    said = refused()
    assert f"{prompt}_000099.png shows a prompt of the category texture, but color is to be scored" in said
    assert "say --category texture" in said


def test_a_prompt_that_nobody_knows(command, refused):
    shutil.copy(command.images[0], command.images[0].with_name("a cat_000099.png"))
    said = refused()
    assert 'a cat_000099.png shows "a cat", which is no prompt of color' in said
    assert "--prompts" in said


def test_fewer_images_than_the_protocol_wants(command, refused):
    """Without its number the command wants the benchmark's ten."""
    for path in (command.images[1], command.images[4], command.images[5]):
        path.unlink()
    said = refused()
    assert "3 of 6 images of color are missing (2 for each of 3 prompts)" in said
    assert f'the first of them image 2 of "{PROMPTS[0]}"' in said
    assert "--partial" in said
    assert "not the official protocol" in said
    assert "27 of 30 images" in refused("--images-per-prompt", "10")


def test_a_partial_folder_is_scored_on_purpose_and_labelled(command):
    for path in command.images[1:5]:
        path.unlink()
    folder = command.run("--partial")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["protocol"] == "not the official protocol"
    assert summary["scores"]["color"]["attribute"]["n"] == 2
    protocol = json.loads((folder / "manifest.json").read_text())["protocol"]
    assert protocol["categories"] == {"color": {"prompts": 2, "images": 2, "per_prompt": [1, 1]}}
    answers = json.loads((folder / "official/color/annotation_blip/vqa_result.json").read_text())
    assert [answer["question_id"] for answer in answers] == [0, 1]


def test_one_prompt_alone_has_no_interval(command, capsys):
    for path in command.images[2:]:
        path.unlink()
    summary = json.loads((command.run("--partial") / "summary.json").read_text())
    found = summary["scores"]["color"]["attribute"]
    assert (found["low"], found["high"], found["n"]) == (None, None, 1)
    assert f"{found['mean']:.4f}  -" in capsys.readouterr().out


def test_an_empty_folder_even_as_a_partial_one(command, refused):
    for path in command.images:
        path.unlink()
    assert "There are no images of color to score" in refused("--partial")


def test_more_images_than_the_protocol_wants(command, refused):
    assert f'The prompt "{PROMPTS[0]}" has 2 images, but the protocol wants 1' in refused("--images-per-prompt", "1")


def test_two_images_with_one_index(command, refused):
    shutil.copy(command.images[0], command.images[0].with_name(f"{PROMPTS[1]}_000000.png"))
    assert f"{PROMPTS[0]}_000000.png has the same index as" in refused()


def test_a_folder_without_samples_and_one_for_several_categories(command, refused):
    assert "nowhere/color/samples does not exist: give one that holds color/samples" in refused(images="nowhere")
    table = ["--prompts", str(write_table_of_prompts(command.root, ["color", "color", "shape"]))]
    said = refused("--category", "color", "shape", *table, parser=False)
    assert "images/color/samples does not exist" in said


def test_weights_that_are_missing(command, refused):
    command.weights = shutil.copytree(command.weights, command.root / "copy")
    (command.weights / "blip" / "vocab.txt").unlink()
    assert "lacks blip/vocab.txt: fetch with `python -m compbench.weights color" in refused()


def test_a_checkpoint_with_missing_or_extra_keys(command):
    command.weights = shutil.copytree(command.weights, command.root / "copy")
    checkpoint = command.weights / "blip" / f"{NAME}.pth"
    tensors = torch.load(checkpoint, weights_only=True)["model"]
    tensors["visual_encoder.more"] = tensors.pop("visual_encoder.cls_token")
    torch.save({"model": tensors}, checkpoint)
    assert "it lacks visual_encoder.cls_token; has besides visual_encoder.more" in sentence(command)


def test_results_among_the_images(command, refused):
    inside = str(command.root / "images" / "samples" / "scores")
    assert f"The results must not be among the images, as {inside} would" in refused("--output", inside)


def test_a_device_that_is_not_here(refused):
    assert "There is no device 'gpu' here" in refused("--device", "gpu")


def test_no_parser(command, refused, monkeypatch):
    """Neither the file of `make parse` nor spaCy's model."""
    monkeypatch.chdir(command.root)
    said = refused(parser=False)
    assert "The parser spacy needs spaCy and its model" in said
    assert "run `make parse`" in said
    assert said.strip().endswith("(--parser)")


def test_the_file_of_make_parse_is_found(command, monkeypatch):
    monkeypatch.chdir(command.root)
    (command.root / "data" / "parses").mkdir(parents=True)
    (command.root / "parses.jsonl").rename(command.root / "data" / "parses" / "compbench.jsonl")
    assert len(scores_of(command.run(parser=False), "attribute")) == 6


def test_a_parse_that_the_scorer_cannot_use(command, refused):
    """Rules find no phrases in a complex prompt of another form, which must not count as having none."""
    (command.root / "complex.txt").write_text("A cat sleeps.\nThe dog runs.\n" + COMPLEX[0])
    write_images(command.root / "complex" / "samples", ["A cat sleeps.", "The dog runs.", COMPLEX[0]])
    said = refused("--parser", "rules", category="complex", images="complex")
    assert 'finds no noun phrase in 2 prompts, first in "A cat sleeps."' in said
    assert "`make parse`" in said


def test_a_prompts_file_that_is_missing_repeats_itself_or_is_for_one_category(command, refused):
    assert "nowhere.txt cannot be read" in refused("--prompts", "nowhere.txt")
    assert "nowhere.parquet cannot be read" in refused("--prompts", "nowhere.parquet", parser=False)
    assert "one --category at a time" in refused("--category", "color", "shape")
    (command.root / "prompts.txt").write_text("\n".join([*PROMPTS, PROMPTS[0]]))
    (command.root / "parses.jsonl").write_text("\n".join(map(parse_line, PROMPTS)))
    assert f'the color prompt "{PROMPTS[0]}" 2 times' in refused()


def test_a_prompts_table_with_another_parser_or_without_the_category(command, refused):
    table = str(write_table_of_prompts(command.root, ["color"] * 3))
    assert f"{table} already has its prompts' parses: leave --parser out" in refused("--prompts", table)
    said = refused("--prompts", table, "--category", "shape", parser=False)
    assert f"{table} holds no prompts of shape" in said


def test_a_prompts_table_is_scored_by_its_own_parses(command):
    table = str(write_table_of_prompts(command.root, ["color"] * 3))
    folder = command.run("--prompts", table, parser=False)
    rows = pq.read_table(folder / "scores.parquet").to_pylist()
    assert [row["prompt_index"] for row in rows] == [5, 5, 6, 6, 7, 7]
    assert {row["parser"] for row in rows} == {"x: not the official parser"}


def test_a_complex_sub_score_that_is_missing_names_image_and_metric(command):
    """Finished scores that lack one part."""
    write_images(command.root / "complex" / "samples", COMPLEX)
    folder = command.run(category="complex", images="complex")
    (folder / "scores.parquet").unlink()
    part = min(folder.glob("work/*/complex-*.json"))
    scores = json.loads(part.read_text())
    part.write_text(json.dumps(scores | {"clip": scores["clip"][:1]}))
    said = sentence(command, category="complex", images="complex")
    assert f'{COMPLEX[0]}_000001.png ("{COMPLEX[0]}") has no clip score' in said
    part.write_text("{")
    assert f"{part}, which holds finished scores, is damaged: delete it" in sentence(
        command, category="complex", images="complex"
    )


def test_a_complex_sub_score_that_is_nan_names_image_and_metric(command, monkeypatch):
    write_images(command.root / "complex" / "samples", COMPLEX)
    monkeypatch.setattr("compbench.scorers.clip.ClipScorer.score", lambda self, images, prompts: [0.2, float("nan")])
    said = sentence(command, category="complex", images="complex")
    assert f"The clip scorer gave nan for the image {command.root / 'complex/samples' / COMPLEX[0]}_000001.png" in said


def test_an_image_that_a_detector_cannot_score_is_named_by_its_file(command):
    """The detector knows it by its place alone."""
    write_images(command.root / "complex" / "samples", COMPLEX)
    command.weights = shutil.copytree(command.weights, command.root / "copy")
    checkpoint = next(command.weights.glob("unidet/*RS200*.pth"))
    tensors = torch.load(checkpoint, weights_only=True)["model"]
    tensors["backbone.bottom_up.stem.conv1_1.norm.running_var"].fill_(torch.nan)
    torch.save({"model": tensors}, checkpoint)
    said = sentence(command, category="complex", images="complex")
    assert said.startswith(f"{command.root / 'complex/samples' / COMPLEX[0]}_000000.png: UniDet's features of image 1")


def test_numbers_below_one_are_refused(command):
    with pytest.raises(SystemExit) as ended:
        command.run("--batch-size", "0")
    assert ended.value.code == 2
    assert Image.open(command.images[0]).size == (300, 50)


@pytest.mark.long
def test_a_checkpoint_with_extra_tensors_is_taken_when_that_is_said(command, tmp_path, caplog):
    """Of every published scorer that reads one; the scores are those without the extra."""
    expected = scores_of(command.run(category="complex", images=write_complex(command)), "complex")
    shutil.rmtree(command.root / "out")
    command.weights = shutil.copytree(command.weights, tmp_path / "extra")
    for name in (f"blip/{NAME}.pth", FILES["rs200"]):
        path = command.weights / name
        path.with_suffix(".safetensors").unlink(missing_ok=True)
        tensors = torch.load(path, weights_only=True)["model"]
        torch.save({"model": tensors | {"ema.weight": torch.zeros(1)}}, path)
    said = sentence(command, category="complex", images="complex")
    assert "has besides ema.weight" in said
    assert said.endswith("(--extra-tensors)")
    found = scores_of(command.run("--extra-tensors", category="complex", images="complex"), "complex")
    assert found == expected
    assert caplog.text.count("ema.weight") == 2


def write_complex(command) -> str:
    write_images(command.root / "complex" / "samples", COMPLEX)
    return "complex"


def test_own_prompts_whose_scorer_asks_no_tagger_need_none(command, monkeypatch):
    """Neither spaCy nor a file of parses."""
    monkeypatch.chdir(command.root)
    rows = pq.read_table(command.run(category="non_spatial", parser=False) / "scores.parquet").to_pylist()
    assert {row["parser"] for row in rows} == {"no tagger"}
