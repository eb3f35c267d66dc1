"""What has to be in place before cells run on other machines; said before any of them starts."""

import os
import socket
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from flows.checks.remote import check_remote
from flows.machines.elsewhere import remote_settings, repository
from flows.settings import Machine
from flows.sweeps import experiments
from runtime.errors import StageError
from runtime.tracking import check_answers, tracking_uri
from runtime.tracking.git import git
from runtime.tracking.place import TIMEOUT, is_server, shown


def check_runner(root: Path, machine: Machine) -> None:
    """Returns when the runner of other machines that machine.yaml names has all that it needs.

    Raises:
        StageError: something that the workers share with this machine is missing or does not answer.
    """
    runner = machine.runner
    if not os.environ.get("PREFECT_API_URL"):
        raise StageError(f"Runner {runner} needs a Prefect server that its machines reach: set PREFECT_API_URL to it.")
    _check_store(runner, tracking_uri(root))
    _check_remote(runner, root)
    _check_commit(repository(root, machine), experiments.head(root))
    if runner == "ray":
        _check_ray(machine.ray_address)


def _check_store(runner: str, uri: str) -> None:
    # A database would take their records, but leave artifacts in a folder of each machine.
    if not is_server(uri):
        raise StageError(
            f"Runner {runner} needs an MLflow server that its machines reach, but MLFLOW_TRACKING_URI is {shown(uri)}: "
            "set it to the address of one (`mlflow server`, or docs/operations.md)."
        )
    check_answers(uri)


def _check_remote(runner: str, root: Path) -> None:
    if not remote_settings(root):
        raise StageError(
            f"Runner {runner} needs a DVC remote, by which machines exchange data: `make remote URL=s3://...` sets one."
        )
    found = check_remote(root)
    if found.remedy:
        raise StageError(f"The DVC remote cannot be used: {found.text}; {found.remedy}.")


def _check_commit(url: str, commit: str) -> None:
    fault = (
        f"Workers cannot get commit {commit[:10]} from {shown(url)}: `git push` it there, or correct `repository` in "
        "machine.yaml"
    )
    with TemporaryDirectory() as empty:  # where git has to ask, since nothing is there
        git(Path(empty), "init", "--quiet", "--bare")
        git(Path(empty), "fetch", "--quiet", "--depth", "1", "--filter", "tree:0", url, commit, fault=fault)


def _check_ray(address: str) -> None:
    if address == "auto":  # Ray finds the cluster of this machine, or says at once that there is none
        return
    parts = urlsplit(address if "://" in address else f"ray://{address}")
    try:
        # Ray itself would wait for minutes.
        socket.create_connection((parts.hostname, parts.port), TIMEOUT).close()
    except (OSError, ValueError) as error:
        raise StageError(
            f"Ray at `ray_address` of machine.yaml ({address}) does not answer ({error}): start it, or correct that."
        ) from None
