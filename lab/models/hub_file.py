"""One file of a repository on the hub, by the hub's own client: asked for, or fetched into its cache."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, list_repo_files
from huggingface_hub import parse_safetensors_file_metadata as read_header
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, LocalEntryNotFoundError

from safetensors import SafetensorError, safe_open

from lab.errors import LabError
from lab.models.published.faults import asking
from lab.models.published.hashes import sha256


class Source(Protocol):
    """A file on the hub, as an entry of `published_adapters` has it."""

    repo: str
    revision: str
    file: str


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


def fetch_file(source: Source, name: str) -> tuple[Path, str]:
    """Where the file lies in the cache, and the commit that the revision stands for.

    Args:
        name: of the entry in `published_adapters`.

    Raises:
        LabError: there is no such repository, revision or file, or access to it has to be asked for.
        ConnectionError, TimeoutError: the hub does not answer, and the cache does not have the file.
    """
    with _asking(source, name):
        path = Path(hf_hub_download(source.repo, source.file, revision=source.revision))
    # .../snapshots/<commit>/<file>
    return path, path.parts[path.parts.index("snapshots") + 1]


def ask_header(source: Source, name: str) -> Header:
    """The header of a safetensors file, of which the first bytes alone are transferred; raises as `fetch_file`."""
    with _asking(source, name):
        told = get_hf_file_metadata(hf_hub_url(source.repo, source.file, revision=source.revision))
        header = read_header(source.repo, source.file, revision=source.revision)
    shapes = {name: tuple(tensor.shape) for name, tensor in header.tensors.items()}
    return Header(told.size, told.etag, shapes, header.metadata)


def read_local(path: Path, name: str) -> Header:
    """The header of a safetensors file that is here.

    Args:
        name: of the entry in `published_adapters`.

    Raises:
        LabError: it is none, or not all of it is here.
    """
    try:
        with safe_open(path, "pt") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
            return Header(path.stat().st_size, sha256(path), shapes, file.metadata() or {})
    except SafetensorError as error:
        raise LabError(
            f"The adapter {name} has the file {path}, which is no whole safetensors file ({error}): bring it again, or "
            "name another one in `published_adapters`."
        ) from None


@contextmanager
def _asking(source: Source, name: str) -> Iterator[None]:
    """Runs calls of the hub's client that are about a file; what is wrong with its repository says `asking`."""
    place = f"{source.file} of {source.repo} at {source.revision}"
    with asking(source.repo, source.revision, f"published_adapters.{name}"):
        try:
            yield
        except GatedRepoError:
            raise LabError(
                f"{place} is not given to everyone: ask for access on the repository's page, then set HF_TOKEN."
            ) from None
        # A subclass of the error for a file that the repository does not have, and another fault.
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError:
            files = list_repo_files(source.repo, revision=source.revision)
            there = ", ".join(file for file in files if file.endswith(".safetensors"))
            raise LabError(
                f"{place} is not on the hub, where the repository has {there or 'no safetensors'}: correct `file`."
            ) from None


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


def check_trained_on(name: str, metadata: Mapping[str, str], base: str) -> None:
    """Makes sure that an adapter that this project trained is drawn on its base; others' files name none.

    Args:
        metadata: of its file.
        base: `base.name`.

    Raises:
        LabError: it was trained on another base.
    """
    trained_on = metadata.get("taca.base", base)
    if trained_on != base:
        raise LabError(
            f"The adapter {name} was trained on the base {trained_on}, but `base.name` is {base}: take it out of "
            "`published_adapters`, or set section `base` to the one that it is for."
        )
