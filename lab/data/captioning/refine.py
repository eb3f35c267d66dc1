"""Captions by a model: after a bad answer it is asked once more, and after a second one the alt text stands."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
from tqdm import tqdm

from compbench.text import is_blank
from lab.data.captioning.answers import AnswerStore
from lab.data.captioning.judge import FAULTS, fault_of
from lab.data.captioning.prompt import fill
from lab.data.captioning.question import Captioner, Question
from lab.data.crops import Size, nearest

FIRST, SAMPLED, KEPT = "first", "sampled", "alt"  # which of the answers is the caption; the alt text, where none is
# `fault` is why the first answer is not the caption, `seed` what the second one was sampled with.
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("caption", pa.string()),
        ("captioner", pa.string()),
        ("alt", pa.string()),
        ("answer", pa.string()),
        ("fault", pa.string()),
        ("seed", pa.int64()),
        ("model", pa.string()),
    ]
)
SEEDS = 2**31  # what servers take for one


def questions_of(folder: Path, rows: Sequence[Mapping], prompt: str, sizes: Sequence[Size]) -> list[Question]:
    """A question for each sampled image.

    Args:
        folder: the sample, whose `rows` give `path`, `caption`, `width` and `height`.
        prompt: may hold `{alt}`.
        sizes: that images are cropped to, each to the one nearest in shape, as `encode` does.
    """
    return [
        Question(
            folder / row["path"],
            _sha256(folder / row["path"]),
            nearest(sizes, row["width"], row["height"]),
            fill(prompt, row["caption"]),
        )
        for row in rows
    ]


def refine(
    name: str,
    captioner: Captioner,
    store: AnswerStore,
    questions: Sequence[Question],
    rows: Sequence[Mapping],
    seed: int,
) -> list[dict]:
    """A caption for each sampled image, as rows of `SCHEMA`.

    Args:
        name: of the captioner in the parameters.
        store: what has been answered is not asked again.
        questions: of the `rows` (`id`, `caption`), in their order.
        seed: of second answers; each image's own is made of it.

    Raises:
        LabError, ConnectionError, TimeoutError: as `Captioner.ask`; what was answered is in the store.
    """
    ask_all(captioner, store, questions, captioner.batch_size)
    again = [_again(question, seed) for question in questions if fault_of(store.find(question))]
    ask_all(captioner, store, again, batch_size=1)
    return [_row(name, store, question, row, seed) for question, row in zip(questions, rows, strict=True)]


def ask_all(captioner: Captioner, store: AnswerStore, questions: Sequence[Question], batch_size: int) -> None:
    """Has each question answered once. What is known leaves a batch after they are cut: resuming changes none."""
    once = list(dict.fromkeys(questions))
    cut = (once[start : start + batch_size] for start in range(0, len(once), batch_size))
    batches = [missing for batch in cut if (missing := store.missing(batch))]
    if not batches:
        return
    with tqdm(total=sum(map(len, batches)), desc="caption", unit="image", disable=None) as progress:
        for answered in captioner.ask(batches):
            store.put(answered)
            progress.update(len(answered))


def metrics_of(rows: Sequence[Mapping]) -> dict[str, int]:
    """How many captions there are, how many answers were bad and why, and what took their place."""
    faults = Counter(row["fault"] for row in rows)
    answers = Counter(row["answer"] for row in rows)
    return {
        "captions": len(rows),
        **{f"first_answers/{fault.replace(' ', '_')}": faults[fault] for fault in FAULTS},
        "captions/sampled": answers[SAMPLED],
        "captions/alt": answers[KEPT],
        "captions/blank": sum(is_blank(row["caption"]) for row in rows),
        "captions/models": len({row["model"] for row in rows}),
    }


def _again(question: Question, seed: int) -> Question:
    """The question once more, to be sampled with the image's own seed."""
    return replace(question, seed=(seed + int(question.sha256[:12], 16)) % SEEDS)


def _row(name: str, store: AnswerStore, question: Question, row: Mapping, seed: int) -> dict:
    answer, kind, own_seed = store.find(question), FIRST, None
    fault, caption = fault_of(answer), answer.text.strip()
    if fault:
        again = _again(question, seed)
        answer, kind, own_seed = store.find(again), SAMPLED, again.seed
        caption = answer.text.strip()
        if fault_of(answer):
            caption, kind = row["caption"], KEPT
    return {
        "id": row["id"],
        "caption": caption,
        "captioner": name,
        "alt": row["caption"],
        "answer": kind,
        "fault": fault,
        "seed": own_seed,
        "model": answer.model,
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
