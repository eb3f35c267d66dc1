"""What a sweep left: files in DVC's cache, and its runs in MLflow."""

import json
import os
import platform
import socket
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from compbench.tables import read_table
from flows.running.workspace import cached_file
from flows.sweeps.experiments import lock_of
from flows.sweeps.progress import Finished
from runtime.errors import StageError
from runtime.tracking import tracking_uri

HOUR_MS = 3_600_000


class Made:
    """Outputs of the cells of one sweep, as the locks of their experiments have them, in the cache of `root`."""

    def __init__(self, root: Path, cells: Mapping[str, Finished]):
        self._root, self.cells = root, cells

    @cached_property
    def _outs(self) -> dict[str, dict[str, str]]:
        """By label, each output's hash by its path."""
        return {
            label: {
                out["path"]: out["md5"]
                for stage in lock_of(self._root, cell.experiment)["stages"].values()
                for out in stage.get("outs", [])
            }
            for label, cell in self.cells.items()
        }

    def file(self, label: str, path: str) -> Path:
        """An output of a cell that is a file.

        Raises:
            StageError: the cache does not have it.
        """
        return self._cached(self._outs[label][path], path)

    def files(self, label: str, path: str) -> dict[str, Path]:
        """The files of an output that is a folder, by their names in it; raises as `file`."""
        listed = json.loads(self._cached(self._outs[label][path], path).read_text(encoding="utf-8"))
        return {entry["relpath"]: self._cached(entry["md5"], path) for entry in listed}

    def images(self, label: str) -> list[tuple[Path, int]]:
        """Files of a cell's images and the numbers of their prompts; raises as `file`."""
        folder = f"results/images/{self.cells[label].arm}"
        files = self.files(label, folder)
        return [(files[row["path"]], row["prompt_index"]) for row in read_table(files["index.parquet"])]

    def laid_out(self, label: str, path: str, folder: Path) -> Path:
        """An output that is a folder, linked into `folder`, which it is given once; raises as `file`."""
        place = folder / self._outs[label][path]
        if not place.exists():
            for name, cached in self.files(label, path).items():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                (place / name).symlink_to(cached)
        return place

    def _cached(self, md5: str, path: str) -> Path:
        found = cached_file(self._root, md5)
        if not found.exists():
            raise StageError(f"{path} ({md5}) is not in DVC's cache: `dvc fetch` it, or run the sweep again.")
        return found


def history(root: Path, name: str) -> dict[str, object]:
    """Commit, machine and hours of a sweep, as its runs in MLflow say; hours are those of all its runs.

    Raises:
        StageError: there is no run of it that ended well.
    """
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri(root))
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(
        experiments, f"tags.flow = 'sweep' and tags.sweep = '{name}'", order_by=["start_time DESC"]
    )
    last = next((run for run in runs if run.info.status == "FINISHED"), None)
    if last is None:
        raise StageError(f"MLflow's store of {root} has no run of the sweep {name} that ended well: run it.")
    commit = last.data.tags["git.commit"]
    own = [run for run in runs if run.data.tags.get("git.commit") == commit and run.info.end_time]
    hours = sum(run.info.end_time - run.info.start_time for run in own) / HOUR_MS
    return {"commit": commit, "machine": _machine(last.data.tags), "hours": hours, "run": last.info.run_id}


def _machine(tags: Mapping[str, str]) -> str:
    """The processor and its cores, where that machine is this one; or what the run knows of its system."""
    info = Path("/proc/cpuinfo")
    if tags.get("host") != socket.gethostname() or not info.exists():
        return tags.get("platform", platform.platform())
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"
