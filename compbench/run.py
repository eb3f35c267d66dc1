"""Scores images in chunks, each kept as it is finished, so that a killed run goes on where it was.

The images of one chunk are open at a time, and rows are given as they are found: memory grows with the index alone.
"""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from compbench.errors import CompbenchError
from compbench.images import REMEDY, ImageRow, check_folder, open_image, read_index
from compbench.scorers.interface import SCORE_METRICS, Measure, Prompt
from compbench.statistics import mean_interval
from compbench.table import ScoreRow

_PLACE = re.compile(r"image (\d+) of \d+")


def score_folder(
    folder: Path, prompts: Sequence[Prompt], measures: Mapping[str, Measure], work: Path, batch_size: int
) -> Iterator[ScoreRow]:
    """Scores every image of `folder` by the measures of its category.

    Args:
        folder: images and `index.parquet`, as the `generate` stage leaves them.
        prompts: the prompts that the images were made for.
        measures: by category (`build_measures`).
        work: a folder of this run's own. Finished chunks found in it are taken over, so it must belong to one set of
            images, prompts and measures.
        batch_size: images per chunk. Chunks are a fixed function of the index: a resumed run computes the same ones.

    Yields: one row per image and metric, category by category in the order of the index.
    Raises: CompbenchError naming the image that is missing, unreadable, out of place, or scored NaN or infinite.
    """
    images = read_index(folder)
    check_folder(folder, images, {prompt.index: prompt for prompt in prompts})
    yield from score_images(folder, images, prompts, measures, work, batch_size)


def score_images(
    folder: Path,
    images: Sequence[ImageRow],
    prompts: Sequence[Prompt],
    measures: Mapping[str, Measure],
    work: Path,
    batch_size: int,
    remedy: str = REMEDY,
) -> Iterator[ScoreRow]:
    """Scores images that were checked before; the rest as in `score_folder`.

    Args:
        folder: what the images' paths are relative to.
        remedy: what to do about an image that cannot be decoded.
    """
    prompts_by_index = {prompt.index: prompt for prompt in prompts}
    work.mkdir(parents=True, exist_ok=True)
    # disable=None: a bar on a terminal, nothing in a pipe.
    with tqdm(total=len(images), desc=f"score {folder.name}", unit="image", disable=None) as bar:
        for name, chunk in _chunks(images, batch_size):
            part, measure = work / f"{name}.json", measures[chunk[0].category]
            scores = _read(part) if part.exists() else _score_chunk(folder, chunk, prompts_by_index, measure, remedy)
            _check_scores(folder, chunk, scores, measure)
            if not part.exists():
                _write_whole(part, json.dumps(scores))
            yield from _rows(chunk, scores)
            bar.update(len(chunk))


def summarize(scores: Mapping[tuple[str, str], Mapping[int, float]]) -> dict[str, dict[str, float]]:
    """{category: {"mean", "low", "high", "n"}} by the metric that stands for the category, to six decimals.

    Args:
        scores: those of each prompt by (category, metric), as `Scores.by_prompt` has them.
    """
    summary = {}
    for category, metric in SCORE_METRICS.items():
        if (category, metric) in scores:
            found = mean_interval(scores[category, metric])
            summary[category] = {key: round(getattr(found, key), 6) for key in ("mean", "low", "high", "n")}
    return summary


def _chunks(images: Sequence[ImageRow], batch_size: int) -> Iterator[tuple[str, list[ImageRow]]]:
    """(name, images) of each chunk; all images of a chunk are of one category."""
    for category in dict.fromkeys(row.category for row in images):
        members = [row for row in images if row.category == category]
        for start in range(0, len(members), batch_size):
            yield f"{category}-{start:06d}", members[start : start + batch_size]


def _score_chunk(
    folder: Path, chunk: list[ImageRow], prompts: Mapping[int, Prompt], measure: Measure, remedy: str
) -> dict[str, list[float]]:
    images = [open_image(folder / row.path, remedy) for row in chunk]
    try:
        return measure.score(images, [prompts[row.prompt_index] for row in chunk])
    except CompbenchError as error:
        # A detector knows an image by its place in the list alone.
        place = _PLACE.search(str(error))
        raise CompbenchError(f"{folder / chunk[int(place[1]) - 1].path}: {error}" if place else str(error)) from error


def _read(part: Path) -> dict[str, list[float]]:
    try:
        return json.loads(part.read_text())
    except ValueError:
        raise CompbenchError(
            f"{part}, which holds finished scores, is damaged: delete it and run the command again."
        ) from None


def _check_scores(folder: Path, chunk: list[ImageRow], scores: Mapping[str, list[float]], measure: Measure) -> None:
    """Raises: CompbenchError naming the image and the metric where a score is missing or no number."""
    metrics = [scorer.name for scorer in measure.scorers] + ([measure.combine[0]] if measure.combine else [])
    for metric in metrics:
        values = scores.get(metric, [])
        missing = [None] * (len(chunk) - len(values))
        for row, value in zip(chunk, [*values, *missing], strict=True):
            if value is None:
                raise CompbenchError(
                    f'The image {folder / row.path} ("{row.prompt}") has no {metric} score: delete the folder of '
                    "finished scores and run the command again; nothing is counted as 0 for this."
                )
            if not math.isfinite(value):
                raise CompbenchError(
                    f'The {metric} scorer gave {value} for the image {folder / row.path} ("{row.prompt}"), which is '
                    "no score: check the scorer's weights and precision; nothing is counted as 0 for this."
                )


def _rows(chunk: list[ImageRow], scores: Mapping[str, list[float]]) -> list[ScoreRow]:
    return [
        ScoreRow(row.index, row.prompt, row.category, row.prompt_index, row.path, metric, values[position])
        for position, row in enumerate(chunk)
        for metric, values in scores.items()
    ]


def _write_whole(path: Path, text: str) -> None:
    """A file with this name is a whole one, whenever the process is killed."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(text)
    os.replace(unfinished, path)
