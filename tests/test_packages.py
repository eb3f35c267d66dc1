"""What `pip install .` brings: the method and the benchmark, and of these nothing that speaks of the experiment."""

import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from compbench.errors import CompbenchError
from lab.errors import LabError
from lab.params import Params
from runtime.errors import StageError
from runtime.params import read_yaml
from taca.errors import TacaError

ROOT = Path(__file__).parents[1]
PACKAGES = ("taca", "compbench", "lab", "runtime", "stages", "flows")


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.long
def test_the_method_needs_torch_and_diffusers_alone():
    code = (
        "import importlib, sys\n"
        "class Refused:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'compbench', 'lab', 'runtime', 'dvc', 'prefect', 'ruamel'}:\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Refused())\n"
        f"for name in {[module_name(path) for path in modules('taca')]}: importlib.import_module(name)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("package", ["taca", "compbench"])
def test_no_string_of_a_library_speaks_of_the_experiments_files_and_commands(package):
    sections = "|".join(Params.model_fields)
    spoken = re.compile(rf"params\.yaml|\bdvc |`(?:{sections})\.|\b(?:{sections})\.[a-z]+(?:_[a-z]+)+\b")
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value!r}"
        for path in modules(package)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and spoken.search(node.value)
    ]
    assert found == []


def test_each_package_says_in_its_first_line_what_it_is_for():
    folders = {path.parent for package in PACKAGES for path in modules(package)}
    for folder in folders:
        docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
        assert docstring, folder
        assert len(docstring.splitlines()[0]) > 20, folder


def test_no_module_beside_a_deployed_flow_hides_a_package():
    """Prefect puts the folder of a deployment's file before all others that modules are imported from."""
    entrypoints = {deployment["entrypoint"] for deployment in read_yaml(ROOT / "prefect.yaml")["deployments"]}
    beside = {path.stem for entrypoint in entrypoints for path in (ROOT / entrypoint).parent.glob("*.py")}
    assert {"flow", "repository", "cells"} <= beside
    installed = {package.partition(".")[0] for package in packages_distributions()}
    assert not beside & (installed | sys.stdlib_module_names)


def test_each_package_has_its_own_exception():
    own = (TacaError, CompbenchError, LabError, StageError)
    assert [error.__module__.split(".")[0] for error in own] == ["taca", "compbench", "lab", "runtime"]
    assert not any(issubclass(one, other) for one in own for other in own if one is not other)
