"""Stage `fetch@<adapter>`: a LoRA that someone else trained, and what it is for."""

import json
import shutil
import sys
from pathlib import Path

from lab.errors import LabError
from lab.online import go_online
from lab.params import load
from runtime.execution import stage


def main() -> None:
    go_online()  # naming a file of the hub is the consent to fetch it
    with stage("fetch", sys.argv[1:], load, (LabError,)) as run:
        fetch(run)


def fetch(run) -> None:
    """Writes the file under the name that diffusers looks for, and `adapter.json` beside it."""
    from lab.models.hub_file import check_digest, check_trained_on, fetch_file, read_local
    from lab.models.published.hashes import sha256
    from lab.models.published_adapter import WEIGHTS, describe_adapter

    source = run.params.published_adapters[run.key]
    folder = run.fresh(f"models/adapters/{run.key}")
    folder.mkdir(exist_ok=True)
    path, commit = Path(source.file), None
    if source.repo is None:
        run.log_input(f"published_adapters.{run.key}", path)
    else:
        path, commit = fetch_file(source, run.key)
    digest = sha256(path)
    check_digest(run.key, source.file, source.sha256, digest)
    check_trained_on(run.key, read_local(path, run.key).metadata, run.params.base.name)
    shutil.copyfile(path, folder / WEIGHTS)
    found = describe_adapter(folder, Path("models/base") / run.params.base.name, run.params.train.targets)
    facts = {**source.model_dump(), "commit": commit, "sha256": digest, "bytes": path.stat().st_size, **found}
    (folder / "adapter.json").write_text(json.dumps(facts, indent=2) + "\n")
    run.log_model(f"models/adapters/{run.key}", card(run.key, run.params.base.name, facts))
    tell(run.key, source, facts)


def card(name: str, base: str, facts: dict) -> str:
    """What stands beside the weights where MLflow keeps them as a model."""
    rows = "".join(f"| {key} | {value} |\n" for key, value in facts.items() if value is not None)
    return f"# {name}\n\nA LoRA that someone else trained, for the base {base}.\n\n| | |\n|---|---|\n{rows}"


def tell(name: str, source, facts: dict) -> None:
    """What a reader of the log has to know."""
    if source.sha256 is None:
        print(f"{name}: sha256 {facts['sha256']}; `published_adapters.{name}.sha256` keeps it so.")
    if facts["difference"] is not None:
        print(f"{name}: {facts['difference']}")


if __name__ == "__main__":
    main()
