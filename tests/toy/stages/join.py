"""Reads what the other stages wrote; nothing reads what it writes."""

import sys
from pathlib import Path

from lab.params import load
from runtime.execution import stage


def main() -> None:
    with stage("join", sys.argv[1:], load) as run:
        run.log_artifact("out/a/0.txt", "samples")
        texts = [path.read_text() for path in sorted(Path("out").glob("[ab]/*.txt"))]
        run.fresh("out/joined.txt").write_text("".join(texts))


if __name__ == "__main__":
    main()
