"""What became of the candidates, in numbers."""

from collections import Counter
from collections.abc import Iterable

from lab.data.fetching.outcomes import REASONS, Kept, Outcome


class Tally:
    """Counts outcomes."""

    def __init__(self, outcomes: Iterable[Outcome] = ()):
        self.kept = self.bytes = 0
        self.refused: Counter[str] = Counter()
        for outcome in outcomes:
            self.add(outcome)

    def add(self, outcome: Outcome) -> None:
        """One more."""
        if isinstance(outcome, Kept):
            self.kept += 1
            self.bytes += outcome.bytes
        else:
            self.refused[outcome.reason] += 1

    def metrics(self) -> dict[str, float]:
        """For MLflow: how many were kept and refused, in all and by reason, and which share is good."""
        seen = self.kept + self.refused.total()
        found = {f"refused/{reason}": self.refused[reason] for reason in REASONS if self.refused[reason]}
        totals = {"kept": self.kept, "kept_bytes": self.bytes, "refused": self.refused.total()}
        return totals | {"success_share": self.kept / max(1, seen)} | found

    def commonest(self, number: int = 3) -> str:
        """The commonest reasons in words, as "status (12), time (3)"; "none was refused" without any."""
        found = self.refused.most_common(number)
        return ", ".join(f"{reason} ({count})" for reason, count in found) or "none was refused"
