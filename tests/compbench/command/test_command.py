"""`python -m compbench` from the command line to its results, on real models of reduced width."""

import csv
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from compbench.__main__ import main
from compbench.scorers.blip.scorer import BlipVqaScorer
from compbench.statistics import mean_interval
from tests.compbench.command.running import (
    COMPLEX,
    PROMPTS,
    chunks,
    results,
    scores_of,
    write_images,
    write_table_of_prompts,
)

ROOT = Path(__file__).parents[3]


def test_every_image_has_a_row_that_is_labelled_with_mode_and_parser(command):
    rows = pq.read_table(command.run() / "scores.parquet").to_pylist()
    assert [row["path"] for row in rows] == [f"samples/{path.name}" for path in command.images]
    assert [row["prompt"] for row in rows] == [prompt for prompt in PROMPTS for _ in range(2)]
    assert {(row["mode"], row["parser"]) for row in rows} == {("official", "by hand: not the official parser")}
    assert len({row["score"] for row in rows}) > 1


def test_csv_and_table_hold_the_same(command):
    folder = command.run()
    with (folder / "scores.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    table = pq.read_table(folder / "scores.parquet").to_pylist()
    assert read == [{name: str(value) for name, value in row.items()} for row in table]


def test_summary_and_printed_table_have_mean_and_interval_over_prompts(command, capsys):
    folder = command.run()
    scores = scores_of(folder, "attribute")
    expected = mean_interval({i: (scores[2 * i] + scores[2 * i + 1]) / 2 for i in range(3)})
    summary = json.loads((folder / "summary.json").read_text())
    found = summary.pop("scores")
    assert found == {"color": {"attribute": pytest.approx(vars(expected), abs=1e-6)}}
    labels = {"mode": "official", "protocol": "not the official protocol", "parser": "by hand: not the official parser"}
    assert summary == labels
    printed = capsys.readouterr().out
    assert all(label in printed for label in labels.values())
    assert "{mean:.4f}  {low:.4f} to {high:.4f}".format(**found["color"]["attribute"]) in printed


def test_it_says_what_it_uses_before_it_scores(command, capsys):
    command.run()
    said = capsys.readouterr().err
    for words in (
        "Mode: official. Protocol: not the official protocol, 6 images of 3 color prompts.",
        "Parser: by hand: not the official parser.",
        "Device: cpu (as asked).",
        "Scorer of attribute: blip-vqa in float32.",
        "Weights: blip/vocab.txt, sha256 ",
    ):
        assert words in said


@pytest.mark.long
def test_complex_gives_four_metrics_in_one_run_and_the_benchmarks_files_of_each(command, capsys):
    write_images(command.root / "complex" / "samples", COMPLEX)
    folder = command.run(category="complex", images="complex")
    summary = json.loads((folder / "summary.json").read_text())["scores"]
    assert list(summary["complex"]) == ["attribute", "spatial", "clip", "complex"]
    attribute, spatial, clip, complex_ = (scores_of(folder, metric) for metric in summary["complex"])
    assert complex_ == pytest.approx([sum(parts) / 3 for parts in zip(attribute, spatial, clip, strict=True)])
    assert {str(path.relative_to(folder / "official/complex")) for path in folder.glob("official/**/*.json")} == {
        "annotation_blip/vqa_result.json",
        "labels/annotation_obj_detection_2d/vqa_result.json",
        "labels/annotation_obj_detection_2d/mapping.json",
        "annotation_clip/vqa_result.json",
        "annotation_3_in_1/vqa_result.json",
    }
    said = capsys.readouterr().err
    assert "1 of 2 complex prompts (see manifest.json) have the spatial term 0 whatever the image:" in said
    assert '  1 x the benchmark has no rule for "on top of"' in said


def test_several_categories_are_scored_in_one_run_each_from_its_folder(command):
    categories = ["numeracy", "color", "non_spatial"]
    table = str(write_table_of_prompts(command.root, categories))
    for prompt, category in zip(PROMPTS, categories, strict=True):
        write_images(command.root / "arm" / category / "samples", [prompt])
    folder = command.run("--category", *categories, "--prompts", table, images="arm", parser=False)
    rows = pq.read_table(folder / "scores.parquet").to_pylist()
    assert [(row["category"], row["metric"], row["index"]) for row in rows] == [
        (category, metric, index)
        for category, metric in zip(categories, ("numeracy", "attribute", "clip"), strict=True)
        for index in (0, 1)
    ]
    assert [row["path"].split("/")[0] for row in rows[::2]] == categories
    assert {path.parent.name for path in folder.glob("official/*/annotation_*")} == set(categories)
    hashed = json.loads((folder / "manifest.json").read_text())["weights"]
    assert {path.split("/")[0] for path in hashed} == {"blip", "unidet", "clip"}


def test_corrected_mode_is_named_everywhere_and_lists_its_corrections(command, capsys):
    folder = command.run("--mode", "corrected")
    assert json.loads((folder / "summary.json").read_text())["mode"] == "corrected"
    assert {row["mode"] for row in pq.read_table(folder / "scores.parquet").to_pylist()} == {"corrected"}
    assert not (folder / "official").exists()
    assert (folder / "corrected/color/annotation_blip/vqa_result.json").exists()
    assert "Correction color: no rounding, for 100.0% of its prompts" in capsys.readouterr().err
    assert [one["share"] for one in json.loads((folder / "manifest.json").read_text())["corrections"]] == [0, 0, 1]


def test_samples_itself_and_the_pipelines_layout_give_the_same_scores(command):
    expected = scores_of(command.run(), "attribute")
    assert scores_of(command.run(images="images/samples"), "attribute") == expected
    (command.root / "arm").mkdir()
    (command.root / "images/samples").rename(command.root / "arm" / "samples")
    (command.root / "arm").rename(command.root / "color")
    (command.root / "arm").mkdir()
    (command.root / "color").rename(command.root / "arm" / "color")
    assert scores_of(command.run(images="arm"), "attribute") == expected


def test_results_lie_beside_the_images_folder_unless_told_otherwise(command):
    main(command.arguments(images="images/samples"))
    assert (command.root / "images-scores-official" / "manifest.json").exists()
    assert [path.name for path in (command.root / "images").iterdir()] == ["samples"]


def test_finished_chunks_are_taken_over_by_the_same_run_alone(command):
    """Another mode, batch size or image begins anew."""
    first = chunks(command.run())
    assert len(first) == 3
    assert chunks(command.run()) == first
    for change in (["--mode", "corrected"], ["--batch-size", "3"]):
        before = chunks(command.root / "out")
        assert len(chunks(command.run(*change))) > len(before)
    command.images[0].write_bytes(command.images[1].read_bytes())
    assert len(chunks(command.run())) == len(first) + 3 + 2 + 3


def test_another_weight_begins_anew(command):
    before = chunks(command.run())
    command.weights = shutil.copytree(command.weights, command.root / "other")
    vocabulary = command.weights / "blip" / "vocab.txt"
    vocabulary.write_text(vocabulary.read_text().replace("heart", "hearth"))
    assert len(chunks(command.run())) == 2 * len(before)


KILLED = """
import os, signal, sys
import pytest
from compbench.scorers.blip.scorer import BlipVqaScorer
from tests.compbench.command.tiny_published import shrink
from compbench.__main__ import main

calls, score = [], BlipVqaScorer.score
def killed(self, images, prompts):
    calls.append(1)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return score(self, images, prompts)

BlipVqaScorer.score = killed
shrink(pytest.MonkeyPatch())
main(sys.argv[1:])
"""


@pytest.mark.long
def test_a_run_killed_in_the_middle_goes_on_and_ends_with_the_same_bytes(command, monkeypatch):
    """SIGKILL in the third of three chunks: two are kept, and none of them is scored again."""
    output = command.root / "out"
    arguments = command.arguments("--output", str(output))
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    finished = chunks(output)
    assert len(finished) == 2
    assert results(output) == {}
    scored, score = [], BlipVqaScorer.score
    monkeypatch.setattr(BlipVqaScorer, "score", lambda *given: scored.append(given[1]) or score(*given))
    command.run()
    assert len(scored) == 1
    assert finished.items() < chunks(output).items()
    resumed = results(output)
    output.rename(command.root / "resumed")
    assert results(command.run()) == resumed
    assert {"scores.parquet", "scores.csv", "summary.json", "manifest.json"} < resumed.keys()


def test_help_loads_no_model_library():
    code = "import sys; from compbench.__main__ import _parser; _parser().format_help(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {"torch", "pyarrow", "PIL", "numpy"}.isdisjoint(done.stdout.split())


MEMORY = """
import sys
from pathlib import Path
from compbench.scorers.clip import ClipScorer
from compbench.images import ImageRow
from compbench.scorers.interface import Measure, Prompt
from compbench.run import score_images

folder, prompt = Path(sys.argv[1]), Prompt(0, "a circle", "non_spatial")
measures = {"non_spatial": Measure((ClipScorer.from_folder(folder / "clip"),))}

def peak(images):
    rows = [ImageRow(i, prompt.prompt, prompt.category, 0, "image.png") for i in range(images)]
    list(score_images(folder, rows, [prompt], measures, folder / str(images), batch_size=8))
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])

print(peak(16), peak(96))
"""


@pytest.mark.long
def test_memory_does_not_grow_with_the_number_of_images(base_folder, tmp_path):
    """80 more images of 1.4 MB would be 112 MB."""
    from PIL import Image

    (tmp_path / "clip").symlink_to(base_folder / "clip")
    Image.new("RGB", (700, 500), "red").save(tmp_path / "image.png")
    done = subprocess.run([sys.executable, "-c", MEMORY, tmp_path], cwd=ROOT, capture_output=True, text=True)
    few, many = map(int, done.stdout.split())
    assert many - few < 30_000
