"""Downloads what a pipeline loads of a repository on the hub, by the hub's own client, into its own cache."""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, snapshot_download
from huggingface_hub import try_to_load_from_cache as cached
from huggingface_hub.utils import disable_progress_bars

from lab.errors import LabError
from lab.models.published.faults import asking
from lab.models.published.hashes import sha256
from lab.models.published.selection import INDEX

GB = 1e9


@dataclass(frozen=True)
class RemoteFile:
    """What the hub says of a file: `sha256` of large ones, git's own hash of the others."""

    size: int
    sha256: str | None
    blob_id: str


@dataclass(frozen=True)
class Repository:
    """A repository at one commit; `files` by path."""

    repo: str
    commit: str
    files: dict[str, RemoteFile]


def find_repository(repo: str, revision: str, section: str = "base") -> Repository:
    """The commit that a branch, a tag or a commit stands for now, and its files.

    Args:
        section: of the parameters, which names `repo` and `revision`.

    Raises:
        LabError: there is no such repository or revision, or no access to it.
        ConnectionError, TimeoutError: the hub does not answer.
    """
    with asking(repo, revision, section):
        found = HfApi().model_info(repo, revision=revision, files_metadata=True)
    files = {
        file.rfilename: RemoteFile(file.size, file.lfs.sha256 if file.lfs else None, file.blob_id)
        for file in found.siblings
    }
    return Repository(repo, found.sha, files)


def read_index(repository: Repository) -> dict:
    """The repository's `model_index.json`, which says of what the pipeline is made.

    Raises:
        LabError: as `find_repository`; or it has none, and is no pipeline.
        ConnectionError, TimeoutError: as `find_repository`.
    """
    if INDEX not in repository.files:
        raise LabError(f"{repository.repo} has no {INDEX}, so it is no pipeline of diffusers: choose one as `base.repo`.")
    return read_json(repository, INDEX)


def read_json(repository: Repository, name: str) -> dict:
    """A small file of the repository, which is downloaded if the cache does not have it; raises as `find_repository`."""
    with asking(repository.repo, repository.commit):
        return json.loads(Path(hf_hub_download(repository.repo, name, revision=repository.commit)).read_text())


def check_access(repository: Repository, name: str) -> None:
    """Asks for a file without downloading it: the hub lists files also to those whom it refuses them.

    Raises:
        LabError: it is refused.
        ConnectionError, TimeoutError: the hub does not answer.
    """
    with asking(repository.repo, repository.commit):
        get_hf_file_metadata(hf_hub_url(repository.repo, name, revision=repository.commit))


def absent(repository: Repository, names: Iterable[str]) -> list[str]:
    """Those of the named files that the cache does not have."""
    return [name for name in names if not isinstance(cached(repository.repo, name, revision=repository.commit), str)]


def cache_disk() -> Path:
    """A folder on the disk where downloads go."""
    cache = Path(constants.HF_HUB_CACHE)
    return next(folder for folder in (cache, *cache.parents) if folder.exists())


def download(repository: Repository, names: list[str]) -> Path:
    """Downloads the named files, as far as the cache does not have them; the folder in which they are.

    Raises:
        LabError: as `find_repository`; the disk is too small, or a file is not what the hub says.
        ConnectionError, TimeoutError: the hub does not answer, or sends less than it announced.
    """
    if not sys.stderr.isatty():
        disable_progress_bars()
    _check_space(repository, names)
    with asking(repository.repo, repository.commit):
        place = Path(snapshot_download(repository.repo, revision=repository.commit, allow_patterns=names))
    for name in names:
        _check_content(repository.files[name], place / name)
    return place


def _check_space(repository: Repository, names: list[str]) -> None:
    needed = sum(repository.files[name].size for name in absent(repository, names))
    free = shutil.disk_usage(cache_disk()).free
    if needed > free:
        raise LabError(
            f"{repository.repo} takes {needed / GB:.1f} GB, and {constants.HF_HUB_CACHE} has {free / GB:.1f} GB free: "
            "free some space, or set HF_HOME to a folder on a larger disk."
        )


def _check_content(expected: RemoteFile, path: Path) -> None:
    # The client itself compares sizes alone.
    if expected.sha256:
        same = sha256(path) == expected.sha256
    else:
        content = path.read_bytes()
        same = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == expected.blob_id
    if not same:
        raise LabError(
            f"{path} is not what the hub says it is: remove {path.resolve()}, and `dvc repro` downloads it again."
        )
