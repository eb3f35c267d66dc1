"""What a sweep is: `experiments/sweeps/<name>.yaml`, its cells by label with what each changes."""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from lab.report.questions import checked
from runtime.errors import StageError
from runtime.params import Name, Positive, Section, Seed, read_yaml
from runtime.params.messages import closest, did_you_mean

SWEEPS = Path("experiments") / "sweeps"
OF_OPTUNA = {"objective", "parallel", "rungs"}  # what tells it which cells to draw and to drop
Value = str | int | float | bool | list[float]
Overrides = dict[str, Value]
Label = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._+-]*$", description="lower-case letters, digits and . _ + -")]


class Search(Section):
    """Cells that are drawn, by chance or by what earlier ones scored.

    Attributes:
        parallel: how many optuna draws before it is told what they scored, wherever and however many run at once.
    """

    method: Annotated[Literal["random", "optuna"], Field(description="one of random, optuna")]
    samples: Positive
    parallel: Positive = 1
    seed: Seed
    space: Annotated[
        dict[str, tuple[float, float]], Field(description="a mapping of keys to [low, high]", min_length=1)
    ]
    objective: Annotated[str | None, Field(description="the category that optuna maximizes")] = None
    rungs: Annotated[list[Positive], Field(description="growing numbers of prompts of each category")] = Field(
        default_factory=list
    )


class Sweep(Section):
    """One file of `experiments/sweeps/`.

    Attributes:
        like: the arm of params.yaml that a cell is but for its overrides, adapter included.
        compare_with: label of the cell that differences are taken to.
        cells: overrides by label.
        grid: axes that are crossed; each is a list of values of the key that it is called by, or overrides by label.
        paper: name of the paper's table to show beside it.
        resampled: axis of the grid whose values are training seeds; `best` and `contrasts` name cells without it.
        best: lists of cells by a name that stands for the best of them, chosen on half of the prompts and scored on the
            other half.
        contrasts: questions, as weights of cells or of `best` that sum to zero; without any, each cell's difference to
            `compare_with`.
    """

    title: Annotated[str, Field(min_length=1, description="a title")]
    like: Name
    compare_with: Label
    cells: Annotated[dict[Label, Overrides], Field(description="a mapping of labels to overrides")] = Field(
        default_factory=dict
    )
    grid: Annotated[dict[str, list[Value] | dict[Label, Overrides]], Field(description="a mapping of axes")] = Field(
        default_factory=dict
    )
    search: Search | None = None
    paper: str | None = None
    resampled: str | None = None
    best: Annotated[dict[Label, list[Label]], Field(description="a mapping of names to lists of cells")] = Field(
        default_factory=dict
    )
    contrasts: Annotated[dict[str, dict[Label, float]], Field(description="a mapping of questions to weights")] = Field(
        default_factory=dict
    )


def read_sweep(root: Path, name: str) -> Sweep:
    """The sweep of a file.

    Raises:
        StageError, LabError: there is no such sweep, or its file is faulty.
    """
    known = sorted(path.stem for path in (root / SWEEPS).glob("*.yaml"))
    if name not in known:
        raise StageError(f"There is no sweep {name!r}: take one of {', '.join(known)}, or write {SWEEPS / name}.yaml.")
    path = root / SWEEPS / f"{name}.yaml"
    document = read_yaml(path)
    try:
        sweep = Sweep.model_validate(document, strict=False)
    except ValidationError as error:
        faults = (f"`{'.'.join(map(str, fault['loc']))}`: {fault['msg']}" for fault in error.errors())
        raise StageError("\n".join(f"{SWEEPS / name}.yaml, {fault}." for fault in faults)) from None
    if sweep.search is not None:
        _check_search(sweep.search, SWEEPS / f"{name}.yaml")
    labels = dict(labelled(sweep))
    if sweep.compare_with not in labels:
        raise StageError(
            f"{SWEEPS / name}.yaml: `compare_with` is {sweep.compare_with!r}, but must be one of its cells: "
            f"{_first(labels)}{did_you_mean(closest(sweep.compare_with, labels))}."
        )
    _check_questions(sweep, SWEEPS / f"{name}.yaml")
    return sweep


def grouped(sweep: Sweep) -> dict[str, list[str]]:
    """Labels of all cells by what they are without the axis `resampled`."""
    seeds = {label for label, _ in _points(sweep.resampled, sweep.grid[sweep.resampled])} if sweep.resampled else set()
    found: dict[str, list[str]] = {}
    for label, _ in labelled(sweep):
        found.setdefault("+".join(part for part in label.split("+") if part not in seeds), []).append(label)
    return found


def _check_questions(sweep: Sweep, path: Path) -> None:
    if sweep.resampled is not None and sweep.resampled not in sweep.grid:
        raise StageError(f"{path}: `resampled` is {sweep.resampled!r}, but must be an axis of `grid`.")
    cells = grouped(sweep)
    asked = {f"best.{name}": labels for name, labels in sweep.best.items()}
    asked |= {f"contrasts.{name}": labels for name, labels in sweep.contrasts.items()}
    for key, labels in asked.items():
        known = cells if key.startswith("best.") else {**cells, **sweep.best}
        unknown = next((label for label in labels if label not in known), None)
        if unknown is not None:
            raise StageError(
                f"{path}: `{key}` names {unknown!r}, but must name cells: "
                f"{_first(known)}{did_you_mean(closest(unknown, known))}."
            )
    for name, weights in sweep.contrasts.items():
        checked(f"{path}: `contrasts.{name}`", weights)


def _check_search(search: Search, path: Path) -> None:
    if search.method == "optuna" and search.objective is None:
        raise StageError(f"{path}: `search.objective` is missing: name the category to maximize.")
    unheard = sorted(search.model_fields_set & OF_OPTUNA) if search.method == "random" else []
    if unheard:
        raise StageError(
            f"{path}: `search.{unheard[0]}` goes with method optuna, and a random search draws all its cells at once: "
            "leave it out, or set `search.method` to optuna."
        )


def earlier_rungs(sweep: Sweep, overrides: Overrides) -> list[Overrides]:
    """The same cell with fewer prompts, as the search tries it; most prompts first."""
    rungs = sweep.search.rungs if sweep.search else []
    return [{**overrides, "limit": rung} for rung in reversed(rungs) if rung < overrides.get("limit", rung + 1)]


def labelled(sweep: Sweep) -> Iterator[tuple[str, Overrides]]:
    """Label and overrides of every cell that the file names, those of the grid crossed."""
    yield from sweep.cells.items()
    if sweep.grid:
        for choice in itertools.product(*(list(_points(axis, values)) for axis, values in sweep.grid.items())):
            merged = {key: value for _, overrides in choice for key, value in overrides.items()}
            yield "+".join(label for label, _ in choice), merged


def _first(labels: Mapping[str, object], shown: int = 8) -> str:
    """The first of many cells."""
    more = len(labels) - shown
    return ", ".join(list(labels)[:shown]) + (f" and {more} more" if more > 0 else "")


def _points(axis: str, values: list[Value] | Mapping[str, Overrides]) -> Iterator[tuple[str, Overrides]]:
    if isinstance(values, Mapping):
        for label, overrides in values.items():
            # Labels such as on and off say nothing without their axis.
            yield (f"{axis}-{label}" if label in ("on", "off") else label), overrides
    else:
        for value in values:
            yield f"{axis}-{value:g}" if isinstance(value, float) else f"{axis}-{value}", {axis: value}
