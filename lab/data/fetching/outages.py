"""Tells servers that are gone from a network that is."""

from collections.abc import Callable

from yarl import URL

from lab.data.fetching.outcomes import Denied

HOSTS = 20  # which, one after the other, do not all happen to be gone
TIMES = 1000


class Outages:
    """Notes failures to reach a server only once another has answered, so that no outage of ours makes links dead.

    Args:
        note: keeps the failure of a URL.
    """

    def __init__(self, note: Callable[[str, Denied], None]):
        self.note = note
        self._waiting: list[tuple[str, Denied]] = []

    def answered(self) -> None:
        """Some server did."""
        for url, denied in self._waiting:
            self.note(url, denied)
        self._waiting.clear()

    def unreachable(self, url: str, denied: Denied) -> None:
        """Raises: ConnectionError where nobody has answered for long."""
        self._waiting.append((url, denied))
        hosts = {URL(waiting[0]).host for waiting in self._waiting}
        if len(hosts) >= HOSTS or len(self._waiting) >= TIMES:
            raise ConnectionError(
                f"None of the last {len(self._waiting)} images' servers could be reached (the last: {denied.detail}): "
                "check the network and run again, which goes on from what is fetched."
            )
