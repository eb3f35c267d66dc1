"""One file of a repository on the hub, fetched by the hub's own client into its cache."""

import hashlib
from pathlib import Path

from huggingface_hub import hf_hub_download, list_repo_files
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.errors import LocalEntryNotFoundError as NotHere

from lab.errors import LabError


def fetch_file(repo: str, revision: str, file: str) -> tuple[Path, str]:
    """Where the file lies in the cache, and the commit that the revision stands for.

    Raises:
        LabError: there is no such repository, revision or file, or access to it has to be asked for.
        ConnectionError: the hub cannot be reached, and the cache does not have the file.
    """
    place = f"{file} of {repo} at {revision}"
    try:
        path = Path(hf_hub_download(repo, file, revision=revision))
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
    # .../snapshots/<commit>/<file>
    return path, path.parts[path.parts.index("snapshots") + 1]


def sha256_of(path: Path) -> str:
    """64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
