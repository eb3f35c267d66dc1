"""`dvc.yaml` names the code that each stage runs: what is missing would leave stale results, what is too much rerun."""

import ast
from pathlib import Path

import pytest

from runtime.params import read_yaml

ROOT = Path(__file__).parents[2]
COMPUTE = ("taca", "compbench", "lab", "stages")  # `runtime` runs and records without touching a byte
# Names and words alone, and what `check` depends on in every stage's place.
ASIDE = ("errors.py", "__init__.py", "lab/params/")
STAGES = read_yaml(ROOT / "dvc.yaml")["stages"]


def imported(path: Path) -> set[Path]:
    """The modules of this repository that a file imports, in its functions too; packages give their `__init__`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            place = ROOT / name.replace(".", "/")
            found |= {file for file in (place.with_suffix(".py"), place / "__init__.py") if file.exists()}
    return {file for file in found if file.relative_to(ROOT).parts[0] in COMPUTE}


def closure(program: Path) -> set[str]:
    seen, ahead = set(), [program]
    while ahead:
        path = ahead.pop()
        if path not in seen:
            seen.add(path)
            ahead += imported(path)
    return {path.relative_to(ROOT).as_posix() for path in seen}


def code_deps(name: str) -> list[str]:
    deps = STAGES[name].get("do", STAGES[name])["deps"]
    return [dep for dep in deps if dep.split("/")[0] in COMPUTE]


def aside(path: str) -> bool:
    return path.endswith(ASIDE[:2]) or path.startswith(ASIDE[2])


@pytest.mark.parametrize("name", [name for name in STAGES if name != "check"])
def test_every_module_that_a_stage_computes_with_is_its_dependency(name):
    deps = code_deps(name)
    used = [path for path in closure(ROOT / "stages" / f"{name}.py") if not aside(path)]
    assert sorted(path for path in used if not any(f"{path}/".startswith(f"{dep}/") for dep in deps)) == []


@pytest.mark.parametrize("name", [name for name in STAGES if name != "check"])
def test_no_dependency_is_code_that_the_stage_does_not_use(name):
    used = closure(ROOT / "stages" / f"{name}.py")
    assert sorted(dep for dep in code_deps(name) if not any(f"{path}/".startswith(f"{dep}/") for path in used)) == []
