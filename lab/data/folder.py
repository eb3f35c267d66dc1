"""A folder of images with captions, as people bring it."""

import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from PIL import Image

from compbench.names import alike, is_hidden
from compbench.text import is_blank, read_text, unify_ends
from lab.data.tables import FILE_NAME, READERS, read_rows
from lab.errors import LabError

TABLES = tuple(f"metadata{suffix}" for suffix in READERS)
TEXTS = (".txt", ".caption")  # beside an image, with its name; the first of them that is there
NO_IMAGES = (*TEXTS, ".zip")
# Formats that Pillow knows and does not decode, and drawings that another program would have to: an `a.h5` of features
# or an `a.eps` beside `a.jpg` is not the image.
UNDECODED = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}

# What `zipfile` raises for damaged archives, for those with a password, and for methods that it does not know.
UNPACKABLE = (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


@dataclass(frozen=True)
class CaptionedFile:
    """An image file and what it shows; `name` is its path in the folder."""

    name: str
    path: Path
    caption: str


class LeftOut(NamedTuple):
    """An image that is not taken, by its path in the folder, and why: the words that follow its name."""

    name: str
    reason: str


@dataclass(frozen=True)
class Folder:
    """What a folder holds, sorted by path."""

    files: list[CaptionedFile]
    left_out: list[LeftOut]


def read_folder(folder: Path, unpacked: Path) -> Folder:
    """Every image below `folder` with its caption, whatever their files and folders are called.

    A table's file names start from its own folder. An image that no table names has its caption in a text file of its
    name. ZIP archives are unpacked. Hidden files count if a row names them.

    Args:
        unpacked: a folder for what archives hold.

    Raises:
        LabError: there are no captions; an image has none, or two rows; a row has no image.
        CompbenchError: a table or a text is not in UTF-8.
    """
    files = _files(folder) | _archived(folder, unpacked)
    found: dict[str, CaptionedFile] = {}
    for table in sorted(name for name in files if PurePosixPath(name).name.lower() in TABLES and not is_hidden(name)):
        for one in _described(table, files):
            if one.name in found:
                raise LabError(f"The image {one.path} has two rows, one of them in {files[table]}: keep one.")
            found[one.name] = one
    left_out = _add_described_beside(files, found) + _described_but_no_image(files, found)
    if not found:
        raise LabError(
            f"`sample.folder` {str(folder)!r} has no captions: put a metadata.csv with the columns file_name and text "
            "in it, or beside each image a text file of its name."
        )
    return Folder([found[name] for name in sorted(found)], left_out)


def _add_described_beside(files: dict[str, Path], found: dict[str, CaptionedFile]) -> list[LeftOut]:
    """Adds images that no table names. Of several of one name but for the ending, the first is taken.

    Raises:
        LabError: one has no text, while others are described.
    """
    texts = _texts(files)
    alikes = {alike(stem): text for stem, text in texts.items()}
    taken: dict[str, str] = {}
    left_out, bare = [], []
    for name in (name for name in _images(files) if name not in found):
        text = texts.get(_stem(name)) or alikes.get(alike(_stem(name)))
        if text is None:
            bare.append(name)
        elif text in taken:
            left_out.append(LeftOut(name, f"has the text file of {taken[text]}"))
        else:
            taken[text] = name
            caption = unify_ends(read_text(files[text])).rstrip("\n")
            found[name] = CaptionedFile(name, files[name], _checked(caption, files[name], files[text]))
    if found and bare:
        raise LabError(
            f"The image {files[bare[0]]} has no row in a {TABLES[0]}, and no text file of its name beside it: write "
            "its caption there, or move it away."
        )
    return left_out


def _described_but_no_image(files: dict[str, Path], found: Mapping[str, CaptionedFile]) -> list[LeftOut]:
    """What has a text of its name, and no image of that name beside it: most likely one that Pillow does not know."""
    texts = {alike(stem) for stem in _texts(files)}
    described = texts - {alike(_stem(name)) for name in (*_images(files), *found)}
    names = [name for name in sorted(files) if not is_hidden(name) and not any(_ends(name, one) for one in NO_IMAGES)]
    return [LeftOut(name, "is no image that Pillow can read") for name in names if alike(_stem(name)) in described]


def _texts(files: dict[str, Path]) -> dict[str, str]:
    """The text files, by their names without the ending. Raises: LabError for `a.txt` and `a.TXT`."""
    found: dict[str, str] = {}
    for suffix in reversed(TEXTS):
        of_suffix: dict[str, str] = {}
        for name in (name for name in sorted(files) if _ends(name, suffix)):
            if of_suffix.setdefault(_stem(name), name) != name:
                raise LabError(f"{files[of_suffix[_stem(name)]]} and {files[name]} are texts of one name: keep one.")
        found |= of_suffix
    return found


def _stem(name: str) -> str:
    """Without the ending."""
    return PurePosixPath(name).with_suffix("").as_posix()


def _ends(name: str, suffix: str) -> bool:
    return PurePosixPath(name).suffix.lower() == suffix and not is_hidden(name)


def _images(files: dict[str, Path]) -> list[str]:
    kinds = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN.keys() - UNDECODED}
    return [name for name in sorted(files) if PurePosixPath(name).suffix.lower() in kinds and not is_hidden(name)]


