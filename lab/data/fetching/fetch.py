"""Fetches images in the order of their rank until enough are kept."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from lab.data.fetching.outcomes import Candidate, Outcome
from lab.data.fetching.settings import Settings


def fetch(candidates: Iterable[Candidate], wanted: int, settings: Settings, store: Path) -> Iterator[Outcome]:
    """Outcomes of the candidates in the order of their rank, each once, until `wanted` are kept or none is left.

    Which are kept depends on ranks and answers alone, never on which answer came first; of near-duplicates the one of
    lowest rank is kept. What the store holds is not asked for again, nor are refusals that it remembers. The work goes
    on in a thread of its own while the caller works on an outcome; closing the iterator ends it.

    Args:
        candidates: by rising rank; read only as far as needed, in the thread.
        store: the folder in which fetched bytes and answers stay, shared by runs. See `lab.data.fetching.store`.

    Raises:
        ConnectionError: there is no network: nobody answered at all, many times in a row.
        OSError: the store cannot be written, as on a full disk; what it has stays.
    """
    raise NotImplementedError
