"""Files of a data set on the hub at one commit, or below an `s3://` address, opened for reading in parts."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import botocore.exceptions
import fsspec
from huggingface_hub import HfApi, HfFileSystem, try_to_load_from_cache

from lab.data.fetching.store import Store
from lab.data.tabular.files import Files, TableFile, is_meant
from lab.errors import LabError
from lab.hosted.blocks import KeptFile
from lab.models.published.faults import LATER, asking

COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True)
class Listing:
    """What a data set is at a commit, which never changes.

    Attributes:
        files: size in bytes and digest by path.
    """

    commit: str
    licence: str | None
    files: dict[str, tuple[int, str]]


def hub_files(repo: str, revision: str, pattern: str, store: Path) -> Files:
    """Files of a data set at the commit that a branch, a tag or a commit stands for now.

    Those that the hub's cache has whole are read from there, and of others the blocks that the store has. Of a commit
    that was read before the hub is not even asked which files it has.

    Raises:
        LabError: there is no such data set or revision, or no access to it.
        ConnectionError, TimeoutError: the hub does not answer.
    """
    listing = _listing(repo, revision, Store(store))
    # Without fsspec's cache of instances, which would remember a server's earlier state.
    system = HfFileSystem(skip_instance_cache=True)
    root = f"datasets/{repo}@{listing.commit}"

    def opener(name: str, whole: bool = False) -> AbstractContextManager:
        here = try_to_load_from_cache(repo, name, revision=listing.commit, repo_type="dataset")
        if isinstance(here, str):
            return open(here, "rb")
        size, digest = listing.files[name]
        return _kept(
            Store(store),
            f"hub {digest}",
            size,
            whole,
            lambda: system.open(f"{root}/{name}", "rb", cache_type="none"),
            lambda: asking(repo, listing.commit, "sample"),
        )

    files = [
        TableFile(name, size, digest, opener)
        for name, (size, digest) in listing.files.items()
        if is_meant(name, pattern)
    ]
    said = {"repo": repo, "revision": listing.commit, "licence": listing.licence}
    return Files(f"hf://{root}", files, said)


def _listing(repo: str, revision: str, store: Store) -> Listing:
    """Kept by commit; a branch or a tag is asked for its commit each time. Raises as `hub_files`."""
    folder = store.folder / "hosted" / "listings" / sha256(repo.encode()).hexdigest()[:16]
    if COMMIT.fullmatch(revision) and (folder / f"{revision}.json").exists():
        return Listing(**json.loads((folder / f"{revision}.json").read_text()))
    with _naming_last(folder / f"last-{sha256(revision.encode()).hexdigest()[:16]}", revision) as last:
        with asking(repo, revision, "sample"):
            about = HfApi().dataset_info(repo, revision=revision)
            root = f"datasets/{repo}@{about.sha}"
            found = HfFileSystem(skip_instance_cache=True).find(root, detail=True)
        store.put(last, about.sha.encode())
    files = {path.removeprefix(f"{root}/"): (entry["size"], _digest(entry)) for path, entry in found.items()}
    licence = next((tag.removeprefix("license:") for tag in about.tags or () if tag.startswith("license:")), None)
    listing = Listing(about.sha, licence, files)
    store.put(folder / f"{about.sha}.json", json.dumps(asdict(listing)).encode())
    return listing


@contextmanager
def _naming_last(last: Path, revision: str) -> Iterator[Path]:
    """Where the hub is out of reach, says which commit needs none. Raises: ConnectionError, TimeoutError."""
    try:
        yield last
    except (ConnectionError, TimeoutError) as error:
        if not last.exists():
            raise
        commit = last.read_text()
        raise type(error)(
            f"{str(error).rstrip('.')}; or set `sample.revision` to {commit}, which {revision!r} was when it was last "
            "asked: what was read of that is kept."
        ) from error


def _digest(entry: dict) -> str:
    """sha256 of large files, git's hash of others."""
    return f"sha256:{entry['lfs']['sha256']}" if entry.get("lfs") else f"git:{entry['blob_id']}"


def bucket_files(address: str, pattern: str, store: Path) -> Files:
    """Files below an `s3://` address; who is asked and as whom stands in the environment, as for every client of S3.

    Raises:
        LabError: there is no such bucket, or no access to it.
        ConnectionError: nobody answers there.
    """
    with _asking_bucket(address):
        system, root = fsspec.core.url_to_fs(address, skip_instance_cache=True)
        found = system.find(root, detail=True)
    facts = {
        path.removeprefix(f"{root}/"): (entry["size"], f"etag:{entry['ETag'].strip(chr(34))}")
        for path, entry in found.items()
    }

    def opener(name: str, whole: bool = False) -> AbstractContextManager:
        size, etag = facts[name]
        return _kept(
            Store(store),
            f"{address}/{name} {etag}",
            size,
            whole,
            lambda: system.open(f"{root}/{name}", "rb", cache_type="none"),
            lambda: _asking_bucket(address),
        )

    files = [TableFile(name, size, etag, opener) for name, (size, etag) in facts.items() if is_meant(name, pattern)]
    return Files(address, files, {"address": address, "licence": None})


@contextmanager
def _kept(
    store: Store,
    identity: str,
    size: int,
    whole: bool,
    ask: Callable[[], AbstractContextManager],
    naming: Callable[[], AbstractContextManager],
) -> Iterator[KeptFile]:
    """A file by way of the store; `naming` says what the host's faults mean."""
    with naming(), ExitStack() as opened:
        yield KeptFile(store, identity, size, whole, lambda: opened.enter_context(ask()))


@contextmanager
def _asking_bucket(address: str) -> Iterator[None]:
    """Raises: LabError, ConnectionError."""
    try:
        yield
    except (FileNotFoundError, PermissionError, botocore.exceptions.NoCredentialsError) as error:
        raise LabError(
            f"`sample.address` is {address!r}, but that cannot be read ({error}): correct it, or set the keys that may "
            "read it in the environment, as for the AWS command line."
        ) from error
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        raise ConnectionError(f"{address} cannot be reached ({error}): {LATER}.") from error
