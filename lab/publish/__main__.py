"""`python -m lab.publish ADAPTER FOLDER`: copies an adapter with its model card to a folder, ready to be uploaded."""

import os
import shutil
import sys
from pathlib import Path

from lab.errors import LabError
from runtime.errors import StageError
from runtime.params import read_yaml
from runtime.tracking.find import find_runs
from runtime.tracking.place import check_answers, tracking_uri


def main() -> None:
    """Says where the adapter is, or why it is not."""
    try:
        if len(sys.argv) != 3 or not all(sys.argv[1:]):
            raise LabError("Say which adapter and where to: make publish ADAPTER=taca-r16 TO=folder.")
        name, folder = sys.argv[1], Path(sys.argv[2])
        publish(name, folder)
    except (LabError, StageError, ConnectionError) as error:
        sys.exit(str(error))
    print(f"{folder} has the adapter {name} and its model card (README.md).")
    # MLflow's exit handlers take a second.
    sys.stdout.flush()
    os._exit(0)


def publish(name: str, folder: Path) -> None:
    """Writes the weights and README.md to `folder`, in a repository's root.

    Raises:
        LabError: no adapter of this name was trained here, or the folder has something in it.
    """
    from diffusers.loaders.lora_base import LORA_WEIGHT_NAME_SAFE as WEIGHTS

    weights = Path("models/adapters") / name / WEIGHTS
    stages = read_yaml("dvc.lock").get("stages", {}) if Path("dvc.lock").exists() else {}
    stage = stages.get(f"train@{name}")
    if stage is None or not weights.exists():
        raise LabError(
            f"There is no trained adapter {name} here: take one of section `adapters` with a rank above 0, and run "
            f"`dvc repro train@{name}` or `dvc pull` first."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise LabError(f"{folder} is there already and not an empty folder: name another.")
    from lab.publish.card import model_card

    hashes = {entry["path"]: entry["md5"] for entry in stage["deps"] + stage["outs"]}
    base = next(Path(path) for path in hashes if path.startswith("models/base/"))
    card = model_card(name, weights, base, _origin(hashes, f"models/adapters/{name}"))
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(weights, folder / WEIGHTS)
    card.save(folder / "README.md")


def _origin(hashes: dict[str, str], out: str) -> dict[str, str]:
    """DVC's hashes of data and adapter, and the newest MLflow run that made it, where the store has one."""
    origin = {"data (md5)": hashes["data/encoded"], "adapter's folder (md5)": hashes[out]}
    uri = tracking_uri(Path.cwd())
    check_answers(uri)
    for run in find_runs(uri, hashes[out])[:1]:
        origin |= {"MLflow run": run.info.run_id, "git commit": run.data.tags["git.commit"]}
    return origin


if __name__ == "__main__":
    main()
