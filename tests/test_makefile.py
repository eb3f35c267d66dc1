"""The commands of the Makefile, and how it makes the environment; a stand-in for Python notes what it is told to do."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYTHON = """#!/bin/sh
# Stands in for Python and uv: makes an "environment" of copies of itself and writes down its arguments.
echo "$@" >> calls
case "$1 $2" in
  "-m venv") rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python; cp "$0" .venv/bin/uv;;
  "pip install") [ ! -e broken ] && [ ! -e no-index-for-uv ];;
  "-m pip") case "$*" in *requirements.lock*) [ ! -e broken ];; esac;;
  "-c "*) [ ! -e too-old ];;
  "-m lab.preflight") [ ! -e lacking ];;
esac
"""


class Place:
    """A folder with the Makefile and the stand-in as its only Python."""

    def __init__(self, root):
        self.root = root
        shutil.copy(ROOT / "Makefile", root)
        for name in ("requirements.lock", "pyproject.toml"):
            (root / name).touch()
        (root / "bin").mkdir()
        for name in ("python3.11", "python3.12", "python3.13", "python3"):
            (root / "bin" / name).write_text(PYTHON)
            (root / "bin" / name).chmod(0o755)

    def make(self, *arguments, **env):
        """Runs make; its result."""
        env = {"PATH": f"{self.root / 'bin'}:/usr/bin:/bin", "HOME": str(self.root), **env}
        return subprocess.run(["make", *arguments], cwd=self.root, env=env, capture_output=True, text=True)

    def calls(self):
        """What Python was told since the last look, in short."""
        log = self.root / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        words = {"-m venv": "venv", "requirements.lock": "install lock", "-e .": "install taca"}
        return [short for line in lines for word, short in words.items() if word in line]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_help_lists_every_command():
    # Inside a `make test`, make would announce the folder it enters.
    env = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    shown = subprocess.run(["make", "help"], cwd=ROOT, env=env, capture_output=True, text=True).stdout
    commands = [
        "help",
        "repro",
        "base",
        "test",
        "test-long",
        "test-all",
        "test-older",
        "check",
        "ui",
        "run",
        "publish",
        "profile",
    ]
    commands += [
        "study",
        "study-report",
        "estimate",
        "remote",
        "plan",
        "flow",
        "sweep",
        "serve",
        "doctor",
        "gc",
        "rebuild",
        "parse",
        "gpu-check",
        "quality",
    ]
    assert [line.split()[1] for line in shown.splitlines()] == commands


def test_environment_is_made_once(place):
    assert place.make(".venv/.installed").returncode == 0
    assert place.calls() == ["venv", "install lock", "install taca"]
    assert place.make(".venv/.installed").returncode == 0
    assert place.calls() == []


def test_where_uv_cannot_install_pip_does(place):
    """It knows the user's own index, for one."""
    (place.root / "no-index-for-uv").touch()
    done = place.make(".venv/.installed")
    assert done.returncode == 0
    assert "pip does" in done.stderr
    assert place.calls() == ["venv", "install lock", "install lock", "install taca"]


def test_changed_lock_is_installed_into_the_environment_that_is_there(place):
    place.make(".venv/.installed")
    place.calls()
    later = os.stat(place.root / ".venv" / ".installed").st_mtime + 10
    os.utime(place.root / "requirements.lock", (later, later))
    assert place.make(".venv/.installed").returncode == 0
    assert place.calls() == ["install lock", "install taca"]


def test_interrupted_installation_starts_anew(place):
    (place.root / "broken").touch()
    assert place.make(".venv/.installed").returncode != 0
    assert not (place.root / ".venv" / ".installed").exists()
    (place.root / "broken").unlink()
    place.calls()
    assert place.make(".venv/.installed").returncode == 0
    assert place.calls() == ["venv", "install lock", "install taca"]


def test_environment_whose_python_is_gone_is_made_anew(place):
    place.make(".venv/.installed")
    (place.root / ".venv" / "bin" / "python").unlink()
    (place.root / ".venv" / ".installed").unlink()
    place.calls()
    assert place.make(".venv/.installed").returncode == 0
    assert place.calls() == ["venv", "install lock", "install taca"]


def test_environment_that_is_a_link_is_refused(place, tmp_path):
    """What it points to may be another checkout's, and is left as it was."""
    shared = tmp_path / "shared"
    (shared / "bin").mkdir(parents=True)
    (place.root / ".venv").symlink_to(shared)
    done = place.make("repro")
    assert done.returncode != 0
    assert done.stderr.startswith(f".venv is a link to {shared}, which would be emptied or changed")
    assert place.calls() == []
    assert [path.name for path in shared.iterdir()] == ["bin"]


