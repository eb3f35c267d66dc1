"""One file of a repository on the hub, by the hub's own client: asked for, or fetched into its cache."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, list_repo_files
from huggingface_hub import parse_safetensors_file_metadata as read_header
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.errors import LocalEntryNotFoundError as NotHere

from lab.errors import LabError


@dataclass(frozen=True)
class Header:
    """What is known of a safetensors file that nobody has fetched.

    Attributes:
        size: bytes of the file.
        sha256: as the hub has it.
        shapes: of its tensors, by name.
        metadata: what its writer noted.
    """

    size: int
    sha256: str
    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]


def fetch_file(repo: str, revision: str, file: str) -> tuple[Path, str]:
    """Where the file lies in the cache, and the commit that the revision stands for.

    Raises:
        LabError: there is no such repository, revision or file, or access to it has to be asked for.
        ConnectionError: the hub cannot be reached, and the cache does not have the file.
    """
    with _asking(repo, revision, file):
        path = Path(hf_hub_download(repo, file, revision=revision))
    # .../snapshots/<commit>/<file>
    return path, path.parts[path.parts.index("snapshots") + 1]


def ask_header(repo: str, revision: str, file: str) -> Header:
    """The header of a safetensors file, of which the first bytes alone are transferred; raises as `fetch_file`."""
    with _asking(repo, revision, file):
        told = get_hf_file_metadata(hf_hub_url(repo, file, revision=revision))
        header = read_header(repo, file, revision=revision)
    shapes = {name: tuple(tensor.shape) for name, tensor in header.tensors.items()}
    return Header(told.size, told.etag, shapes, header.metadata)


@contextmanager
def _asking(repo: str, revision: str, file: str) -> Iterator[None]:
    """Runs calls of the hub's client that are about a file."""
    place = f"{file} of {repo} at {revision}"
    try:
        yield
    except GatedRepoError:
        raise LabError(
            f"{place} is not given to everyone: ask for access on the repository's page, then set HF_TOKEN."
        ) from None
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        what = "revision" if isinstance(error, RevisionNotFoundError) else "repository, or it is private"
        raise LabError(f"{place} is not on the hub: there is no such {what}; correct `repo` or `revision`.") from None
    # A subclass of the error for a file that the repository does not have, so it goes first.
    except NotHere:
        raise ConnectionError(f"{place} is not in the hub's cache, and the hub cannot be reached.") from None
    except EntryNotFoundError:
        there = [name for name in list_repo_files(repo, revision=revision) if name.endswith(".safetensors")]
        raise LabError(
            f"{place} is not on the hub, where the repository has {', '.join(there) or 'no safetensors'}: correct `file`."
        ) from None
    except (httpx2.HTTPError, HfHubHTTPError):
        raise ConnectionError(f"{place} cannot be had now: see that the hub can be reached from here, and run the command again.") from None


def check_digest(name: str, file: str, expected: str | None, found: str) -> None:
    """Makes sure that a file is the one that the parameters name.

    Args:
        name: of the adapter in `published_adapters`.
        expected: its sha256, None where the parameters have none.

    Raises:
        LabError: it is another.
    """
    if expected not in (None, found):
        raise LabError(
            f"{file} has sha256 {found}, but `published_adapters.{name}.sha256` is {expected}: it is "
            "another file, or has been changed; set the key to the new one if you trust it."
        )


def sha256_of(path: Path) -> str:
    """64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
