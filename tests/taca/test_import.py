"""Importing the package is cheap; its names load what they need."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import taca

ROOT = Path(__file__).parents[2]


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_import_loads_neither_torch_nor_diffusers_and_takes_under_200_ms():
    code = (
        "import time; start = time.perf_counter(); import taca; seconds = time.perf_counter() - start; import sys; "
        "print(seconds, 'torch' in sys.modules or 'diffusers' in sys.modules)"
    )
    seconds, heavy = python(code).split()
    assert heavy == "False"
    assert float(seconds) < 0.2


def test_public_names_are_those_of_the_hooks():
    from taca import hooks

    for name in ("TacaConfig", "apply_taca", "is_applied", "remove_taca", "taca"):
        assert getattr(taca, name) is getattr(hooks, name)
        assert name in dir(taca)


def test_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert taca.__version__ == project["version"]


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'tacca'"):
        _ = taca.tacca
