"""Images that are there already, by their bytes or by what they show."""

import numpy as np

from lab.data.fetching.outcomes import Denied, Kept


class Duplicates:
    """Those kept so far, in the order of their rank.

    Args:
        distance: bits in which perceptual hashes of near-duplicates differ at most; None for bytes alone.
    """

    def __init__(self, distance: int | None):
        self.distance = distance
        self._by_bytes: dict[str, int] = {}
        self._ranks: list[int] = []
        self._hashes = np.empty(1024, np.uint64)

    def add(self, kept: Kept) -> None:
        """Raises: Denied where its like is there already."""
        rank, phash = kept.candidate.rank, np.uint64(int(kept.phash, 16))
        if kept.sha256 in self._by_bytes:
            raise Denied("duplicate", f"of rank {self._by_bytes[kept.sha256]}")
        count = len(self._ranks)
        if self.distance is not None:
            near = np.flatnonzero(np.bitwise_count(self._hashes[:count] ^ phash) <= self.distance)
            if near.size:
                raise Denied("near-duplicate", f"of rank {self._ranks[near[0]]}")
        if count == len(self._hashes):
            self._hashes = np.resize(self._hashes, 2 * count)
        self._hashes[count] = phash
        self._ranks.append(rank)
        self._by_bytes[kept.sha256] = rank
