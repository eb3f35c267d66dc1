"""What a captioner is asked about an image, and what it answers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from lab.data.crops import Size


@dataclass(frozen=True)
class Question:
    """One image with its prompt; equal for two copies of an image.

    Attributes:
        path: of the image.
        sha256: of the image's file.
        size: of the crop that is shown.
        prompt: with the words that the image came with in their place.
        seed: of sampling; None for the likeliest answer.
    """

    path: Path = field(compare=False)
    sha256: str
    size: Size
    prompt: str
    seed: int | None = None


@dataclass(frozen=True)
class Answer:
    """What was said of an image.

    Attributes:
        text: as it came.
        ended: "stop", "length" where the model was not done, "refusal" where whoever serves it says so.
        model: as whoever computed it calls it.
    """

    text: str
    ended: str
    model: str

    def as_dict(self) -> dict[str, str]:
        """For a store."""
        return asdict(self)


Answered = list[tuple[Question, Answer]]


class Captioner(Protocol):
    """Who describes images.

    Attributes:
        identity: all that an answer depends on besides the question: model, revision, settings.
        batch_size: questions that are asked at once.
    """

    identity: Mapping[str, object]
    batch_size: int

    def ask(self, batches: Iterable[Sequence[Question]]) -> Iterator[Answered]:
        """Answers each batch whole, in any order.

        Raises:
            LabError: it cannot describe images at all.
            ConnectionError, TimeoutError: it cannot be reached now.
        """