def test_missing_python_is_one_sentence(place):
    (place.root / "too-old").touch()
    done = place.make("repro")
    assert done.returncode != 0
    assert done.stderr.startswith("Python 3.11, 3.12 or 3.13 is needed and none is on the PATH; install one.\n")
    assert not (place.root / ".venv").exists()


def test_repro_hands_nothing_to_dvc_before_all_is_there(place):
    place.make(".venv/.installed")
    dvc = place.root / ".venv" / "bin" / "dvc"
    dvc.write_text('#!/bin/sh\necho "dvc $@" >> calls\n')
    dvc.chmod(0o755)
    (place.root / "lacking").touch()
    (place.root / "calls").unlink()
    assert place.make("repro").returncode != 0
    assert (place.root / "calls").read_text() == "-m lab.preflight\n"
    (place.root / "lacking").unlink()
    assert place.make("repro").returncode == 0
    assert (place.root / "calls").read_text() == "-m lab.preflight\n-m lab.preflight\ndvc repro\n"


def test_an_estimate_comes_after_what_is_missing_and_all_the_same(place):
    place.make(".venv/.installed")
    (place.root / "lacking").touch()
    (place.root / "calls").unlink()
    assert place.make("estimate", "PROFILE=flux-dev", "PRICE=2").returncode == 0
    assert place.make("estimate").returncode == 0
    assert (place.root / "calls").read_text().splitlines() == [
        "-m lab.preflight --profile flux-dev",
        "-m lab.estimate flux-dev --price 2",
        "-m lab.preflight",
        "-m lab.estimate",
    ]


def test_remote_without_address_says_what_to_say(place):
    done = place.make("remote")
    assert done.returncode != 0
    assert "Say where: make remote URL=/a/folder or URL=s3://bucket/path." in done.stderr


@pytest.mark.slow
def test_data_travel_through_a_remote(toy, tmp_path):
    """`make remote`, `dvc push`, and `dvc pull` where the cache is gone; the address stays out of git."""
    shutil.copy(ROOT / "Makefile", toy.root)
    for name in ("requirements.lock", "pyproject.toml", ".venv/.installed"):
        (toy.root / name).parent.mkdir(exist_ok=True)
        (toy.root / name).touch()
    toy.repro("write@a")
    assert toy.run("make", "remote", f"URL={tmp_path / 'shared folder'}").returncode == 0
    assert toy.run("git", "status", "--porcelain", ".dvc").stdout == ""
    assert toy.run("dvc", "push", "-q").returncode == 0
    shutil.rmtree(toy.root / ".dvc" / "cache")
    shutil.rmtree(toy.root / "out" / "a")
    done = toy.run("dvc", "pull", "-q", "write@a")
    assert done.returncode == 0, done.stderr
    assert (toy.root / "out" / "a" / "3.txt").read_text() == "3 3\n"


def test_the_older_diffusers_is_installed_by_hash_beside_the_environment_and_goes_first(place):
    (place.root / "requirements-older.lock").touch()
    done = place.make("test-older")
    assert done.returncode == 0, done.stderr
    folder = place.root / ".venv-older"
    told = (place.root / "calls").read_text()
    assert f"--no-deps --require-hashes --target {folder} -r requirements-older.lock" in told
    assert f"PYTHONPATH={folder};" in place.make("-n", "test-older").stdout
    assert "--target" not in place.make("-n", "test-older").stdout


def test_commands_are_offline_and_phone_nobody(place):
    (place.root / "show.mk").write_text("show:\n\t@env\n")
    shown = place.make("-f", "Makefile", "-f", "show.mk", "show").stdout.splitlines()
    assert {
        "HF_HUB_OFFLINE=1",
        "TRANSFORMERS_OFFLINE=1",
        "HF_HUB_DISABLE_TELEMETRY=1",
        "DO_NOT_TRACK=1",
        "DVC_NO_ANALYTICS=1",
        "MLFLOW_DISABLE_TELEMETRY=true",
    } <= set(shown)
    assert next(line for line in shown if line.startswith("PATH=")).startswith(f"PATH={place.root}/.venv/bin:")
    online = place.make("-f", "Makefile", "-f", "show.mk", "show", HF_HUB_OFFLINE="0").stdout.splitlines()
    assert {"HF_HUB_OFFLINE=0", "TRANSFORMERS_OFFLINE=0"} <= set(online)
