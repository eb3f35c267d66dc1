"""Faults of what people bring: prompt files, images and their captions."""

import io
import json
import zipfile
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.faults.fault import Fault, Place, both, cut, edited, removed, written
from tests.faults.of_tables import OF_TABLES

CATEGORIES = ("color", "shape", "texture", "spatial", "non_spatial", "complex")
PROMPTS, SAMPLE = "python -m stages.prompts", "python -m stages.sample"


def prompt_files(color: str | bytes = "a red car\n", **params: object) -> Callable[[Place], None]:
    """A folder of prompts like the benchmark's, one in each file."""

    def arrange(place: Place) -> None:
        for category in CATEGORIES:
            place.write(f"mine/{category}_val.txt", color if category == "color" else "a cat next to a dog\n")
        change = {"source": "folder", "folder": "mine", "per_category": 1, **params}
        place.edit({f"prompts.{key}": value for key, value in change.items()} | PUBLISHED)

    return arrange


PUBLISHED = {"score.attribute": "blip-vqa", "score.spatial": "unidet", "score.weights": "weights"}


def png(image: Image.Image | None = None, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    (image or Image.new("RGB", (9, 9), "red")).save(file, kind)
    return file.getvalue()


def images(
    table: str | bytes | None = "file_name,text\na.png,a cat\n",
    size: int = 1,
    name: str = "metadata.csv",
    **pictures: bytes,
):
    """A folder of images with captions; `a.png` is one unless told otherwise."""

    def arrange(place: Place) -> None:
        for picture, content in ({"a.png": png()} | pictures).items():
            place.write(f"mine/{picture}", content)
        if table is not None:
            place.write(f"mine/{name}", table)
        place.edit({"sample.source": "folder", "sample.folder": "mine", "sample.size": size})

    return arrange


def archive(content: bytes):
    return images(**{"more.zip": content})


def evil() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("../../out.png", png())
    return file.getvalue()


FAULTS = [
    Fault(
        "a prompt file is missing",
        PROMPTS,
        (
            "prompts: The prompt file mine/shape_val.txt does not exist; its folder must hold "
            "<category>_<split>.txt files as the benchmark has them. (`prompts.folder` in params.yaml)"
        ),
        both(prompt_files(), removed("mine/shape_val.txt")),
        recorded=True,
    ),
    Fault(
        "a prompt file is in UTF-16",
        PROMPTS,
        (
            "prompts: The file mine/color_val.txt is not in UTF-8 (line 1 has the byte 0xff where none may be): "
            "save it in UTF-8."
        ),
        prompt_files("a red car\n".encode("utf-16")),
        recorded=True,
    ),
    Fault(
        "a prompt file is in Latin-1",
        PROMPTS,
        (
            "prompts: The file mine/color_val.txt is not in UTF-8 (line 2 has the byte 0xe9 where none may be): "
            "save it in UTF-8."
        ),
        prompt_files("a red car\na café\n".encode("latin-1")),
        recorded=True,
    ),
    Fault(
        "a prompt file holds NUL",
        PROMPTS,
        (
            "prompts: The file mine/color_val.txt is not in UTF-8 (line 2 has the control character 0x00, as text"
            " in UTF-16 has): save it in UTF-8."
        ),
        prompt_files("a red car\nb\0c\n"),
        recorded=True,
    ),
    Fault(
        "a prompt is too long for a file's name",
        PROMPTS,
        "prompts: The prompt '赤い椅子…",
        prompt_files("赤い椅子" * 40),
        recorded=True,
    ),
    Fault(
        "a prompt has a slash",
        PROMPTS,
        (
            "prompts: The prompt 'a red/blue car' (14 bytes) cannot be part of an image's file name: remove `_`, "
            "`/` and NUL from it and keep it to 244 bytes in UTF-8."
        ),
        prompt_files("a red/blue car\n"),
        recorded=True,
    ),
    Fault(
        "a prompt has an underscore",
        PROMPTS,
        (
            "prompts: The prompt 'a red_car' (9 bytes) cannot be part of an image's file name: remove `_`, `/` "
            "and NUL from it and keep it to 244 bytes in UTF-8."
        ),
        prompt_files("a red_car\n"),
        recorded=True,
    ),
    Fault(
        "fewer prompts than asked for",
        PROMPTS,
        (
            "prompts: 7 prompts of each category were asked for, but mine holds 1 of color; ask for fewer or add "
            "prompts. (`prompts.per_category` in params.yaml)"
        ),
        prompt_files(per_category=7),
        recorded=True,
    ),
    Fault(
        "a parses file that is not there",
        PROMPTS,
        (
            "prompts: params.yaml: `prompts.parser` is 'parses.jsonl', but must be rules, spacy, spacy-3.6, or a "
            "file that exists, such as data/parses/compbench.jsonl, which `make parse` writes."
        ),
        prompt_files(parser="parses.jsonl"),
    ),
    Fault(
        "a parses file without a prompt's parse",
        PROMPTS,
        (
            "prompts: parses.jsonl holds no parse of the prompt 'a red car'; it must hold every prompt's: run "
            "`make parse PROMPTS=<the folder with the prompt files>`."
        ),
        both(written("parses.jsonl", ""), prompt_files(parser="parses.jsonl")),
        recorded=True,
    ),
    Fault(
        "a parses file that is damaged",
        PROMPTS,
        (
            "prompts: Line 1 of parses.jsonl is no parse (text, tokens, pos, noun_chunks and parser, with a pos "
            "for each token): run `make parse` again."
        ),
        both(written("parses.jsonl", "{\n"), prompt_files(parser="parses.jsonl")),
        recorded=True,
    ),
    Fault(
        "more prompts than the world has",
        PROMPTS,
        (
            "prompts: `prompts.per_category` is 1000000, but the world has at most 1204 color prompts for each "
            "split; lower it."
        ),
        edited({"prompts.per_category": 10**6}),
        recorded=True,
    ),
    Fault(
        "a category that the world has not",
        PROMPTS,
        (
            "prompts: The categories have 3d_spatial, but the world's prompts are of color, shape, texture, "
            "spatial, non_spatial, complex alone. (`prompts.categories` in params.yaml)"
        ),
        edited({"prompts.categories": ["3d_spatial"]}),
        recorded=True,
    ),
    Fault(
        "a parser for the world's prompts",
        PROMPTS,
        (
            "prompts: The parser is 'spacy', but must be rules, since the world's prompts come with their parse; "
            "for another one, take prompts from compbench or a folder. (`prompts.parser` in params.yaml)"
        ),
        edited({"prompts.parser": "spacy"}),
        recorded=True,
    ),
    Fault(
        "images without a table of captions",
        SAMPLE,
        (
            "sample: `sample.folder` 'mine' has no captions: put a metadata.csv with the columns file_name and "
            "text in it, or beside each image a text file of its name."
        ),
        images(None),
        recorded=True,
    ),
    Fault(
        "an image without a row",
        SAMPLE,
        (
            "sample: The image mine/b.png has no row in a metadata.csv, and no text file of its name beside it: write "
            "its caption there, or move it away."
        ),
        images(**{"b.png": png()}),
        recorded=True,
    ),
    Fault(
        "a row without an image",
        SAMPLE,
        ("sample: mine/metadata.csv has a row for 'b.png', which is no file there: correct the row or remove it."),
        images("file_name,text\na.png,a cat\nb.png,a dog\n"),
        recorded=True,
    ),
    Fault(
        "an image with two rows",
        SAMPLE,
        "sample: The image mine/a.png has two rows, one of them in mine/metadata.csv: keep one.",
        images("file_name,text\na.png,a cat\n./a.png,a dog\n"),
        recorded=True,
    ),
    Fault(
        "an empty caption",
        SAMPLE,
        (
            "sample: The image mine/a.png has no caption in mine/metadata.csv: write one, or remove the image and"
            " its row."
        ),
        images("file_name,text\na.png,\n"),
        recorded=True,
    ),
    Fault(
        "a caption of null",
        SAMPLE,
        (
            "sample: The image mine/a.png has no caption in mine/metadata.jsonl: write one, or remove the image "
            "and its row."
        ),
        images(json.dumps({"file_name": "a.png", "text": None}), name="metadata.jsonl"),
        recorded=True,
    ),
    Fault(
        "a row that leads out of the folder",
        SAMPLE,
        (
            "sample: mine/metadata.csv has a row for '../b.png', which is outside of the table's folder: move the"
            " image into it."
        ),
        images("file_name,text\na.png,a cat\n../b.png,a dog\n"),
        recorded=True,
    ),
    Fault(
        "a comma in a caption without quotes",
        SAMPLE,
        (
            "sample: Line 2 of mine/metadata.csv is no row of a CSV table (3 fields under 2 columns): put a text "
            "that holds a comma or a quote in quotes, with its own quotes doubled."
        ),
        images("file_name,text\na.png,a cat, a dog\n"),
        recorded=True,
    ),
    Fault(
        "a quote that nothing closes",
        SAMPLE,
        (
            "sample: Line 2 of mine/metadata.csv is no row of a CSV table (unexpected end of data): put a text "
            "that holds a comma or a quote in quotes, with its own quotes doubled."
        ),
        images('file_name,text\na.png,"a cat\n'),
        recorded=True,
    ),
    Fault(
        "a table with semicolons",
        SAMPLE,
        (
            "sample: mine/metadata.csv has the columns file_name;text, but must have file_name and text (or "
            "caption), each once: name its columns so."
        ),
        images("file_name;text\na.png;a cat\n"),
        recorded=True,
    ),
    Fault(
        "a table in Latin-1",
        SAMPLE,
        (
            "sample: The file mine/metadata.csv is not in UTF-8 (line 2 has the byte 0xe9 where none may be): "
            "save it in UTF-8."
        ),
        images("file_name,text\na.png,café\n".encode("latin-1")),
        recorded=True,
    ),
    Fault(
        "a table of JSON lines with a list",
        SAMPLE,
        (
            "sample: Line 1 of mine/metadata.jsonl is no row (a JSON object with file_name and text, each once "
            "and a text): correct it."
        ),
        images('{"file_name": "a.png", "text": ["a cat"]}', name="metadata.jsonl"),
        recorded=True,
    ),
    Fault(
        "a table of Parquet that is damaged",
        SAMPLE,
        "sample: The table mine/metadata.parquet cannot be read (…): replace it.",
        images(b"PAR1", name="metadata.parquet"),
        recorded=True,
    ),
    Fault(
        "fewer images than asked for",
        SAMPLE,
        "sample: `sample.size` is 9, but 'mine' holds 1 images; lower it or add images.",
        images(size=9),
        recorded=True,
    ),
    Fault(
        "an image that is damaged",
        SAMPLE,
        (
            "sample: `sample.size` is 1, but 'mine' holds 1 images of which 0 are good (a.png is damaged or cut short, "
            "or of a kind that Pillow cannot read); lower it or add images."
        ),
        images(**{"a.png": png()[:40]}),
        recorded=True,
    ),
    Fault(
        "an image that is none",
        SAMPLE,
        (
            "sample: `sample.size` is 1, but 'mine' holds 1 images of which 0 are good (a.png is damaged or cut short, "
            "or of a kind that Pillow cannot read); lower it or add images."
        ),
        images(**{"a.png": b"<html>"}),
        recorded=True,
    ),
    Fault(
        "an image of floats without a white",
        SAMPLE,
        (
            "sample: `sample.size` is 2, but 'mine' holds 2 images of which 1 are good (b.tif has colours of no one "
            "meaning: nothing says what is white, or one of 16 bits is transparent); lower it or add images."
        ),
        images(
            "file_name,text\na.png,a cat\nb.tif,a dog\n",
            2,
            **{"b.tif": png(Image.fromarray(np.full((9, 9), 7.5, np.float32)), "TIFF")},
        ),
        recorded=True,
    ),
    *OF_TABLES,
    Fault(
        "an archive that is damaged",
        SAMPLE,
        "sample: The archive mine/more.zip cannot be unpacked (File is not a zip file): replace it.",
        archive(b"PK"),
        recorded=True,
    ),
    Fault(
        "a captioner that sees nothing",
        "python -m stages.caption",
        (
            "caption: The detector sees no object of the built-in world in images/000003.png; for other images "
            "set `caption.captioner` to source."
        ),
        both(lambda place: place.write("data/sample/images/000003.png", png(Image.new("RGB", (64, 64), "white")))),
        recorded=True,
    ),
    Fault(
        "a sampled image that is gone",
        "python -m stages.caption",
        ("caption: The image data/sample/images/000003.png does not exist: sample the images again, or replace it."),
        removed("data/sample/images/000003.png"),
        recorded=True,
    ),
    Fault(
        "a sampled image that is damaged",
        "python -m stages.encode",
        (
            "encode: The image data/sample/images/000003.png is damaged or cut short, or of a kind that Pillow "
            "cannot read: sample the images again, or replace it."
        ),
        cut("data/sample/images/000003.png"),
        recorded=True,
    ),
    Fault(
        "captions that are damaged",
        "python -m stages.encode",
        "encode: The table data/captions.parquet cannot be read (…): make it again.",
        cut("data/captions.parquet"),
        recorded=True,
    ),
    Fault(
        "an index that is damaged",
        "python -m stages.caption",
        ("caption: The table data/sample/index.parquet cannot be read (…): make it again."),
        cut("data/sample/index.parquet"),
        recorded=True,
    ),
    Fault(
        "captions of another sample",
        "python -m stages.encode",
        ("encode: data/captions.parquet has no captions of 7 images of data/sample/index.parquet: make both again."),
        lambda place: fewer_captions(place),
        recorded=True,
    ),
    Fault(
        "an input that is not there",
        "python -m stages.caption",
        (
            "caption: data/sample/index.parquet is missing; run `dvc repro`, which makes what a stage reads before "
            "the stage."
        ),
        removed("data/sample"),
    ),
]


def fewer_captions(place: Place) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(place.root / "data/captions.parquet")
    file = io.BytesIO()
    pq.write_table(table.slice(0, 5), file)
    place.write("data/captions.parquet", file.getvalue())
