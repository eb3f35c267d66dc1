"""Files of a data set on the hub at one commit, or below an `s3://` address, opened for reading in parts."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch

import botocore.exceptions
import fsspec
from huggingface_hub import HfApi, HfFileSystem, try_to_load_from_cache

from lab.data.tabular.files import Files, TableFile
from lab.errors import LabError
from lab.models.published.faults import LATER, asking


def hub_files(repo: str, revision: str, pattern: str) -> Files:
    """Files of a data set at the commit that a branch, a tag or a commit stands for now.

    Those that the hub's cache has whole are read from there.

    Raises:
        LabError: there is no such data set or revision, or no access to it.
        ConnectionError, TimeoutError: the hub does not answer.
    """
    with asking(repo, revision, "sample"):
        about = HfApi().dataset_info(repo, revision=revision)
        # Without fsspec's cache of instances, which would remember a server's earlier state.
        system = HfFileSystem(skip_instance_cache=True)
        root = f"datasets/{repo}@{about.sha}"
        found = system.find(root, detail=True)
    opener = _Opener(system, repo, about.sha)
    files = [
        TableFile(name, entry["size"], _digest(entry), opener)
        for path, entry in found.items()
        if fnmatch(name := path.removeprefix(f"{root}/"), pattern)
    ]
    licence = next((tag.removeprefix("license:") for tag in about.tags or () if tag.startswith("license:")), None)
    said = {"repo": repo, "revision": about.sha, "licence": licence}
    return Files(f"hf://{root}", files, said)


def _digest(entry: dict) -> str:
    """sha256 of large files, git's hash of others."""
    return f"sha256:{entry['lfs']['sha256']}" if entry.get("lfs") else f"git:{entry['blob_id']}"


@dataclass(frozen=True)
class _Opener:
    """Opens a file by its path in the repository; for reading from start to end where `whole`."""

    system: HfFileSystem
    repo: str
    commit: str

    @contextmanager
    def __call__(self, name: str, whole: bool = False) -> Iterator:
        here = try_to_load_from_cache(self.repo, name, revision=self.commit, repo_type="dataset")
        with asking(self.repo, self.commit, "sample"):
            if isinstance(here, str):
                with open(here, "rb") as file:
                    yield file
            else:
                with self.system.open(f"datasets/{self.repo}@{self.commit}/{name}", "rb", **_reading(whole)) as file:
                    yield file


def bucket_files(address: str, pattern: str) -> Files:
    """Files below an `s3://` address; who is asked and as whom stands in the environment, as for every client of S3.

    Raises:
        LabError: there is no such bucket, or no access to it.
        ConnectionError: nobody answers there.
    """
    with _asking_bucket(address):
        system, root = fsspec.core.url_to_fs(address, skip_instance_cache=True)
        found = system.find(root, detail=True)

    @contextmanager
    def opener(name: str, whole: bool = False) -> Iterator:
        with _asking_bucket(address), system.open(f"{root}/{name}", "rb", **_reading(whole)) as file:
            yield file

    files = [
        TableFile(name, entry["size"], f"etag:{entry['ETag'].strip(chr(34))}", opener)
        for path, entry in found.items()
        if fnmatch(name := path.removeprefix(f"{root}/"), pattern)
    ]
    return Files(address, files, {"address": address, "licence": None})


def _reading(whole: bool) -> dict:
    """Reading in parts asks for the very bytes that are wanted, reading from start to end for a MiB at a time."""
    return {"cache_type": "readahead", "block_size": 2**20} if whole else {"cache_type": "none"}


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
