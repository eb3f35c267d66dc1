"""`python -m lab.preflight [stage ...]`: all that is missing for the stages of `params.yaml`, before anything runs.

Faults of `params.yaml` itself come first. Without any it says nothing.
"""

import argparse
import sys
from pathlib import Path

from lab.online import go_online
from lab.params import load
from lab.params.profile import profile_params
from lab.preflight import missing, missing_for
from runtime.errors import StageError

FAULTY = 2  # status where the parameters themselves are


def main() -> None:
    """Ends with status 1 if anything is missing, with 2 if the parameters are at fault."""
    parser = argparse.ArgumentParser(prog="python -m lab.preflight", description=__doc__.split(": ", 1)[1])
    parser.add_argument("stages", nargs="*", metavar="stage", help="look at these alone, such as generate")
    parser.add_argument("--profile", help="look at all stages of this profile, in place of params.yaml's")
    options = parser.parse_args()
    # Naming a repository of the hub is the consent to ask for it.
    go_online()
    try:
        if options.profile:
            found = missing_for(profile_params(options.profile), Path.cwd())
        else:
            found = missing(load(), Path.cwd(), options.stages)
    except StageError as error:
        print(error, file=sys.stderr)
        sys.exit(FAULTY)
    if found:
        sys.exit(
            "\n".join([f"Nothing was run, since {_things(len(found))} missing:", *(f"- {each}" for each in found)])
        )


def _things(number: int) -> str:
    return "one thing is" if number == 1 else f"{number} things are"


if __name__ == "__main__":
    main()
