"""Names of files as people's systems write them."""

from pathlib import PurePosixPath
from unicodedata import normalize

# What systems and photo stations put into folders: copies, thumbnails, things thrown away.
SYSTEM = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "#recycle", "System Volume Information", "lost+found"}
SYSTEM |= {"Thumbs.db", "desktop.ini", "Icon\r"}


def is_hidden(name: str) -> bool:
    """Whether a path is, or lies in, what file managers do not show: `.DS_Store`, `._a.png`, `__MACOSX/a.png`."""
    return any(part in SYSTEM or (part.startswith(".") and part != "..") for part in PurePosixPath(name).parts)


def alike(name: str) -> str:
    """The same for all ways to write one name.

    macOS stores é as two characters, and most keyboards write it as one; Windows has \\ between folders.
    """
    return normalize("NFC", name).replace("\\", "/")
