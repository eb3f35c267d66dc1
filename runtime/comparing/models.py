"""Outputs that are models: stored once in MLflow, with their card, and registered by name when a flow ends well."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

MD5 = "dvc.md5"  # a tag of models and their versions: by DVC's hash it is told whether one is there already
CARD = "README.md"


def log_model(client: MlflowClient, experiment_id: str, run_id: str, out: Mapping) -> None:
    """Notes an output of a run as a model; one with the same bytes that is there already is not stored again."""
    found = _model(client, experiment_id, out["md5"])
    if found is None:
        name, tags = PurePosixPath(out["path"]).name, {MD5: out["md5"], "dvc.path": out["path"]}
        found = client.create_logged_model(experiment_id, name, run_id, tags)
        with TemporaryDirectory() as folder:
            Path(folder, CARD).write_text(out["card"], encoding="utf-8")
            client.log_model_artifacts(found.model_id, folder)
        client.log_model_artifacts(found.model_id, out["content"])
        client.finalize_logged_model(found.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(found.model_id, step=0)])


def register(client: MlflowClient, experiment_id: str, hashes: set[str], variant: str = "") -> None:
    """Makes each model with one of these DVC hashes the newest version of its name, unless one of them has it.

    Args:
        variant: the experiment that they belong to, which their names begin with: before it is applied, its models are
            the newest of no name of the pipeline's.
    """
    for md5 in sorted(hashes):
        model = _model(client, experiment_id, md5)
        if model is None:
            continue
        name = f"{variant}-{model.name}" if variant else model.name
        versions = client.search_model_versions(f"name = '{name}'")
        if md5 not in {version.tags.get(MD5) for version in versions}:
            with suppress(MlflowException):  # it has versions
                client.create_registered_model(name)
            location, run_id = model.artifact_location, model.source_run_id
            client.create_model_version(name, location, run_id, {MD5: md5}, model_id=model.model_id)


def _model(client: MlflowClient, experiment_id: str, md5: str) -> LoggedModel | None:
    found = client.search_logged_models([experiment_id], f"tags.`{MD5}` = '{md5}'")
    return next((model for model in found if model.status == LoggedModelStatus.READY), None)  # a kill leaves others
