"""A folder of images with captions, as people bring it."""

import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple, NoReturn
from unicodedata import normalize

from PIL import Image

from compbench.text import is_blank, read_text
from lab.data.tables import FILE_NAME, READERS, read_rows
from lab.errors import LabError

TABLES = tuple(f"metadata{suffix}" for suffix in READERS)
TEXTS = (".txt", ".caption")  # beside an image, with its name; the first of them that is there
NO_IMAGES = (*TEXTS, ".zip")
# What systems and photo stations put into folders: copies, thumbnails, things thrown away.
SYSTEM = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "#recycle", "System Volume Information")

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
    for table in sorted(name for name in files if PurePosixPath(name).name.lower() in TABLES and not _hidden(name)):
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
    texts = {_stem(name): name for suffix in reversed(TEXTS) for name in files if _ends(name, suffix)}
    taken: dict[str, str] = {}
    left_out, bare = [], []
    for name in (name for name in _images(files) if name not in found):
        text = texts.get(_stem(name))
        if text is None:
            bare.append(name)
        elif _stem(name) in taken:
            left_out.append(LeftOut(name, f"has the text file of {taken[_stem(name)]}"))
        else:
            taken[_stem(name)] = name
            caption = read_text(files[text]).replace("\r\n", "\n").rstrip("\n")
            found[name] = CaptionedFile(name, files[name], _checked(caption, files[name], files[text]))
    if found and bare:
        raise LabError(
            f"The image {files[bare[0]]} has no row in a {TABLES[0]}, and no text file of its name beside it: write "
            "its caption there, or move it away."
        )
    return left_out


def _described_but_no_image(files: dict[str, Path], found: Mapping[str, CaptionedFile]) -> list[LeftOut]:
    """What has a text of its name, and no image of that name beside it: most likely one that Pillow does not know."""
    texts = {_stem(name) for name in files if any(_ends(name, suffix) for suffix in TEXTS)}
    images = {_stem(name) for name in (*_images(files), *found)}
    names = [name for name in sorted(files) if not _hidden(name) and not any(_ends(name, one) for one in NO_IMAGES)]
    return [LeftOut(name, "is no image that Pillow can read") for name in names if _stem(name) in texts - images]


def _stem(name: str) -> str:
    """Without the ending; accents as most keyboards write them."""
    return normalize("NFC", PurePosixPath(name).with_suffix("").as_posix())


def _ends(name: str, suffix: str) -> bool:
    return PurePosixPath(name).suffix.lower() == suffix and not _hidden(name)


def _images(files: dict[str, Path]) -> list[str]:
    kinds = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    return [name for name in sorted(files) if PurePosixPath(name).suffix.lower() in kinds and not _hidden(name)]


def _described(table: str, files: dict[str, Path]) -> Iterator[CaptionedFile]:
    """What one table says. Raises: LabError."""
    # macOS stores é as two characters, and most keyboards write it as one.
    alike = {normalize("NFC", name): name for name in files}
    for file_name, caption in read_rows(files[table]):
        name = _place(table, file_name, files)
        name = name if name in files else alike.get(normalize("NFC", name))
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
    for part in file_name.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in (".", ""):
            parts.append(part)
    if file_name.startswith("/") or ".." in parts:
        raise LabError(
            f"{files[table]} has a row for {file_name!r}, which is outside of the table's folder: move the image into "
            "it."
        )
    return PurePosixPath(table).parent.joinpath(*parts).as_posix()


def _checked(caption: str | None, image: Path, table: Path) -> str:
    """Raises: LabError for a caption that says nothing."""
    if caption is None or is_blank(caption):
        raise LabError(f"The image {image} has no caption in {table}: write one, or remove the image and its row.")
    if any("\ud800" <= character <= "\udfff" or character == "\0" for character in caption):
        raise LabError(f"The caption of the image {image} in {table}, {caption!r}, is no text: correct it.")
    return caption


def _files(folder: Path) -> dict[str, Path]:
    """Every file below, by its path there, with links that lead nowhere. Raises: LabError for a closed folder."""
    paths = sorted(Path(place, name) for place, _, names in os.walk(folder, onerror=_refuse) for name in names)
    return {path.relative_to(folder).as_posix(): path for path in paths if path.is_file() or not path.exists()}


def _refuse(error: OSError) -> NoReturn:
    raise LabError(f"The folder {error.filename} cannot be read ({error.strerror}): open it, or move it away.")


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part in SYSTEM for part in PurePosixPath(name).parts)


def _archived(folder: Path, unpacked: Path) -> dict[str, Path]:
    found = {}
    for name, archive in _files(folder).items():
        if archive.suffix.lower() == ".zip" and not _hidden(name):
            place = unpacked / name
            try:
                with zipfile.ZipFile(archive) as file:
                    file.extractall(place)
            except UNPACKABLE as error:
                raise LabError(f"The archive {archive} cannot be unpacked ({error}): replace it.") from None
            found |= {f"{name}/{inside}": path for inside, path in _files(place).items()}
    return found
