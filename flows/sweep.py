"""A sweep as a flow: `python -m flows.sweep table4 [--plan]`.

Every cell is a DVC experiment, named by its overrides, that runs in a workspace of its own. Cells that are finished are
not run again; stages that cells share with the pipeline or with each other run once.
"""

import argparse
from pathlib import Path

from flows.errors import told
from flows.running.process import end_on_sigterm
from flows.services.server import run_flow
from flows.settings import machine
from flows.sweeps import experiments
from flows.sweeps.cells import Cell, Planner, is_finished
from flows.sweeps.definition import labelled, read_sweep
from lab.params import load
from runtime.errors import StageError
from runtime.execution.graph import read_stages
from runtime.tracking.git import git


def main() -> None:
    """Runs the sweep, or prints its cells; status 1 when a cell failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="of a file in experiments/sweeps, without .yaml")
    parser.add_argument("--plan", action="store_true", help="list the cells and what each would run, and run nothing")
    options = parser.parse_args()
    root = Path.cwd()
    end_on_sigterm()
    with told():
        load()
        planned = plan(root, options.name)
        if options.plan:
            print(planned)
            return
        refuse_untracked(root)
        settings = machine(root)
        if settings.runner != "local":
            # This imports Prefect, which then knows no server but the one that these runners need to be told of.
            from flows.machines.runner_checks import check_runner

            check_runner(root, settings)
        run_flow(root, "flows.sweeps.flow:sweep", options.name)


def plan(root: Path, name: str) -> str:
    """One line for each cell that the file names."""
    sweep = read_sweep(root, name)
    planner = Planner(root, sweep)
    cells = [planner.cell(label, overrides) for label, overrides in labelled(sweep)]
    known = experiments.finished(root, experiments.head(root))
    lines = [f"{cell.label:<28} {cell.name}  {_what(cell, name, known)}" for cell in cells]
    if sweep.search is not None:
        lines.append(f"and {sweep.search.samples} cells drawn by {sweep.search.method}")
    return "\n".join(lines)


def refuse_untracked(root: Path) -> None:
    """Refuses files that cells would need and git does not know: an experiment is a commit.

    Raises:
        StageError: there are some.
    """
    code = [dep for stage in read_stages(root).values() for dep in stage.deps]
    needed = git(root, "ls-files", "--others", "--exclude-standard", "--", *code).splitlines()
    if needed:
        raise StageError(f"git does not know {', '.join(needed)}, which the cells' stages read: `git add` them first.")


def _what(cell: Cell, sweep: str, known: dict[str, tuple[str, str]]) -> str:
    if is_finished(cell, sweep, known):
        return "finished"
    return f"runs {', '.join(cell.stages)}" if cell.stages else f"is arm {cell.arm} of the pipeline"


if __name__ == "__main__":
    main()
