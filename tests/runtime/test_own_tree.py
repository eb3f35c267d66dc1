"""A stage runs the code of the folder that DVC runs in, whatever else is installed or lies elsewhere."""

import shutil

import pytest
from ruamel.yaml import YAML

from tests.conftest import Toy

MODULE = '"""What a stage imports."""\n\nANSWER = "{answer}"\n'
STAGE = """
import sys
from pathlib import Path

import helper
from lab.params import load
from runtime.execution import stage

with stage("tell", sys.argv[1:], load) as run:
    run.fresh("told.txt").write_text(helper.ANSWER)
"""


@pytest.fixture
def toy_with_module(toy):
    """The toy with a stage that uses a module beside `stages`."""
    pipeline = YAML().load(toy.root / "dvc.yaml")
    pipeline["stages"]["tell"] = {"cmd": "python -m stages.tell", "deps": ["helper.py"], "outs": ["told.txt"]}
    YAML().dump(pipeline, toy.root / "dvc.yaml")
    (toy.root / "stages" / "tell.py").write_text(STAGE)
    (toy.root / "helper.py").write_text(MODULE.format(answer="repository"))
    return toy


@pytest.mark.slow
def test_copy_runs_its_own_module_while_the_repository_has_another(toy_with_module, tmp_path):
    """The repository is first on the import path of what is installed, as an editable install would have it."""
    repository = toy_with_module
    copy = Toy(shutil.copytree(repository.root, tmp_path / "copy"))
    copy.env["PYTHONPATH"] = f"{repository.root}:{copy.env['PYTHONPATH']}"
    (copy.root / "helper.py").write_text(MODULE.format(answer="copy"))
    copy.repro("tell")
    repository.repro("tell")
    assert (copy.root / "told.txt").read_text() == "copy"
    assert (repository.root / "told.txt").read_text() == "repository"


@pytest.mark.slow
def test_experiment_runs_the_module_as_it_was_when_it_started(toy_with_module):
    """DVC runs a temporary experiment in a folder of its own; an edit of the repository meanwhile is not seen."""
    toy = toy_with_module
    toy.env["PYTHONPATH"] = f"{toy.root}:{toy.env['PYTHONPATH']}"
    (toy.root / "stages" / "tell.py").write_text("import time\n\ntime.sleep(3)\n" + STAGE)
    git = ("git", "-c", "user.name=toy", "-c", "user.email=toy@localhost")
    toy.run("git", "add", "-A")
    toy.run(*git, "commit", "-qm", "tell")
    process = toy.start("dvc", "exp", "run", "-q", "--temp", "-n", "told", "tell")
    toy.until(lambda: list(toy.root.glob(".dvc/tmp/exps/standalone/tmp*/helper.py")) != [])
    (toy.root / "helper.py").write_text(MODULE.format(answer="edited"))
    assert process.wait() == 0, (toy.root / "started.log").read_text()
    listed = toy.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout.split()
    (ref,) = (name for name in listed if name.endswith("/told"))
    lock = YAML().load(toy.run("git", "show", f"{ref}:dvc.lock").stdout)
    toy.run("git", "checkout", "-q", "helper.py")
    toy.repro("tell")
    assert lock["stages"]["tell"]["outs"] == YAML().load(toy.root / "dvc.lock")["stages"]["tell"]["outs"]
