"""A small repository whose arms and adapters are real to DVC, MLflow and Prefect, and numbers to everyone else."""

import re
import shutil
import sys
from pathlib import Path

from tests.conftest import ROOT, Toy

HERE = Path(__file__).parent / "toy_sweep"
COMMIT = ["git", "-c", "user.name=toy", "-c", "user.email=toy@localhost", "commit", "-qm", "sweep"]
SWEEP = """\
title: Gamma
like: taca
compare_with: baseline
cells:
  baseline: {gamma: 1.0, rank: 0}
  lora-only: {gamma: 1.0}
  gamma-1.1: {gamma: 1.1}
  gamma-1.2: {gamma: 1.2}
  gamma-1.4: {gamma: 1.4}
"""


def make(toy: Toy) -> Toy:
    """Turns the toy repository into one with adapters, arms and a sweep called `gamma`."""
    shutil.rmtree(toy.root / "stages")
    shutil.copytree(HERE / "stages", toy.root / "stages")
    shutil.copy(ROOT / "stages" / "check.py", toy.root / "stages")
    shutil.copy(HERE / "pipeline.yaml", toy.root / "dvc.yaml")
    (toy.root / "dvc.lock").unlink()
    text = (ROOT / "experiments" / "defaults.yaml").read_text()
    text = re.sub(r"(?ms)^adapters:.*?\n\n", ADAPTERS, text)
    text = re.sub(r"(?ms)^arms:.*?\n\n", ARMS, text)
    text = text.replace("adapter: taca-r16", "adapter: taca")  # of `analyze`
    text = re.sub(r"per_category: \d+", "per_category: 20", text)
    text = re.sub(
        r"bootstrap: \d+", "bootstrap: 500", re.sub(r"(generate:.*?batch_size: )\d+", r"\g<1>5", text, flags=re.DOTALL)
    )
    (toy.root / "params.yaml").write_text(text)
    (toy.root / "experiments" / "sweeps").mkdir(parents=True)
    (toy.root / "experiments" / "sweeps" / "gamma.yaml").write_text(SWEEP)
    (toy.root / ".gitignore").write_text(
        ".work/\n.prefect/\nmlflow.db*\nmlartifacts/\n*.log\n__pycache__/\n/models/adapters\n/results/images\n"
        "/results/scores\n/results/sweeps\n"
    )
    toy.env |= {"TACA_RETRY_SECONDS": "0.1", "TACA_WORKERS": "2"}
    toy.env["TOY_LOG"] = str(toy.root / "toy.log")
    for command in (["git", "add", "-A"], COMMIT):
        done = toy.run(*command)
        assert done.returncode == 0, done.stdout + done.stderr
    return toy


def commit_all(toy: Toy) -> None:
    for command in (["git", "add", "-A"], COMMIT):
        done = toy.run(*command)
        assert done.returncode == 0, done.stdout + done.stderr


def git(toy: Toy, *arguments: str) -> str:
    """What a command of git prints."""
    done = toy.run("git", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def experiments(toy: Toy, head: str) -> list[str]:
    """The references of the experiments on a commit."""
    return git(toy, "for-each-ref", "--format=%(refname)", f"refs/exps/{head[:2]}/{head[2:]}").splitlines()


def log(toy: Toy) -> list[str]:
    """What the toy stages noted of their work."""
    path = toy.root / "toy.log"
    return path.read_text().splitlines() if path.exists() else []


def sweep(toy: Toy, *arguments: str, **env: str):
    return toy.run(sys.executable, "-m", "flows.sweep", *arguments, **env)


ADAPTERS = """\
adapters:
  none: {rank: 0}
  taca: {rank: 16, alpha: 16, gamma: 1.2, threshold: 970.0}

"""
ARMS = """\
arms:
  baseline: {gamma: 1.0, threshold: 970.0, guidance: 3.0, adapter: none, adapter_scope: early}
  taca: {gamma: 1.2, threshold: 970.0, guidance: 3.0, adapter: taca, adapter_scope: early}

"""
