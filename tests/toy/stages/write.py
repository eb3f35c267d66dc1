"""Writes small files one by one and skips those that are there; the environment makes it slow or lets it fail."""

import os
import sys
import time

from lab.params import load
from runtime.errors import StageError
from runtime.execution import stage

FAULTS = {
    "known": lambda: StageError("the loss is nan at step 1; lower `train.learning_rate`."),
    "unknown": lambda: ZeroDivisionError("a defect"),
}


def main() -> None:
    with stage("write", sys.argv[1:], load) as run:
        folder = run.fresh(f"out/{run.key}")
        folder.mkdir(exist_ok=True)
        for piece in range({"a": 4, "b": 2}[run.key]):
            write_piece(run, folder / f"{piece}.txt", piece)
            if os.environ.get("TOY_FAULT") in FAULTS:
                raise FAULTS[os.environ["TOY_FAULT"]]()
        if os.environ.get("TOY_FAULT") == "forgets":
            return
        if os.environ.get("TOY_FAULT") == "disk":
            with open("/dev/full", "w") as full:
                full.write("x" * 10000)
        run.fresh(f"metrics-{run.key}.json").write_text('{"pieces": 1}\n')


def write_piece(run, path, piece):
    if path.exists():
        return
    time.sleep(float(os.environ.get("TOY_SECONDS", 0)))
    path.with_suffix(".part").write_text(f"{run.params.train.seed} {piece}\n")
    path.with_suffix(".part").rename(path)
    run.log_metrics({"loss": 1 / (piece + 1)}, step=piece)
    with open("made.log", "a") as log:
        log.write(f"{os.getpid()} {run.name} {piece}\n")


if __name__ == "__main__":
    main()
