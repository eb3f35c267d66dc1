"""Results as MLflow can compare them: a run for each arm or cell, with its settings beside its scores."""

from collections.abc import Iterator, Mapping

from lab.report.results import ALL, Arm, Result, Results

# Settings that are metrics too: MLflow compares no parameters by size.
AXES = ("gamma", "threshold")


def result_runs(results: Results, settings: Mapping[str, Mapping[str, object]]) -> Iterator[dict[str, object]]:
    """Name, parameters and metrics of a run for each arm, whose settings are in `settings` by its name.

    Metrics are called by the category: `color` is the mean, `low/color` and `high/color` bound its interval;
    `difference/color`, `difference_low/color` and `difference_high/color` are the paired difference's.
    """
    for arm in results.arms:
        metrics = {axis: float(settings[arm.name][axis]) for axis in AXES}
        for name, result in _named(results, arm).items():
            metrics |= _numbers(name, result)
        yield {"name": arm.name, "params": {**settings[arm.name], "scores": arm.md5}, "metrics": metrics}


def view(results: Results) -> dict[str, object]:
    """What a page that compares these runs shows."""
    scores = list(_named(results, results.baseline))
    return {"x": "gamma", "scores": scores, "settings": ["gamma", "threshold", "guidance", "adapter", "rank"]}


def _named(results: Results, arm: Arm) -> dict[str, Result]:
    categories = {category: results.of(arm, category) for category in results.categories}
    return categories | {metric: results.of(arm, ALL, metric) for metric in results.quality}


def _numbers(name: str, result: Result) -> dict[str, float]:
    mean, difference = result.mean, result.difference
    numbers = {name: mean.mean, f"low/{name}": mean.low, f"high/{name}": mean.high}
    if difference is not None:
        numbers[f"difference/{name}"] = difference.mean
        numbers |= {f"difference_low/{name}": difference.low, f"difference_high/{name}": difference.high}
    return numbers
