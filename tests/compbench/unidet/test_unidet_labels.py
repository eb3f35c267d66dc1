"""Labels by the rule that gives the benchmark's own list."""

import json
from collections import Counter
from pathlib import Path

import pytest

from compbench.errors import CompbenchError
from compbench.scorers.unidet.labels import read_labels

PUBLISHED = Path(__file__).parents[4] / "shared" / "compbench" / "learned_mAP+M.json"


def written(tmp_path, *names: str) -> Path:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"categories": [{"id": i, "name": name} for i, name in enumerate(names)]}))
    return path


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Car_car_car", "car"),
        ("Cattle_cow_cow", "cattle, cow"),
        ("_wild bird_bird", "wild bird"),
        ("Rose__", "rose"),
        ("__parking meter", "parking meter"),
        ("_tissue _", "tissue "),
        ("Computer mouse__mouse", "computer mouse"),
    ],
)
def test_label_is_what_open_images_and_objects365_say_and_coco_alone_last(tmp_path, name, label):
    assert read_labels(written(tmp_path, name)) == (label,)


def test_labels_stand_by_their_ids(tmp_path):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"categories": [{"id": 1, "name": "B__"}, {"id": 0, "name": "A__"}]}))
    assert read_labels(path) == ("a", "b")


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"categories": [{"id": 0, "name": "car"}]}', '{"categories": 3}']
)
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "labels.json"
    path.write_text(content)
    with pytest.raises(CompbenchError, match="is not UniDet's label space"):
        read_labels(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CompbenchError, match=r"learned\.json is missing: fetch it with the weights"):
        read_labels(tmp_path / "learned.json")


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published label space is not here")
def test_published_label_space_gives_the_benchmarks_labels():
    labels = read_labels(PUBLISHED)
    assert len(labels) == 722
    assert sum(count - 1 for count in Counter(labels).values()) == 45
    assert {"cattle, cow", "table, desk", "mouse2, mouse", "mobile phone, cell phone", "turkey, chicken"} <= set(labels)
    assert {"chicken", "desk", "bird", "tissue "} <= set(labels)
    assert not {"wallet", "mouse", "cow", "table", "phone", "sofa", "bag", "painting", "computer"} & set(labels)
    assert [labels[i] for i in (11, 203, 701, 710, 721)] == [
        "picture, frame",
        "trash bin, can",
        "crosswalk",
        "junction box",
        "trailer",
    ]
    assert [label for label in labels if label != label.strip()] == ["tissue "]
