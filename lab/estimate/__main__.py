"""`python -m lab.estimate`: what `params.yaml`, or a profile, will need of a GPU, of time and of disk.

Nothing is computed and no weights are fetched: a base on the hub is known by its configurations, a few kilobytes.
"""

import argparse
import sys

from compbench.errors import CompbenchError
from lab.errors import LabError
from lab.online import go_online
from lab.params import Params, load
from lab.params.profile import profile_params
from runtime.errors import StageError


def main() -> None:
    """Prints the table; ends with one sentence where that fails."""
    asked = _parser().parse_args()
    try:
        print(_table(profile_params(asked.profile) if asked.profile else load(), asked.price))
    except (StageError, LabError, CompbenchError, ConnectionError, TimeoutError) as error:
        sys.exit(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab.estimate", description=__doc__.split("\n\n")[0])
    parser.add_argument("profile", nargs="?", help="one of experiments/profiles, with overlays behind it")
    parser.add_argument("--price", type=float, help="what an hour of your card costs")
    return parser


def _table(params: Params, price: float | None) -> str:
    if params.base.source == "hub":
        go_online()
    from lab.estimate.configs import open_base
    from lab.estimate.estimate import estimate
    from lab.estimate.table import table

    return table(list(estimate(params, open_base(params.base))), price)


if __name__ == "__main__":
    main()
