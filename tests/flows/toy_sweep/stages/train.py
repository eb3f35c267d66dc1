"""An "adapter" is the gamma that it was trained with, in steps after each of which it can go on."""

import json
import os
import sys
import time
from pathlib import Path

from lab.params import load
from runtime.execution import stage


def main() -> None:
    with stage("train", sys.argv[1:], load) as run:
        adapter = run.params.adapters[run.key]
        steps, done = int(os.environ.get("TOY_STEPS", 1)), run.work / "steps.txt"
        if "TOY_ENV" in os.environ:
            with Path(os.environ["TOY_ENV"]).open("a") as env:
                env.write(json.dumps(dict(os.environ)) + "\n")
        for step in range(int(done.read_text()) if done.exists() else 0, steps):
            time.sleep(float(os.environ.get("TOY_SECONDS", 0)) / steps)
            if steps > 1:
                with Path(os.environ["TOY_LOG"]).open("a") as log:
                    log.write(f"step {step} of {adapter.gamma}\n")
            done.write_text(str(step + 1))
        folder = run.fresh(f"models/adapters/{run.key}")
        folder.mkdir(exist_ok=True)
        # Without the line's end where there is no adapter: other bytes than one that was trained with 1.0.
        (folder / "adapter.txt").write_text(f"{adapter.gamma}\n" if adapter.rank else "1.0")
        if adapter.rank:
            run.log_model(f"models/adapters/{run.key}", f"# {run.key}\n")
        with Path(os.environ["TOY_LOG"]).open("a") as log:
            log.write(f"train {adapter.gamma} {adapter.rank}\n")


if __name__ == "__main__":
    main()
