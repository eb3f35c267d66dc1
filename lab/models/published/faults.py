"""What the hub's client raises, as one sentence that says what to do, or as the fault of a network that passes."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from lab.errors import LabError

REFUSED = (401, 403)
LATER = "see that it can be reached from here, and run the command again, which goes on with what has arrived"


@contextmanager
def asking(repo: str, revision: str, section: str = "base") -> Iterator[None]:
    """Runs calls of the hub's client that are about a revision of a repository.

    Args:
        section: of the parameters, which names `repo` and `revision`.

    Raises:
        LabError: there is no such repository or revision, or no access to it.
        ConnectionError, TimeoutError: the hub does not answer, or breaks off; it may later.
    """
    try:
        yield
    except HfHubHTTPError as error:
        raise _refusal(error, repo, revision, section) from error
    except httpx2.TimeoutException as error:
        raise TimeoutError(f"The hub did not answer in time for {repo} ({error}): {LATER}.") from error
    # The client says in this way that it could not ask, and that its cache has no answer either.
    except (httpx2.HTTPError, LocalEntryNotFoundError) as error:
        raise ConnectionError(f"The hub cannot be reached for {repo} ({_first_line(error)}): {LATER}.") from error
    except OSError as error:
        if error.errno is not None:
            raise  # of this machine, such as a full disk
        raise ConnectionError(f"The hub sent a file of {repo} that is not whole ({_first_line(error)}): {LATER}.") from error


def _refusal(error: HfHubHTTPError, repo: str, revision: str, section: str) -> Exception:
    status, page = error.response.status_code, f"{constants.ENDPOINT}/{repo}"
    if isinstance(error, GatedRepoError) or (status in REFUSED and not isinstance(error, RepositoryNotFoundError)):
        return LabError(
            f"{repo} is given to those alone who have accepted its licence: accept it at {page}, then log in with "
            "`hf auth login`, or set HF_TOKEN to a token that may read it."
        )
    if isinstance(error, RevisionNotFoundError):
        return LabError(
            f"`{section}.revision` is {revision!r}, but {repo} has no such branch, tag or commit: {page}/commits lists them."
        )
    if isinstance(error, RepositoryNotFoundError):
        return LabError(
            f"`{section}.repo` is {repo!r}, but the hub has none of that name, or it is private: correct it, or log in with "
            "`hf auth login`, or set HF_TOKEN."
        )
    if status < 500 and status != 429:
        return LabError(f"The hub refuses {repo} at {revision} ({_first_line(error)}): {page} may say why.")
    return ConnectionError(f"The hub answers with status {status} for {repo}: {LATER}.")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
