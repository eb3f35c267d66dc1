"""What `flows.gc` looks through: for each store, what in it no live MLflow run, commit or workspace refers to."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Garbage:
    """What is not needed in one store: in words, item by item where that helps, in bytes, and how it is removed."""

    store: str
    text: str
    items: tuple[str, ...] = ()
    size: int = 0
    remove: Callable[[], None] = lambda: None
