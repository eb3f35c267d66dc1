"""Captions from a table of the user's own."""

import json
import unicodedata

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lab.data.captioning.table import captions_from
from lab.errors import LabError

NAMES = ["a.jpg", "sub/b.png", "caf\u00e9, 1.webp"]
ROWS = [
    {"id": number, "path": f"images/{number:06d}.png", "source": name, "caption": f"alt {number}"}
    for number, name in enumerate(NAMES)
]
CAPTIONS = ["one", 'two, "quoted"\nin two lines', "007"]


def written(folder, kind, names=NAMES, captions=CAPTIONS):
    path = folder / f"mine{kind}"
    if kind == ".csv":
        quoted = ['"' + text.replace('"', '""') + '"' for text in (*names, *captions)]
        lines = [f"{name},{text}" for name, text in zip(quoted, quoted[len(names) :], strict=False)]
        path.write_bytes(("\ufeff" + "\r\n".join(["file_name,text", *lines])).encode())
    elif kind == ".jsonl":
        rows = zip(names, captions, strict=True)
        path.write_text("".join(json.dumps({"file_name": name, "text": text}) + "\n" for name, text in rows))
    else:
        pq.write_table(pa.table({"file_name": names, "text": captions}), path)
    return path


@pytest.mark.parametrize("kind", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(
    "names",
    [
        NAMES,
        [row["path"] for row in ROWS],
        [unicodedata.normalize("NFD", f"./{name}") for name in NAMES],
        [f".\\{name}".replace("/", "\\") for name in NAMES],
    ],
    ids=["in the folder", "in the sample", "as macOS writes them", "as Windows writes them"],
)
def test_images_get_their_captions_by_name_beside_the_words_they_came_with(tmp_path, kind, names):
    """Whatever the order, and rows for other images are left aside."""
    table = written(tmp_path, kind, [*reversed(names), "another.jpg"], [*reversed(CAPTIONS), "another"])
    found = captions_from(table, "table", ROWS)
    assert [row["caption"] for row in found] == CAPTIONS
    assert [row["alt"] for row in found] == ["alt 0", "alt 1", "alt 2"]
    assert {row["captioner"] for row in found} == {"table"}


@pytest.mark.parametrize(
    ("names", "captions", "fault"),
    [
        (NAMES[:1], CAPTIONS[:1], r"has no caption for 2 of 3 sampled images, first of all sub/b.png \(images/000001"),
        ([], [], r"has no caption for 3 of 3 .* its first file_name are: none"),
        ([*NAMES, "./a.jpg"], [*CAPTIONS, "x"], r"has two rows for './a.jpg': keep one"),
        (NAMES, ["x", " ", "y"], r"says nothing of 'sub/b.png' \(row 2\)"),
        (["", *NAMES], ["x", *CAPTIONS], r"Row 1 of .* has no file_name"),
    ],
)
def test_a_table_that_does_not_match_is_refused_in_one_sentence(tmp_path, names, captions, fault):
    with pytest.raises(LabError, match=fault):
        captions_from(written(tmp_path, ".jsonl", names, captions), "table", ROWS)


def test_captions_that_no_table_can_hold_are_refused(tmp_path):
    (tmp_path / "mine.jsonl").write_text(r'{"file_name": "a.jpg", "text": "half a fox \ud83e"}')
    with pytest.raises(LabError, match=r"caption of the image a.jpg in .*mine.jsonl, 'half a fox .*', is no text"):
        captions_from(tmp_path / "mine.jsonl", "table", ROWS[:1])


def test_a_table_without_its_columns_is_refused_with_those_it_has(tmp_path):
    pq.write_table(pa.table({"image": NAMES, "words": CAPTIONS}), tmp_path / "mine.parquet")
    with pytest.raises(LabError, match=r"has the columns image, words, but must have file_name and text"):
        captions_from(tmp_path / "mine.parquet", "table", ROWS)
