"""The pipeline as a flow: `python -m flows.pipeline [stage ...] [--plan]`.

Every stage is a Prefect task that calls `dvc repro -s`; stages that do not need each other run at once. A stage that
fails does not stop those that do not need it.
"""

import argparse
import sys
import threading
from pathlib import Path

from flows.errors import TOLD
from flows.running.graph import Graph, changed, chosen, read_graph
from flows.running.leases import Leases, gpus, places
from flows.running.process import end_on_sigterm, write_whole
from flows.running.record import Record
from flows.running.repro import Outcome, Retry, State, environment, reproduce
from flows.running.start import ready
from flows.running.tables import plan_table, stage_rows
from lab.params import load

PARENT = Path(".work") / "flows" / "parent"  # holds the id of the flow's MLflow run


def main() -> None:
    """Runs the flow, or prints what it would run; status 1 when a stage failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "targets", nargs="*", metavar="stage", help="with all that it needs; by default the whole pipeline"
    )
    parser.add_argument("--plan", action="store_true", help="say what would run and why, and run nothing")
    options = parser.parse_args()
    root = Path.cwd()
    end_on_sigterm()
    try:
        load()
        graph = read_graph(root)
        names = chosen(graph, options.targets)
        if options.plan:
            print(plan_table(graph, names, changed(root)))
            return
        with ready(root):
            from flows.running.tasks import pipeline

            state = pipeline(options.targets, return_state=True)
    except TOLD as error:
        sys.exit(str(error))
    if not state.is_completed():
        sys.exit(f"The pipeline did not finish: {state.message}")


class Stages:
    """Runs stages of one workspace and keeps what became of them. Called from many threads."""

    def __init__(self, root: Path, graph: Graph, record: Record):
        params = load(root / "params.yaml")
        self.graph = graph
        self.outcomes: dict[str, Outcome] = {}
        self.stop = threading.Event()
        self._root = root
        self._parent = root / PARENT
        self._parent.unlink(missing_ok=True)
        # Stages need not wait for MLflow: each reads there which run is above its own when it opens that.
        record.when_open(lambda opened: write_whole(self._parent, opened.id), self.stop.set)
        self._gpu_stages = params.flows.gpu_stages
        self._retry = Retry(params.flows.retries, params.flows.retry_seconds)
        self._leases = Leases(params.flows.workers, gpus())
        # Only what DVC finds changed, and what may change with it, is handed to DVC again.
        self._unchanged = set(graph.needs) - graph.below(changed(root))

    def is_unchanged(self, stage: str) -> bool:
        """Whether DVC found it, and all that it needs, up to date at the start."""
        return stage in self._unchanged

    def run(self, stage: str, on_line) -> Outcome:
        """Runs one stage whose needs are met."""
        if self.is_unchanged(stage):
            outcome = Outcome(stage, State.CACHED, 0.0)
        else:
            needed = places(self.graph.stages[stage])
            with self._leases.lease(needed, stage.partition("@")[0] in self._gpu_stages, self.stop) as place:
                outcome = self._reproduced(stage, place, on_line)
        self.outcomes[stage] = outcome
        return outcome

    def _reproduced(self, stage: str, place: dict[str, str] | None, on_line) -> Outcome:
        if place is None:
            return Outcome(stage, State.STOPPED, 0.0)
        env = environment(self._root, TACA_PARENT_RUN_FILE=str(self._parent), **place)
        return reproduce(stage, root=self._root, env=env, stop=self.stop, retry=self._retry, on_line=on_line)


def conclude(root: Path, stages: Stages, names: list[str], record: Record) -> list[dict[str, str]]:
    """Writes into the flow's run what became of its stages, and closes it; the rows of the table of stages."""
    rows = stage_rows(root, names, stages.outcomes, record)
    for row in rows:
        record.tag({f"stage.{row['stage']}": row["state"], f"stage.{row['stage']}.run_id": row["run"]})
    record.sum_costs()
    failed = [row["stage"] for row in rows if row["state"] in (State.FAILED, "not run")]
    record.end("FAILED" if failed else "FINISHED", f"{', '.join(failed)} failed or could not run" if failed else "")
    return rows


if __name__ == "__main__":
    main()
