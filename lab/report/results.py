"""What was measured: means and paired differences of arms, each with the score file and manifest behind it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from compbench.scorers.interface import SCORE_METRICS
from compbench.statistics import Interval, mean_interval, paired_difference
from compbench.table import Scores
from lab.errors import LabError
from lab.report.provenance import Manifest, check_same, manifest_path, read_manifest
from lab.report.words import CATEGORY_NAMES, QUALITY_NAMES

SHORT_HASH = 8
ALL = "all"  # stands for all categories together, which image quality is measured over


@dataclass(frozen=True)
class Arm:
    """One way of generating, as it was set and as it was scored.

    `md5` is the score file's, as DVC computes it. `manifest` says how it was scored.
    """

    name: str
    settings: Mapping[str, object]
    md5: str
    scores: Scores = field(repr=False)
    manifest: Manifest = field(repr=False)

    @property
    def hash(self) -> str:
        """The short hash that stands beside every number, and that `make run HASH=…` takes."""
        return self.md5[:SHORT_HASH]


def load_arm(name: str, settings: Mapping[str, object], score_file: Path) -> Arm:
    """An arm with the scores of its file and the manifest beside that."""
    digest = hashlib.md5(score_file.read_bytes(), usedforsecurity=False).hexdigest()
    return Arm(name, settings, digest, Scores.read(score_file), read_manifest(manifest_path(score_file)))


@dataclass(frozen=True)
class Result:
    """One arm's score in one category, and its difference to the baseline on the same prompts (None for itself)."""

    arm: Arm
    category: str
    metric: str
    mean: Interval
    difference: Interval | None


@dataclass(frozen=True)
class Results:
    """All results of a report: one by arm, category and metric."""

    arms: tuple[Arm, ...]
    baseline: Arm
    table: Mapping[tuple[str, str, str], Result]

    @property
    def categories(self) -> list[str]:
        """The scored categories, in the order of the paper's Table 1."""
        scored = {category for _, category, _ in self.table}
        return [category for category in CATEGORY_NAMES if category in scored]

    @property
    def quality(self) -> list[str]:
        """The image quality metrics that were scored, as the paper's Table 2 orders them."""
        return [metric for metric in QUALITY_NAMES if (self.baseline.name, ALL, metric) in self.table]

    @property
    def manifest(self) -> Manifest:
        """How all arms were scored."""
        return self.baseline.manifest

    @property
    def compared(self) -> list[Arm]:
        """The arms that are not the baseline."""
        return [arm for arm in self.arms if arm is not self.baseline]

    def of(self, arm: Arm, category: str, metric: str | None = None) -> Result:
        """The result by `metric`, by default the one that stands for the category; image quality is one of `ALL`."""
        return self.table[arm.name, category, metric or SCORE_METRICS[category]]


def compare(arms: Sequence[Arm], baseline: str, resamples: int, seed: int) -> Results:
    """Means and paired differences of all arms, by every metric that each category was scored with.

    Raises: LabError when no arm is called `baseline`, or when arms were not scored alike and on the same prompts.
    """
    by_name = {arm.name: arm for arm in arms}
    if baseline not in by_name:
        raise LabError(f"`report.baseline` is {baseline!r}, but must be one of the arms: {', '.join(by_name)}.")
    scores = {arm.name: _scores(arm) for arm in arms}
    for arm in arms:
        check_same(arm.name, arm.manifest, baseline, by_name[baseline].manifest)
        if scores[arm.name].keys() != scores[baseline].keys():
            raise LabError(f"The arms {arm.name} and {baseline} were scored by different metrics: score both again.")
    table = {}
    for arm in arms:
        for (category, metric), found in scores[arm.name].items():
            reference = scores[baseline][category, metric]
            table[arm.name, category, metric] = Result(
                arm,
                category,
                metric,
                mean_interval(found, resamples, seed),
                paired_difference(found, reference, resamples, seed) if arm.name != baseline else None,
            )
    return Results(tuple(arms), by_name[baseline], table)


def _scores(arm: Arm) -> dict[tuple[str, str], dict[int, float]]:
    """Scores by prompt for each (category, metric), image quality also over all prompts."""
    found = arm.scores.by_prompt()
    for metric in QUALITY_NAMES:
        parts = [scores for (_, name), scores in found.items() if name == metric]
        if parts:
            found[ALL, metric] = {prompt: score for scores in parts for prompt, score in scores.items()}
    return found
