"""What a rebuild found, in words: for the terminal, for the run's tags, and as documents in the run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

SHOWN = 5  # differences of the environment in the terminal


class Kind(StrEnum):
    """The verdict in one word."""

    IDENTICAL = "identical"
    TOLERABLE = "within tolerance"
    DIFFERENT = "different"
    CANNOT = "cannot"


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same.

    `size` is that of the largest difference between two numbers: relative to the larger one, absolute below 1 and for
    integers; None when something differs that is no number.
    """

    what: str
    size: float | None
    where: str

    def __str__(self) -> str:
        return f"{self.what} ({self.where})" if self.size is None else f"{self.what} ({self.size:.3g}, {self.where})"


@dataclass(frozen=True)
class Verdict:
    """What became of one run, `run_id`, when stage `stage` was executed again on what it had read.

    `rebuild_id` is the run of that execution; `environment` maps what differs around it to both values; `why` says in
    one sentence what the verdict rests on.
    """

    run_id: str
    stage: str
    commit: str
    kind: Kind
    why: str
    tolerance: float
    time: str
    rebuild_id: str | None = None
    differences: Sequence[Difference] = ()
    environment: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def tags(self) -> dict[str, str]:
        """For the run that was rebuilt."""
        sizes = ["no number" if found.size is None else f"{found.size:.3g}" for found in _largest(self.differences)]
        return {
            "rebuild.verdict": self.kind,
            "rebuild.why": self.why,
            "rebuild.largest_difference": next(iter(sizes), "0"),
            "rebuild.tolerance": f"{self.tolerance:g}",
            "rebuild.commit": self.commit,
            "rebuild.time": self.time,
            "rebuild.run_id": self.rebuild_id or "none",
        }

    def as_text(self) -> str:
        """A few lines."""
        lines = [f"{self.stage} of run {self.run_id}: {self.kind}", self.why]
        if self.kind is not Kind.CANNOT:
            more = [f"{len(self.environment) - SHOWN} more in rebuild/verdict.md of the run"]
            changes = [*self._changes()[:SHOWN], *(more if len(self.environment) > SHOWN else [])]
            lines.append(f"Environment: {'; '.join(changes) or 'the same'}.")
        return "\n".join(lines)

    def as_markdown(self) -> str:
        """All of it, for people."""
        again = f"executed again as run {self.rebuild_id or 'none'}, {self.time}"
        lists = {
            f"# {self.stage}: {self.kind}": [self.why],
            "## Run": [f"run {self.run_id}, commit {self.commit}", again, f"tolerance {self.tolerance:g}"],
            "## Differences": self.differences,
            "## Environment": self._changes(),
        }
        return "\n".join(f"{head}\n\n" + "".join(f"- {entry}\n" for entry in lists[head]) for head in lists)

    def _changes(self) -> list[str]:
        return [f"{name} {then} -> {now}" for name, (then, now) in self.environment.items()]


def judged(differences: Sequence[Difference], tolerance: float) -> tuple[Kind, str]:
    """The verdict on all that differs, and why."""
    if not differences:
        return Kind.IDENTICAL, "Every output has the recorded hash and every metric the recorded value."
    beyond = [str(found) for found in differences if found.size is None or found.size > tolerance]
    if beyond:
        return Kind.DIFFERENT, f"Other than recorded: {'; '.join(beyond)}."
    largest = _largest(differences)[0]
    return Kind.TOLERABLE, f"No number differs by more than {tolerance:g}; the largest difference is {largest}."


def _largest(differences: Sequence[Difference]) -> list[Difference]:
    """The largest first; one that no number tells is larger than any other."""
    return sorted(differences, key=lambda found: (found.size is not None, -(found.size or 0.0)))
