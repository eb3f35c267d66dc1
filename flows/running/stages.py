"""Stages of one workspace, each run where a place is free, and what became of them."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from flows.running.graph import Graph, changed
from flows.running.leases import Leases
from flows.running.record import Record
from flows.running.repro import Outcome, State, environment, reproduce


class Stages:
    """Runs stages, of which others may lend from the same `leases`. Called from many threads."""

    def __init__(self, root: Path, graph: Graph, record: Record, leases: Leases, options: Sequence[str] = ()):
        self._options = options  # of `dvc repro`
        self.graph, self.leases = graph, leases
        self.outcomes: dict[str, Outcome] = {}
        self.attempts: Counter[str] = Counter()
        self._root, self._parent = root, record.run_id
        # Only what DVC finds changed, and what may change with it, is handed to DVC again.
        self._touched = graph.touched(changed(root))

    def is_unchanged(self, stage: str) -> bool:
        """Whether DVC found it, and all that it needs, up to date at the start."""
        return stage not in self._touched

    def run(self, stage: str, on_line: Callable[[str], None]) -> Outcome:
        """Runs one stage whose needs are met, once."""
        outcome = Outcome(stage, State.CACHED) if self.is_unchanged(stage) else self._reproduced(stage, on_line)
        self.outcomes[stage] = outcome
        self.attempts[stage] += 1
        return outcome

    def _reproduced(self, stage: str, on_line: Callable[[str], None]) -> Outcome:
        with self.leases.lease(self.graph.stages[stage]) as place:
            if place is None:
                return Outcome(stage, State.STOPPED)
            env = environment(self._root, TACA_PARENT_RUN_ID=self._parent, **place)
            rest = {"env": env, "stop": self.leases.stop, "on_line": on_line, "options": self._options}
            return reproduce(stage, root=self._root, **rest)
