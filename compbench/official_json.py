"""Scores in the files that the benchmark's own scorers write, for tools that read those.

Folders, names, types and words are those of its reference implementation (Huang et al., 2023, arXiv 2307.06350), which
counts an image by its place in some files and by the number in its name in others.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from compbench.table import ScoreRow


@dataclass(frozen=True)
class Layout:
    """Where a metric's scores go.

    Attributes:
        folder: of `vqa_result.json`, the list of answers.
        words: name and content of the file with the mean over images, which is filled in as {total}, {n} and {mean}.
        by_number: whether `question_id` is the number in the image's name; else its place, from 0.
        as_text: whether an answer is text with four decimals; else it is a number.
    """

    folder: str
    words: tuple[str, str]
    by_number: bool = False
    as_text: bool = False


LAYOUTS = {
    "attribute": Layout("annotation_blip", ("blip_vqa_score.txt", "BLIP-VQA score:{mean}"), as_text=True),
    "spatial": Layout("labels/annotation_obj_detection_2d", ("avg_score.txt", "score avg:{mean}"), by_number=True),
    "spatial_3d": Layout(
        "labels/annotation_obj_detection_3d", ("avg_result.txt", "avg score is {mean}"), by_number=True
    ),
    "numeracy": Layout("annotation_num", ("score.txt", "total:{total} num:{n} avg:{mean}"), by_number=True),
    "clip": Layout("annotation_clip", ("score_avg.txt", "score avg:{mean}")),
    "complex": Layout("annotation_3_in_1", ("vqa_score.txt", "score avg:{mean}")),
}


def write_official_layout(folder: Path, rows: Sequence[ScoreRow]) -> None:
    """Writes one category's files below `folder`; metrics that the benchmark has no file for are left out.

    Args:
        rows: of one category, its images in the order of their indices.
    """
    for metric, layout in LAYOUTS.items():
        of_metric = [row for row in rows if row.metric == metric]
        if of_metric:
            _write(folder / layout.folder, layout, of_metric)
            if metric == "spatial":
                _write_mapping(folder / layout.folder, of_metric)


def _write(folder: Path, layout: Layout, rows: Sequence[ScoreRow]) -> None:
    form: Callable[[float], str | float] = "{:.4f}".format if layout.as_text else float
    answers = [
        {"question_id": row.index if layout.by_number else place, "answer": form(row.score)}
        for place, row in enumerate(rows)
    ]
    # Of the answers as they stand in the file: text is rounded.
    total = sum(float(answer["answer"]) for answer in answers)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vqa_result.json").write_text(json.dumps(answers))
    name, words = layout.words
    (folder / name).write_text(words.format(total=total, n=len(answers), mean=total / len(answers)))


def _write_mapping(folder: Path, rows: Sequence[ScoreRow]) -> None:
    mapping: list[Mapping] = [{"question_id": row.index, "image": PurePosixPath(row.path).name} for row in rows]
    (folder / "mapping.json").write_text(json.dumps(mapping))
