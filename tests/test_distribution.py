"""What is published as `taca-diffusers`: built wheel and sdist, each in a clean environment of its own."""

import re
import shutil
import subprocess
import sys
import tarfile
import textwrap
import tomllib
import venv
import zipfile
from email.message import Message
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from tiny_base import tiny_base

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAGE = ROOT / PROJECT["readme"]
PIP = ("-m", "pip", "-q", "--disable-pip-version-check", "--isolated")
OFFLINE = ("--no-deps", "--no-build-isolation", "--no-index")


def run(*command: str | Path, cwd: Path, **env: str) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=env or None)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """What git would clone."""
    tree = tmp_path_factory.mktemp("clone") / "tree"
    kept = ("taca", "compbench", "pyproject.toml", "setup.py", "README.md", "LICENSE", "Makefile", "docs", "lab")
    skipped = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in kept:
        copy = shutil.copy if (ROOT / name).is_file() else lambda a, b: shutil.copytree(a, b, ignore=skipped)
        tree.mkdir(exist_ok=True)
        copy(ROOT / name, tree / name)
    return tree


@pytest.fixture(scope="module")
def built(tree, tmp_path_factory) -> dict[str, Path]:
    """The wheel by `pip wheel .`, and the sdist by the same backend."""
    folder = tmp_path_factory.mktemp("built")
    before = sorted(tree.rglob("*"))
    run(sys.executable, *PIP, "wheel", *OFFLINE, "-w", folder, ".", cwd=tree)
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"
    run(sys.executable, "-c", code, cwd=tree)
    assert sorted(tree.rglob("*")) == before, "a build leaves nothing behind"
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return {"wheel": wheel, "sdist": sdist}


def header(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return metadata.PathDistribution(zipfile.Path(wheel, name.removesuffix("METADATA"))).metadata


@pytest.mark.slow
def test_the_wheel_holds_the_method_and_the_benchmark_alone(built):
    names = zipfile.ZipFile(built["wheel"]).namelist()
    folders = {name.split("/")[0] for name in names}
    assert {name for name in folders if not name.endswith(".dist-info")} == {"taca", "compbench"}
    files = ("color_val.txt", "before-2025-09/color_val.txt", "spacy-3.6.jsonl.xz")
    assert {f"compbench/val_prompts/{file}" for file in files} | {"taca/py.typed"} <= set(names)
    with tarfile.open(built["sdist"]) as archive:
        inside = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    assert {"taca", "compbench", "pyproject.toml", "LICENSE"} <= inside
    assert not {"lab", "docs", "tests"} & inside


@pytest.mark.slow
def test_the_index_page_says_what_it_is(built):
    page = header(built["wheel"])
    assert page["Name"] == "taca-diffusers"
    assert page["Author"] == "the contributors of taca"
    assert page.get_all("Project-URL")
    assert {"Typing :: Typed", "Programming Language :: Python :: 3.11"} <= set(page.get_all("Classifier"))
    assert page.get_payload().strip() == PAGE.read_text().strip()


def first_example(path: Path) -> str:
    return re.search(r"```python\n(.*?)```", path.read_text(), re.DOTALL)[1]


def test_the_index_page_has_readmes_example_and_no_link_into_a_tree():
    assert first_example(PAGE) == first_example(ROOT / "README.md")
    assert "with taca(pipe, " in first_example(PAGE)
    links = re.findall(r"\]\(([^)]*)\)", PAGE.read_text())
    assert links
    assert all(link.startswith("https://") for link in links)


def test_the_release_of_fastapi_that_the_server_starts_with_reaches_who_installs_the_extra():
    assert "fastapi==0.141.1" in PROJECT["optional-dependencies"]["pipeline"]


def closure(requirements: list[str]) -> set[str]:
    """The installed distributions that they bring, themselves included."""
    found, todo = set(), [Requirement(text) for text in requirements]
    while todo:
        requirement = todo.pop()
        extras = requirement.extras or {""}
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            continue
        try:
            distribution = metadata.distribution(requirement.name)
        except metadata.PackageNotFoundError:
            continue  # which the example on a tiny model does without: sentencepiece
        if distribution.name not in found:
            found.add(distribution.name)
            inner = [Requirement(text) for text in distribution.requires or []]
            todo += [r for r in inner if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in extras)]
    return found


