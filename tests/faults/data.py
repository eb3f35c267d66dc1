"""Faults of what people bring: prompt files, images and their captions."""

import io
import json
import zipfile
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.faults.fault import Fault, Place, both, cut, edited, removed, written

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
    Fault("a prompt file is missing", PROMPTS, "", both(prompt_files(), removed("mine/shape_val.txt"))),
    Fault("a prompt file is in UTF-16", PROMPTS, "", prompt_files("a red car\n".encode("utf-16"))),
    Fault("a prompt file is in Latin-1", PROMPTS, "", prompt_files("a red car\na café\n".encode("latin-1"))),
    Fault("a prompt file holds NUL", PROMPTS, "", prompt_files("a red car\nb\0c\n")),
    Fault("a prompt is too long for a file's name", PROMPTS, "", prompt_files("赤い椅子" * 40)),
    Fault("a prompt has a slash", PROMPTS, "", prompt_files("a red/blue car\n")),
    Fault("a prompt has an underscore", PROMPTS, "", prompt_files("a red_car\n")),
    Fault("fewer prompts than asked for", PROMPTS, "", prompt_files(per_category=7)),
    Fault("a parses file that is not there", PROMPTS, "", prompt_files(parser="parses.jsonl")),
    Fault(
        "a parses file without a prompt's parse",
        PROMPTS,
        "",
        both(written("parses.jsonl", ""), prompt_files(parser="parses.jsonl")),
    ),
    Fault(
        "a parses file that is damaged",
        PROMPTS,
        "",
        both(written("parses.jsonl", "{\n"), prompt_files(parser="parses.jsonl")),
    ),
    Fault("more prompts than the world has", PROMPTS, "", edited({"prompts.per_category": 10**6})),
    Fault("a category that the world has not", PROMPTS, "", edited({"prompts.categories": ["3d_spatial"]})),
    Fault("a parser for the world's prompts", PROMPTS, "", edited({"prompts.parser": "spacy"})),
    Fault("images without a table of captions", SAMPLE, "", images(None)),
    Fault("an image without a row", SAMPLE, "", images(**{"b.png": png()})),
    Fault("a row without an image", SAMPLE, "", images("file_name,text\na.png,a cat\nb.png,a dog\n")),
    Fault("an image with two rows", SAMPLE, "", images("file_name,text\na.png,a cat\n./a.png,a dog\n")),
    Fault("an empty caption", SAMPLE, "", images("file_name,text\na.png,\n")),
    Fault(
        "a caption of null", SAMPLE, "", images(json.dumps({"file_name": "a.png", "text": None}), name="metadata.jsonl")
    ),
    Fault("a row that leads out of the folder", SAMPLE, "", images("file_name,text\na.png,a cat\n../b.png,a dog\n")),
    Fault("a comma in a caption without quotes", SAMPLE, "", images("file_name,text\na.png,a cat, a dog\n")),
    Fault("a quote that nothing closes", SAMPLE, "", images('file_name,text\na.png,"a cat\n')),
    Fault("a table with semicolons", SAMPLE, "", images("file_name;text\na.png;a cat\n")),
    Fault("a table in Latin-1", SAMPLE, "", images("file_name,text\na.png,café\n".encode("latin-1"))),
    Fault(
        "a table of JSON lines with a list",
        SAMPLE,
        "",
        images('{"file_name": "a.png", "text": ["a cat"]}', name="metadata.jsonl"),
    ),
    Fault("a table of Parquet that is damaged", SAMPLE, "", images(b"PAR1", name="metadata.parquet")),
    Fault("fewer images than asked for", SAMPLE, "", images(size=9)),
    Fault("an image that is damaged", SAMPLE, "", images(**{"a.png": png()[:40]})),
    Fault("an image that is none", SAMPLE, "", images(**{"a.png": b"<html>"})),
    Fault(
        "an image of floats without a white",
        SAMPLE,
        "",
        images(
            "file_name,text\na.png,a cat\nb.tif,a dog\n",
            2,
            **{"b.tif": png(Image.fromarray(np.full((9, 9), 7.5, np.float32)), "TIFF")},
        ),
    ),
    Fault("an archive that is damaged", SAMPLE, "", archive(b"PK")),
    Fault(
        "a captioner that sees nothing",
        "python -m stages.caption",
        "",
        both(lambda place: place.write("data/sample/images/000003.png", png(Image.new("RGB", (64, 64), "white")))),
        recorded=True,
    ),
    Fault("a sampled image that is gone", "python -m stages.caption", "", removed("data/sample/images/000003.png")),
    Fault("a sampled image that is damaged", "python -m stages.encode", "", cut("data/sample/images/000003.png")),
    Fault("captions that are damaged", "python -m stages.encode", "", cut("data/captions.parquet")),
    Fault("an index that is damaged", "python -m stages.caption", "", cut("data/sample/index.parquet")),
    Fault("captions of another sample", "python -m stages.encode", "", lambda place: fewer_captions(place)),
    Fault("an input that is not there", "python -m stages.caption", "", removed("data/sample")),
]


def fewer_captions(place: Place) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(place.root / "data/captions.parquet")
    file = io.BytesIO()
    pq.write_table(table.slice(0, 5), file)
    place.write("data/captions.parquet", file.getvalue())
