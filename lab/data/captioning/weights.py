"""The files of a captioner's model: fetched once from the hub, pinned by their hashes, found offline from then on."""

from collections.abc import Iterable
from pathlib import Path

from lab.errors import LabError
from lab.models.published.hub import Repository, download, find_repository
from lab.models.published.pin import Pin, facts_of, find_pipeline, read_pin

LOADED = (".json", ".jinja", ".model", ".safetensors", ".txt")  # ends of names of what transformers reads
WEIGHTS = ".safetensors"
SECTION = "caption"  # of the parameters, which names the repository


def files_of_model(repo: str, files: Iterable[str]) -> list[str]:
    """Those of a repository's files from which transformers loads its model, sorted.

    Raises:
        LabError: it has no weights in safetensors.
    """
    names = sorted(name for name in files if "/" not in name and name.endswith(LOADED))
    if not any(name.endswith(WEIGHTS) for name in names):
        raise LabError(
            f"{repo} has no weights in safetensors, the only format that is read: choose another `caption.repo`."
        )
    return names


def find_model(repo: str, revision: str) -> Repository:
    """The repository as the hub has it.

    Args:
        revision: a commit.

    Raises:
        LabError: there is no such repository or commit, no access to it, or no weights in it.
        ConnectionError, TimeoutError: the hub does not answer.
    """
    repository = find_repository(repo, revision, SECTION)
    return Repository(repo, repository.commit, {name: repository.files[name] for name in _names(repository)})


def _names(repository: Repository) -> list[str]:
    return files_of_model(repository.repo, repository.files)


def pin_folder(store: Path, repo: str, revision: str) -> Path:
    """Where the pin of a model lies, beside the answers in `store`."""
    return store.parent / "captioners" / f"{repo.replace('/', '--')}-{revision}"


def fetch_model(store: Path, repo: str, revision: str) -> Path:
    """The folder with the model's files, each of which is what the hub said when it was fetched.

    Args:
        store: of the answers, beside which the pin is kept.
        revision: a commit, so that a pinned model asks nobody.

    Raises:
        LabError: as `find_model`; the disk is too small, or a file has changed.
        ConnectionError, TimeoutError: as `find_model`.
    """
    pinned = pin_folder(store, repo, revision)
    if read_pin(pinned) is not None:
        try:
            return find_pipeline(pinned)[0]
        except LabError:
            pass  # what is missing is fetched again, and what has changed is told below by its path
    repository = find_model(repo, revision)
    folder = download(repository, list(repository.files))
    Pin(facts_of(folder, repository.files), repo=repo, commit=repository.commit).write(pinned)
    return folder
