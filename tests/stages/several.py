"""Runs stages one after the other in this process, which loads torch once: `python -m tests.stages.several STAGE...`.

A stage with a key is written with a colon, as in `train:taca-r16`. The published scorers are loaded in the sizes of
`tiny_published`; where no stage scores, nothing is loaded before the first one, which may lift the offline mode.
"""

import runpy
import sys

from tests import recorders


def main() -> None:
    recorders.use()
    if any(argument.startswith("score:") for argument in sys.argv):
        import pytest

        from tests.compbench.command.tiny_published import shrink

        shrink(pytest.MonkeyPatch())
    for argument in sys.argv[1:]:
        stage, *key = argument.split(":")
        sys.argv = [stage, *key]
        runpy.run_module(f"stages.{stage}", run_name="__main__", alter_sys=False)


if __name__ == "__main__":
    main()
