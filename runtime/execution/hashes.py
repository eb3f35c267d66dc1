"""DVC's hashes of files and folders, computed without DVC: what is logged here is what `dvc.lock` says."""

import json
from dataclasses import dataclass
from hashlib import file_digest, md5
from pathlib import Path

from pathspec import GitIgnoreSpec

from runtime.errors import StageError


@dataclass(frozen=True)
class Hashed:
    """A path's DVC hash (ending in `.dir` for a folder), its size in bytes, and each file in it."""

    md5: str
    size: int
    files: tuple[tuple[str, str, int], ...]  # (relative path, md5, size in bytes); empty for a file


class Hasher:
    """Hashes paths below `root` as DVC does, leaving out what `root/.dvcignore` names."""

    def __init__(self, root: Path):
        self.root = root
        ignore = root / ".dvcignore"
        self._ignored = GitIgnoreSpec.from_lines(ignore.read_text().splitlines() if ignore.exists() else [])

    def __call__(self, path: str, content: Path | None = None) -> Hashed:
        """The hash of `root/path`, or of what `content` holds as if it stood there.

        Raises:
            StageError: there is nothing.
        """
        content = content or self.root / path
        if content.is_dir():
            return self._folder(path, content)
        if not content.exists():
            raise missing(path)
        return Hashed(_file_md5(content), content.stat().st_size, ())

    def _folder(self, path: str, content: Path) -> Hashed:
        names = (file.relative_to(content).as_posix() for file in content.rglob("*") if file.is_file())
        kept = sorted(name for name in names if not self._ignored.match_file(f"{path}/{name}"))
        files = tuple((name, _file_md5(content / name), (content / name).stat().st_size) for name in kept)
        # A folder's hash is that of this listing, written as DVC writes it.
        listing = json.dumps([{"md5": digest, "relpath": name} for name, digest, _ in files])
        return Hashed(md5(listing.encode()).hexdigest() + ".dir", sum(size for *_, size in files), files)


def missing(path: str) -> StageError:
    """Of what a stage reads."""
    return StageError(f"{path} is missing; run `dvc repro`, which makes what a stage reads before the stage.")


def _file_md5(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, md5).hexdigest()