@pytest.fixture
def clean(tmp_path) -> Path:
    """An environment with what `pip install taca-diffusers[pipelines]` brings from elsewhere, and nothing else."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    extra = PROJECT["optional-dependencies"]["pipelines"]
    for name in closure([*PROJECT["dependencies"], *extra]):
        distribution = metadata.distribution(name)
        tops = {Path(file).parts[0] for file in distribution.files or []} - {"..", "__pycache__", "bin"}
        for top in tops:
            if not (site / top).exists():
                (site / top).symlink_to(distribution.locate_file(top))
    return tmp_path / "venv" / "bin" / "python"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_readmes_example_runs_in_a_clean_environment(built, clean, tmp_path, kind):
    """On a tiny model in the place of the published one, outside of the repository."""
    pip = (sys.executable, "-m", "pip", "-q", "--isolated", "--python", clean)
    if kind == "sdist":  # setuptools, which pip would fetch, is this environment's
        run(sys.executable, *PIP, "wheel", *OFFLINE, "-w", tmp_path, built["sdist"], cwd=tmp_path)
    wheel = built["wheel"] if kind == "wheel" else next(tmp_path.glob("*.whl"))
    run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    example = first_example(ROOT / "README.md")
    example = example.replace("stabilityai/stable-diffusion-3.5-medium", str(tiny_base())).replace('"cuda"', '"cpu"')
    script = tmp_path / "example.py"
    script.write_text(
        example
        + textwrap.dedent("""
            import sys, taca as package
            assert "venv" in package.__file__, package.__file__
            assert not {"lab", "runtime", "dvc", "mlflow", "prefect"} & set(sys.modules)
            print(image.size, package.is_applied(pipe))
        """)
    )
    assert run(clean, script, cwd=tmp_path, HF_HUB_OFFLINE="1", PATH="/usr/bin:/bin").strip().endswith("False")


class TestAnotherToolOfThatName:
    @staticmethod
    def imported(folder: Path, summary: str) -> subprocess.CompletedProcess:
        (folder / "taca-1.0.dist-info").mkdir()
        lines = ["Metadata-Version: 2.1", "Name: taca", "Version: 1.0", *([f"Summary: {summary}"] if summary else [])]
        (folder / "taca-1.0.dist-info" / "METADATA").write_text("\n".join(lines) + "\n")
        code = f"import sys; sys.path[:0] = [{str(folder)!r}, {str(ROOT)!r}]; import taca"
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)

    @pytest.mark.parametrize("summary", ["Tool for the automation of cleanup and analyses", ""])
    def test_is_refused_in_one_sentence(self, tmp_path, summary):
        done = self.imported(tmp_path, summary)
        assert done.returncode
        last = done.stderr.strip().splitlines()[-1]
        assert re.fullmatch(r"ImportError: Another tool called taca is installed, .*pip install taca-diffusers.*", last)

    def test_this_package_under_its_old_name_is_not(self, tmp_path):
        assert self.imported(tmp_path, PROJECT["description"]).returncode == 0


USE = """
    # mypy: disallow-untyped-calls, warn-unused-ignores, disallow-any-generics
    from typing import assert_type

    from diffusers import StableDiffusion3Pipeline
    from taca import TacaConfig, active_steps, apply_taca, is_applied, remove_taca, taca

    pipe: StableDiffusion3Pipeline = StableDiffusion3Pipeline.from_pretrained("a")  # type: ignore[no-untyped-call]
    config: TacaConfig = TacaConfig.from_dict(TacaConfig(gamma=1.2, branches="conditional").to_dict())
    with taca(pipe, gamma=1.2, threshold=970.0) as drawn:
        assert_type(drawn, StableDiffusion3Pipeline)
    apply_taca(pipe, config)
    applied: bool = is_applied(pipe)
    steps: list[tuple[int, float]] = active_steps(pipe, 28, 1024, 1024)
    remove_taca(pipe)
    active_steps(pipe, 28)  # type: ignore[call-arg]
"""


@pytest.mark.slow
@pytest.mark.timeout(900)  # without a cache, mypy reads torch and diffusers too
def test_the_public_api_is_clean_to_a_type_checker(tmp_path):
    """The modules that [tool.mypy] names, and a program that uses them, whose ignores must not be idle."""
    modules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["files"]
    (tmp_path / "use.py").write_text(textwrap.dedent(USE))
    run(sys.executable, "-m", "mypy", *modules, tmp_path / "use.py", cwd=ROOT)
