"""Speeds and prices that have a source: `rates.yaml`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from runtime.params import read_yaml

FILE = Path(__file__).with_name("rates.yaml")


@dataclass(frozen=True)
class Card:
    """A GPU; `gib` is what a process may have of its memory."""

    name: str
    gib: float


@dataclass(frozen=True)
class Rate:
    """Seconds that a stage's work took on a card, and its operations.

    Attributes:
        of: the work.
        elsewhere: the card that it was measured on, where that is not `card`; "" else.
    """

    stage: str
    card: str
    transformer: str
    precision: str
    compiled: bool
    tflop: float
    seconds: float
    of: str
    source: str
    elsewhere: str = ""

    def hours(self, flops: float) -> float:
        """Of work of so many operations."""
        return flops / 1e12 * self.seconds / self.tflop / 3600


@cache
def cards() -> Mapping[str, Card]:
    """By short name."""
    return {key: Card(**card) for key, card in _document()["cards"].items()}


@cache
def rates() -> tuple[Rate, ...]:
    """All that are known."""
    return tuple(Rate(**rate) for rate in _document()["rates"])


@cache
def prices() -> Mapping[str, Mapping]:
    """Of an hour of a card, by its short name: `usd`, `date` and `source`."""
    return _document()["prices"]


def rate_for(stage: str, card: str, transformer: str, precision: str, compiled: bool) -> Rate | None:
    """The nearest speed that was measured: of the same transformer if there is one; None on no such card."""
    found = [rate for rate in rates() if (rate.stage, rate.card, rate.precision) == (stage, card, precision)]
    return min(found, key=lambda rate: (rate.transformer != transformer, rate.compiled != compiled), default=None)


@cache
def _document() -> Mapping:
    return read_yaml(FILE)
