"""`python -m compbench.weights color spatial`: downloads the published weights with which categories are scored.

Sizes are printed before anything is downloaded. Files that are there are kept, partial ones are completed. Without a
network, `--from FOLDER` takes the files from a folder of the same layout.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from compbench.errors import CompbenchError
from compbench.weights.fetch import fetch
from compbench.weights.folder import Folder
from compbench.weights.origin import Origin
from compbench.weights.registry import NEEDS, WeightFile, files_of
from compbench.weights.web import Web


def main(arguments: Sequence[str] | None = None, needs: Mapping[str, tuple[WeightFile, ...]] = NEEDS) -> None:
    """Fetches for the categories on the command line; ends with one sentence where that fails."""
    asked = _parser(needs).parse_args(arguments)
    try:
        files = files_of(asked.categories, needs)
        fetch(files, asked.weights, _origin(asked, files), asked.dry_run)
    except (CompbenchError, ConnectionError) as error:
        sys.exit(str(error))
    except OSError as fault:  # a disk that is full after all, a folder that may not be written
        sys.exit(
            f"The weights could not be copied ({fault}): fix that and run the command again, which resumes from here."
        )
    except KeyboardInterrupt:
        sys.exit("Interrupted; run the same command again to resume.")


def _parser(needs: Mapping[str, tuple[WeightFile, ...]]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m compbench.weights", description=__doc__.split("\n\n")[0])
    parser.add_argument("categories", nargs="+", metavar="CATEGORY", help=f"one or more of {', '.join(needs)}")
    parser.add_argument("--weights", type=Path, default=Path("weights"), help="where they go (default: weights)")
    parser.add_argument("--from", dest="folder", type=Path, help="a folder of the same layout, instead of the network")
    parser.add_argument("--dry-run", action="store_true", help="only print the sizes")
    return parser


def _origin(asked: argparse.Namespace, files: Sequence[WeightFile]) -> Origin:
    """Raises: CompbenchError when files are missing and the environment forbids the network."""
    if asked.folder is not None:
        return Folder(asked.folder)
    missing = [file.path for file in files if not (asked.weights / file.path).is_file()]
    if missing and os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "on", "yes", "true"):
        raise CompbenchError(
            f"HF_HUB_OFFLINE is set, so {', '.join(missing)} cannot be fetched: give a folder that holds them with "
            "--from FOLDER, or say HF_HUB_OFFLINE=0 before the command."
        )
    return Web()


if __name__ == "__main__":
    main()
