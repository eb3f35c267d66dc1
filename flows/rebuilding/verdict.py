"""What a rebuild found, in words: for the terminal, for the run's tags, and as documents in the run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from flows.rebuilding.compare import Difference
from flows.rebuilding.runs import StageRun

FACTS = ("python", "platform", "host", "device")  # tags of a run
SHOWN = 5  # differences of the environment in the terminal


class Kind(StrEnum):
    """The verdict in one word."""

    IDENTICAL = "identical"
    TOLERABLE = "within tolerance"
    DIFFERENT = "different"
    CANNOT = "cannot"


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
    environment: Mapping[str, tuple[str, str]] | None = None

    @property
    def good(self) -> bool:
        """Whether the run can be had again."""
        return self.kind in (Kind.IDENTICAL, Kind.TOLERABLE)

    @property
    def largest(self) -> Difference | None:
        """The largest difference; one that no number tells is larger than any other."""
        return max(self.differences, key=lambda found: (found.size is None, found.size or 0.0), default=None)

    def tags(self) -> dict[str, str]:
        """For the run that was rebuilt."""
        return {
            "rebuild.verdict": self.kind,
            "rebuild.why": self.why,
            "rebuild.largest_difference": _size(self.largest),
            "rebuild.tolerance": f"{self.tolerance:g}",
            "rebuild.commit": self.commit,
            "rebuild.time": self.time,
            "rebuild.run_id": self.rebuild_id or "none",
        }

    def as_json(self) -> str:
        """All of it."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def as_markdown(self) -> str:
        """All of it, for people."""
        lines = [
            f"# {self.stage}: {self.kind}",
            "",
            self.why,
            "",
            f"- run {self.run_id}, commit {self.commit}",
            f"- executed again as run {self.rebuild_id or 'none'}, {self.time}",
            f"- tolerance {self.tolerance:g}",
        ]
        if self.differences:
            rows = [(found.what, _size(found), found.where) for found in self.differences]
            lines += ["", *_table(("differs", "largest difference", "where"), rows)]
        if self.environment:
            rows = [(name, *values) for name, values in self.environment.items()]
            lines += ["", *_table(("environment", "then", "now"), rows)]
        return "\n".join(lines) + "\n"

    def as_text(self) -> str:
        """A few lines."""
        lines = [f"{self.stage} of run {self.run_id}: {self.kind}", self.why]
        if self.environment is not None:
            changed = [f"{name} {then} -> {now}" for name, (then, now) in self.environment.items()]
            more = len(changed) - SHOWN
            shown = [*changed[:SHOWN], *([f"{more} more in rebuild/verdict.md of the run"] if more > 0 else [])]
            lines.append(f"Environment: {'; '.join(shown) or 'the same'}.")
        return "\n".join(lines)


def judged(differences: Sequence[Difference], tolerance: float) -> tuple[Kind, str]:
    """The verdict on all that differs, and why."""
    if not differences:
        return Kind.IDENTICAL, "Every output has the recorded hash and every metric the recorded value."
    beyond = [found for found in differences if found.size is None or found.size > tolerance]
    if beyond:
        return Kind.DIFFERENT, f"Other than recorded: {'; '.join(map(_named, beyond))}."
    largest = max(differences, key=lambda found: found.size)
    return Kind.TOLERABLE, f"No number differs by more than {tolerance:g}; the largest difference is {_named(largest)}."


def surroundings(run: StageRun, fresh: StageRun) -> dict[str, tuple[str, str]]:
    """Facts of machine and environment that are not the same for two runs, with both values."""
    then, now = run.packages(), fresh.packages()
    # First packages in another version, then those that one of the two does not have.
    names = sorted(then | now, key=lambda name: (not (name in then and name in now), name))
    packages = {f"package {name}": (then.get(name, "none"), now.get(name, "none")) for name in names}
    facts = {name: (run.tags.get(name, "unknown"), fresh.tags.get(name, "unknown")) for name in FACTS}
    return {name: values for name, values in {**facts, **packages}.items() if values[0] != values[1]}


def _named(found: Difference) -> str:
    return (
        f"{found.what} ({_size(found)}, {found.where})" if found.size is not None else f"{found.what} ({found.where})"
    )


def _size(found: Difference | None) -> str:
    if found is None:
        return "0"
    return "no number" if found.size is None else f"{found.size:.3g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(str(cell) for cell in row)} |" for row in (head, ["---"] * len(head), *rows)]
    return lines
