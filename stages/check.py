"""Stage `check`: refuses a faulty `params.yaml` before anything runs.

Its output is always the same, so that the stages that depend on it run again only for parameters of their own.
"""

import sys

from lab.params import load
from runtime.execution import stage

OUTPUT = "data/params-checked.txt"


def main() -> None:
    """`stage` itself validates; what is left is to say so."""
    with stage("check", sys.argv[1:], load) as run:
        run.fresh(OUTPUT).write_text("params.yaml is valid\n")


if __name__ == "__main__":
    main()