def _described(table: str, files: dict[str, Path]) -> Iterator[CaptionedFile]:
    """What one table says. Raises: LabError."""
    alikes = {alike(name): name for name in files}
    for file_name, caption in read_rows(files[table]):
        name = _place(table, file_name, files)
        name = name if name in files else alikes.get(alike(name))
        if name is None:
            raise LabError(
                f"{files[table]} has a row for {file_name!r}, which is no file there: correct the row or remove it."
            )
        yield CaptionedFile(name, files[name], _checked(caption, files[name], files[table]))


def _place(table: str, file_name: str | None, files: dict[str, Path]) -> str:
    """The path in the folder of what a row calls `file_name`. Raises: LabError for one outside of it."""
    if file_name is None or is_blank(file_name):
        raise LabError(f"{files[table]} has a row without a {FILE_NAME}: fill it in or remove the row.")
    parts: list[str] = []
    own = f"{files[table].absolute().parent.as_posix()}/"  # programs write whole paths
    inside = file_name.removeprefix(own)
    for part in inside.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in (".", ""):
            parts.append(part)
    if inside.startswith("/") or ".." in parts:
        raise LabError(
            f"{files[table]} has a row for {file_name!r}, which is outside of the table's folder: move the image into "
            "it."
        )
    return PurePosixPath(table).parent.joinpath(*parts).as_posix()


def _checked(caption: str | None, image: Path, table: Path) -> str:
    """Raises: LabError for a caption that says nothing."""
    if caption is None or is_blank(caption):
        raise LabError(f"The image {image} has no caption in {table}: write one, or remove the image and its row.")
    return caption


def _files(folder: Path) -> dict[str, Path]:
    """Every file below, by its path there, with links that lead nowhere. Raises: LabError for a closed folder."""

    def refuse(error: OSError) -> None:
        if not is_hidden(Path(error.filename).relative_to(folder).as_posix()):
            raise LabError(f"The folder {error.filename} cannot be read ({error.strerror}): open it, or move it away.")

    paths = sorted(Path(place, name) for place, _, names in os.walk(folder, onerror=refuse) for name in names)
    return {path.relative_to(folder).as_posix(): path for path in paths if path.is_file() or not path.exists()}


def _archived(folder: Path, unpacked: Path) -> dict[str, Path]:
    found = {}
    for name, archive in _files(folder).items():
        if archive.suffix.lower() == ".zip" and not is_hidden(name):
            place = unpacked / name
            place.mkdir(parents=True, exist_ok=True)  # of an empty archive nothing is made
            try:
                with zipfile.ZipFile(archive) as file:
                    for about in file.infolist():
                        about.filename = about.filename.replace("\\", "/")  # as some of Windows' programs part folders
                        file.extract(about, place)
            except UNPACKABLE as error:
                raise LabError(f"The archive {archive} cannot be unpacked ({error}): replace it.") from None
            found |= {f"{name}/{inside}": path for inside, path in _files(place).items()}
    return found
