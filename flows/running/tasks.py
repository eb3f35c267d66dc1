"""Stages of one workspace as Prefect tasks: tried again when what failed passes by itself, in threads of their own."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from functools import wraps
from pathlib import Path

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.states import Completed, Crashed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import exponential_backoff

from flows.errors import TOLD
from flows.running.graph import Graph, changed
from flows.running.housekeeping import server_is_gone
from flows.running.leases import Leases
from flows.running.process import LOOK
from flows.running.record import Record
from flows.running.repro import Fault, Outcome
from flows.running.repro import State as StageState
from flows.settings import Machine

PASSING = "Unavailable"  # the name of a failed state that is tried again
JITTER = 0.5  # of a wait: who was refused together asks again at different times
ENDED: list[State] = []  # of this process
AT_WORK: set[int] = set()  # threads of this process in a task's function, not those that wait to try again


class Threads(ThreadPoolTaskRunner):
    """A thread for each task; one that waits to try again does not keep a flow that is stopped from ending.

    Prefect waits in the task's thread, in a sleep that nothing interrupts. How many tasks are at work at once is for
    their places to say (`flows.running.leases`).
    """

    def __enter__(self) -> "Threads":
        super().__enter__()
        self._executor = _Daemons()
        return self


class _Daemons(Executor):
    def submit(self, function: Callable, /, *arguments: object, **options: object) -> Future:
        future: Future = Future()

        def follow() -> None:
            try:
                future.set_result(function(*arguments, **options))
            except BaseException as error:  # whoever asks for the result gets it
                future.set_exception(error)

        threading.Thread(target=follow, daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        while AT_WORK:
            time.sleep(LOOK)


def tried(function: Callable[..., State], *, name: str, run_name: str, machine: Machine) -> Task:
    """A task of a function that returns a state; one that is called `PASSING` is tried again, as `machine` says."""

    @wraps(function)
    def attempt(*arguments: object) -> State:
        AT_WORK.add(threading.get_ident())
        try:
            return function(*arguments)
        finally:
            AT_WORK.discard(threading.get_ident())

    return task(
        name=name,
        task_run_name=run_name,
        cache_policy=NO_CACHE,  # DVC is the cache
        retries=machine.retries,
        retry_delay_seconds=exponential_backoff(machine.retry_seconds),
        retry_jitter_factor=JITTER,
        retry_condition_fn=_passes,
    )(attempt)


def concluded(run: Callable[[], State]) -> State:
    """How a flow ends; kept in `ENDED` too, where its server may have died and cannot be told."""
    ENDED.append(state_of(run))
    if server_is_gone():
        logging.disable(logging.CRITICAL)  # of that Prefect would log a traceback, and then another
    return ENDED[-1]


def state_of(run: Callable[[], State]) -> State:
    """What `run` returns, or a failed state for a fault that its user can mend, whose traceback would say less."""
    try:
        return run()
    except (ConnectionError, TimeoutError) as error:
        return Failed(name=PASSING, message=str(error))
    except TOLD as error:
        return Failed(message=str(error))


def _passes(task: Task, run: TaskRun, state: State) -> bool:
    # Prefect takes a function for this alone: with a method or a partial it would never try again, and say nothing.
    return state.name == PASSING


class Stages:
    """Runs stages of the workspace at `root`, where `leases` have a place for them. Called from many threads.

    Attributes:
        outcomes: what became of each stage, by its name.
        attempts: how often it was run.
    """

    def __init__(self, root: Path, graph: Graph, record: Record, leases: Leases, options: Sequence[str] = ()):
        self._options = options  # of `dvc repro`
        self.graph, self.leases = graph, leases
        self.outcomes: dict[str, Outcome] = {}
        self.attempts: Counter[str] = Counter()
        self._root, self._env = root, {"TACA_PARENT_RUN_ID": record.run_id}
        # Only what DVC finds changed, and what may change with it, is handed to DVC again.
        self._touched = graph.touched(changed(root))

    def is_unchanged(self, stage: str) -> bool:
        """Whether DVC found it, and all that it needs, up to date at the start."""
        return stage not in self._touched

    def run(self, stage: str, on_line: Callable[[str], None]) -> Outcome:
        """Runs one stage whose needs are met, once."""
        outcome = Outcome(stage, StageState.CACHED)
        if not self.is_unchanged(stage):
            outcome = self.leases.run(self.graph.stages[stage], self._root, self._env, on_line, self._options)
        self.outcomes[stage] = outcome
        self.attempts[stage] += 1
        return outcome


def submitted(stages: Stages, names: Iterable[str]) -> dict[str, PrefectFuture]:
    """A task for each of these stages, which come in an order in which they can run; it waits for those it needs."""
    futures: dict[str, PrefectFuture] = {}
    for name in names:
        needed = [futures[need] for need in stages.graph.needs[name] if need in futures]
        run = tried(_run, name=name.partition("@")[0], run_name=name, machine=stages.leases.machine)
        futures[name] = run.submit(stages, name, wait_for=needed)
    return futures


def _run(stages: Stages, name: str) -> State:
    outcome = stages.run(name, get_run_logger().info)
    if outcome.state is StageState.FAILED:
        return Failed(name=PASSING if outcome.fault is Fault.TRANSIENT else "Failed", message=outcome.message)
    if outcome.state is StageState.STOPPED:
        return Crashed(message="The flow was stopped.")
    named = "Completed" if outcome.state is StageState.RAN else outcome.state.capitalize()
    return Completed(name=named, message=f"{outcome.seconds:.1f} s")
