"""An "adapter" is the gamma that it was trained with."""

import os
import sys
import time
from pathlib import Path

from lab.params import load
from runtime.execution import stage


def main() -> None:
    with stage("train", sys.argv[1:], load) as run:
        adapter = run.params.adapters[run.key]
        time.sleep(float(os.environ.get("TOY_SECONDS", 0)))
        folder = run.fresh(f"models/adapters/{run.key}")
        folder.mkdir(exist_ok=True)
        (folder / "adapter.txt").write_text(f"{adapter.gamma if adapter.rank else 1.0}\n")
        with Path(os.environ["TOY_LOG"]).open("a") as log:
            log.write(f"train {adapter.gamma} {adapter.rank}\n")


if __name__ == "__main__":
    main()
