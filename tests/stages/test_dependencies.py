"""`dvc.yaml` names the code that each stage runs: what is missing would leave stale results, what is too much rerun."""

import ast
from pathlib import Path

import pytest

from lab.data.sample import SOURCES
from runtime.params import read_yaml

ROOT = Path(__file__).parents[2]
COMPUTE = ("taca", "compbench", "lab", "stages")  # `runtime` runs and records without touching a byte
# Names and words alone, and what `check` depends on in every stage's place.
ASIDE = ("errors.py", "__init__.py", "lab/params/")
STAGES = read_yaml(ROOT / "dvc.yaml")["stages"]
# Modules that `sample` imports by name, and what `sample.folder` is for them: hosted files are one place of tables.
BY_NAME = {"lab/world/sampling.py": "lab/world", "lab/hosted/files.py": "lab/hosted"}


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


def stage_closure(name: str) -> set[str]:
    """What a stage computes with whatever its params say, and not what it imports by name for one source alone."""
    found = closure(ROOT / "stages" / f"{name}.py")
    if name == "sample":
        for source in (ROOT / "lab/data/sources").glob("*.py"):
            found |= closure(source)
    return found


def code_deps(name: str) -> list[str]:
    deps = STAGES[name].get("do", STAGES[name])["deps"]
    return [dep for dep in deps if dep.split("/")[0] in COMPUTE]


def aside(path: str) -> bool:
    return path.endswith(ASIDE[:2]) or path.startswith(ASIDE[2])


@pytest.mark.parametrize("name", [name for name in STAGES if name != "check"])
def test_every_module_that_a_stage_computes_with_is_its_dependency(name):
    deps = code_deps(name)
    used = [path for path in stage_closure(name) if not aside(path)]
    assert sorted(path for path in used if not any(f"{path}/".startswith(f"{dep}/") for dep in deps)) == []


@pytest.mark.parametrize("name", [name for name in STAGES if name != "check"])
def test_no_dependency_is_code_that_the_stage_does_not_use(name):
    used = stage_closure(name)
    if name == "sample":
        used = used.union(*(closure(ROOT / module) for module in BY_NAME))
    assert sorted(dep for dep in code_deps(name) if not any(f"{path}/".startswith(f"{dep}/") for path in used)) == []


@pytest.mark.parametrize(("module", "folder"), BY_NAME.items())
def test_sample_depends_on_the_world_and_on_hosted_files_by_its_folder_alone(module, folder):
    """What only one source imports is in its `sample.folder`, or among the dependencies of all."""
    deps = [*code_deps("sample"), folder]
    used = [path for path in closure(ROOT / module) if not aside(path)]
    assert sorted(path for path in used if not any(f"{path}/".startswith(f"{dep}/") for dep in deps)) == []
    assert "${sample.folder}" in STAGES["sample"]["deps"]
    assert not any(
        f"{path}/".startswith(f"{folder}/") for path in stage_closure("sample") for folder in BY_NAME.values()
    )


def test_every_source_of_sample_is_a_module_that_is_looked_at_here():
    for name in SOURCES.values():
        path = f"{name.replace('.', '/')}.py"
        assert path in BY_NAME or path.startswith("lab/data/sources/")
