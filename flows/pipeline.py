"""The pipeline as a flow: `python -m flows.pipeline [stage ...] [--plan]`.

Every stage is a Prefect task that calls `dvc repro -s`; stages that do not need each other run at once. A stage that
fails does not stop those that do not need it.
"""

import argparse
from pathlib import Path

from flows.errors import told
from flows.running.graph import changed, chosen, plan_table, read_graph
from flows.running.process import end_on_sigterm
from flows.services.server import run_flow
from flows.settings import machine
from lab.params import load


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
    with told():
        load()
        machine(root)
        graph = read_graph(root)
        names = chosen(graph, options.targets)
        if options.plan:
            # Only these are looked at: a full-size arm has tens of thousands of files.
            print(plan_table(graph, names, changed(root, names if options.targets else ())))
            return
        run_flow(root, "flows.running.flow:pipeline", options.targets)


if __name__ == "__main__":
    main()
