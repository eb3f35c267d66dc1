"""The benchmark's own result files: paths, names, types and words, spelled out."""

import json

import pytest

from compbench.official_json import write_official_layout
from compbench.table import ScoreRow

SCORES = (0.25, 0.5, 0.00004)
NUMBERS = (3, 7, 20)  # in the images' names: some are missing, as where prompts were left out


def rows(metric: str, scores=SCORES) -> list[ScoreRow]:
    return [
        ScoreRow(number, "a cat", "complex", 0, f"samples/a cat_{number:06d}.png", metric, score)
        for number, score in zip(NUMBERS, scores, strict=True)
    ]


def files(folder) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_blip_answers_are_text_with_four_decimals_by_place_and_their_mean_is_of_the_rounded(tmp_path):
    write_official_layout(tmp_path, rows("attribute"))
    found = files(tmp_path)
    assert json.loads(found.pop("annotation_blip/vqa_result.json")) == [
        {"question_id": 0, "answer": "0.2500"},
        {"question_id": 1, "answer": "0.5000"},
        {"question_id": 2, "answer": "0.0000"},
    ]
    assert found == {"annotation_blip/blip_vqa_score.txt": "BLIP-VQA score:0.25"}


MEAN = (0.25 + 0.5 + 0.00004) / 3


@pytest.mark.parametrize(
    ("metric", "folder", "name", "words", "ids"),
    [
        ("spatial", "labels/annotation_obj_detection_2d", "avg_score.txt", f"score avg:{MEAN}", NUMBERS),
        ("spatial_3d", "labels/annotation_obj_detection_3d", "avg_result.txt", f"avg score is {MEAN}", NUMBERS),
        ("numeracy", "annotation_num", "score.txt", f"total:{MEAN * 3} num:3 avg:{MEAN}", NUMBERS),
        ("clip", "annotation_clip", "score_avg.txt", f"score avg:{MEAN}", (0, 1, 2)),
        ("complex", "annotation_3_in_1", "vqa_score.txt", f"score avg:{MEAN}", (0, 1, 2)),
    ],
)
def test_other_answers_are_numbers(tmp_path, metric, folder, name, words, ids):
    """UniDet's go by the number in the image's name, the others by place."""
    write_official_layout(tmp_path, rows(metric))
    found = files(tmp_path)
    answers = json.loads(found.pop(f"{folder}/vqa_result.json"))
    assert answers == [{"question_id": i, "answer": score} for i, score in zip(ids, SCORES, strict=True)]
    assert found.pop(f"{folder}/{name}") == words
    assert set(found) == ({f"{folder}/mapping.json"} if metric == "spatial" else set())


def test_mapping_says_which_image_an_answer_is_of(tmp_path):
    write_official_layout(tmp_path, rows("spatial"))
    mapping = json.loads((tmp_path / "labels/annotation_obj_detection_2d/mapping.json").read_text())
    assert mapping[1] == {"question_id": 7, "image": "a cat_000007.png"}


def test_image_quality_has_no_file_in_the_benchmark(tmp_path):
    write_official_layout(tmp_path, rows("musiq"))
    assert files(tmp_path) == {}
