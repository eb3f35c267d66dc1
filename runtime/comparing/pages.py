"""What MLflow's pages show first: descriptions of runs and of the experiment, and a view of runs to compare.

Descriptions are Markdown in the tag `mlflow.note.content`. A view is a tag of the experiment, which its address opens
with `?viewStateShareKey=` (MLflow's own "share view"): JSON as the pages keep it.
"""

import json
from collections.abc import Mapping, Sequence

from mlflow.entities import Experiment, Run
from mlflow.tracking import MlflowClient

NOTE = "mlflow.note.content"
NOTE_CHARACTERS = 7900  # MLflow cuts tags of runs at 8000
KIND = {"mlflow.experimentKind": "custom_model_development"}  # unset, the pages take it for one of chats
VIEW = "compare"  # key of the one view that is kept
RESULT = "result"  # a tag of runs with the results of an arm or cell
# The view's own groups of charts; parallel coordinates need the page's width.
SETTINGS, SCORES = "settings and scores", "scores"
SECTIONS = ({"uuid": SETTINGS, "columns": 1, "cardHeight": 400}, {"uuid": SCORES, "columns": 3, "cardHeight": 300})


def mark_kind(client: MlflowClient, experiment: Experiment) -> None:
    """Sets the kind of an experiment that was made before runs said so."""
    for key, value in KIND.items():
        if key not in experiment.tags:
            client.set_experiment_tag(experiment.experiment_id, key, value)


def describe(client: MlflowClient, run_id: str, text: str) -> None:
    """Describes a run in Markdown, in which `artifact:PATH` is the address of one of its artifacts."""
    address = f"get-artifact?run_uuid={run_id}&path="
    lines = text.replace("artifact:", address).splitlines(keepends=True)
    kept = ""
    for line in lines:
        if len(kept) + len(line) > NOTE_CHARACTERS:
            kept += "\n(cut: the whole is among the artifacts)\n"
            break
        kept += line
    client.set_tag(run_id, NOTE, kept)


def adopt_description(client: MlflowClient, run_id: str, children: Sequence[Run]) -> None:
    """Takes the newest description of a run's children for the run itself and for the experiment."""
    described = [child for child in children if NOTE in child.data.tags]
    if described:
        newest = max(described, key=lambda child: child.info.start_time)
        client.set_tag(run_id, NOTE, newest.data.tags[NOTE])
        client.set_experiment_tag(newest.info.experiment_id, NOTE, newest.data.tags[NOTE])


def share_view(client: MlflowClient, experiment_id: str, view: Mapping) -> None:
    """Keeps a view of runs with results: scores against a setting, and settings beside scores.

    Args:
        view: `x`, a metric; `scores`, metrics; `settings`, parameters.
    """
    scatters = [_scatter(view["x"], score) for score in view["scores"]]
    parallel = {"type": "PARALLEL", "selectedParams": view["settings"], "selectedMetrics": view["scores"]}
    charts = [_chart("parallel", SETTINGS, showAllRuns=True, **parallel), *scatters]
    columns = [*(f"params.`{name}`" for name in view["settings"]), *(f"metrics.`{name}`" for name in view["scores"])]
    state = {
        "searchFilter": f"metrics.{view['x']} > 0",  # as only runs with results have it
        "orderByKey": f"metrics.`{view['scores'][0]}`",  # sorted by time, they would lie folded below their parents
        "orderByAsc": False,
        "selectedColumns": columns,
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": charts,
        "compareRunSections": [
            {**section, "name": section["uuid"], "display": True, "isReordered": False} for section in SECTIONS
        ],
        "isAccordionReordered": True,  # else the pages sort theirs before it
    }
    client.set_experiment_tag(experiment_id, f"mlflow.sharedViewState.{VIEW}", json.dumps(state))


def _scatter(x: str, y: str) -> dict[str, object]:
    axes = {"xaxis": {"key": x, "type": "METRIC"}, "yaxis": {"key": y, "type": "METRIC"}}
    return _chart(f"{y}-{x}", SCORES, type="SCATTER", **axes)


def _chart(uuid: str, section: str, **more: object) -> dict[str, object]:
    return {"uuid": uuid, "metricSectionId": section, "deleted": False, "isGenerated": False, **more}
