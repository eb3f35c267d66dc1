"""`python -m compbench IMAGES --category color`: scores a folder of images as T2I-CompBench does.

The folder has the benchmark's layout, samples/{prompt}_{index:06d}.png; with several categories, each has its own
<category>/samples. Everything is checked before a model is loaded, and a run that was killed resumes where it stopped.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compbench.errors import CompbenchError
from compbench.val_prompts import CATEGORIES

if TYPE_CHECKING:
    from compbench.preflight import Request


def main(arguments: Sequence[str] | None = None) -> None:
    """Scores what the command line names; ends with one sentence where that fails."""
    asked = _parser().parse_args(arguments)
    try:
        _score(asked)
    except CompbenchError as error:
        sys.exit(f"{error} (--{error.argument.replace('_', '-')})" if error.argument else str(error))
    except OSError as fault:  # a full disk, a folder that may not be written
        sys.exit(
            f"The scores could not be saved ({fault}): fix that and run the command again, which resumes from here."
        )
    except KeyboardInterrupt:
        sys.exit("Interrupted; run the same command again to resume.")


def _score(asked: argparse.Namespace) -> None:
    # Imported here, so that --help need not wait.
    from compbench.notes import note_lines
    from compbench.official_json import write_official_layout
    from compbench.preflight import REMEDY, prepare
    from compbench.results import table_lines, write_results
    from compbench.run import score_images
    from compbench.scorers.build import build_measures
    from compbench.scorers.device import choose_device

    device, reason = choose_device(asked.device)
    request = _request(asked, device)
    job = prepare(request)
    job.work.mkdir(parents=True, exist_ok=True)
    for line in note_lines(job.manifest, reason):
        print(line, file=sys.stderr)
    measures = build_measures(request.categories, request.choice)
    rows = list(score_images(job.root, job.rows, job.prompts, measures, job.work, request.batch_size, REMEDY))
    summary = write_results(job.output, rows, job.prompts, job.manifest)
    for category in request.categories:
        folder = job.output / request.choice.mode.value / category
        write_official_layout(folder, [row for row in rows if row.category == category])
    print("\n".join(table_lines(summary, job.manifest)))
    print(f"Results: {job.output}", file=sys.stderr)


def _request(asked: argparse.Namespace, device: str) -> "Request":
    from compbench.preflight import Request
    from compbench.scorers.choice import Choice
    from compbench.scorers.mode import Mode

    choice = Choice(
        quality=tuple(asked.quality),
        mode=Mode(asked.mode),
        weights=asked.weights,
        extra_tensors=asked.extra_tensors,
        device=device,
        dtype=asked.dtype,
    )
    return Request(
        asked.images,
        tuple(dict.fromkeys(asked.category)),
        choice,
        asked.prompts,
        asked.parser,
        asked.images_per_prompt,
        asked.partial,
        asked.output,
        asked.batch_size,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m compbench", description=__doc__.split("\n\n")[1])
    add = parser.add_argument
    add("images", type=Path, metavar="IMAGES", help="a folder with samples/ or <category>/samples/, or samples itself")
    add("--category", nargs="+", required=True, choices=CATEGORIES, metavar="CATEGORY", help=", ".join(CATEGORIES))
    add("--mode", choices=("official", "corrected"), default="official", help="with the benchmark's errors, or without")
    add("--prompts", default="compbench", help="compbench (default), a prompts table (.parquet), or a file of lines")
    add(
        "--parser",
        help="rules, spacy, spacy-3.6, or a parses file (default: data/parses/compbench.jsonl, else spacy-3.6)",
    )
    number = parser.add_mutually_exclusive_group()
    number.add_argument(
        "--images-per-prompt", type=_positive, default=10, metavar="N", help="default: 10, the protocol's"
    )
    number.add_argument("--partial", action="store_true", help="score what is there, without the official protocol")
    add(
        "--weights",
        type=Path,
        default=Path("weights"),
        help="the folder that python -m compbench.weights fills (default: weights)",
    )
    add("--extra-tensors", action="store_true", help="accept checkpoints with tensors that the model does not have")
    add("--device", help="default: cuda if there is a GPU, else cpu")
    add("--dtype", choices=("float32", "float16"), default="float32", help="float16: as the benchmark on a GPU")
    add(
        "--quality",
        nargs="+",
        choices=("musiq", "maniqa"),
        default=(),
        help="image quality in addition to the category's score",
    )
    add("--output", type=Path, help="default: <folder of samples>-scores-<mode>, beside that folder")
    add(
        "--batch-size",
        type=_positive,
        default=32,
        metavar="N",
        help="images in memory and saved at a time (default: 32)",
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


if __name__ == "__main__":
    main()
