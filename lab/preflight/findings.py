"""What checks have found: sentences, and the disk space that stages will take."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from compbench.errors import CompbenchError
from lab.errors import LabError

KNOWN = (LabError, CompbenchError, ConnectionError, TimeoutError)


@dataclass(frozen=True)
class Space:
    """Bytes of `what` that will come to lie in `folder`, which need not be there yet."""

    folder: Path
    size: float
    what: str


@dataclass
class Findings:
    """Filled by one check after the other.

    Attributes:
        sentences: what is missing and what to do.
        space: what will be written.
        base_size: bytes of the base's files, as far as they are known.
        captioner_size: of those of the model that describes images.
    """

    sentences: list[str] = field(default_factory=list)
    space: list[Space] = field(default_factory=list)
    base_size: int = 0
    captioner_size: int = 0
    _said: set[str] = field(default_factory=set)

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Keeps what the block refuses as a sentence of `stage`, once, and goes on behind the block."""
        try:
            yield
        except KNOWN as error:
            argument = getattr(error, "argument", None)
            key = f" (`{stage.partition('@')[0]}.{argument}` in params.yaml)" if argument else ""
            if str(error) not in self._said:
                self._said.add(str(error))
                self.sentences.append(f"{stage}: {error}{key}")
