"""The packages of `make quality`, whose licence keeps them out of the ordinary installation."""

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYTHON = '#!/bin/sh\necho "$@" >> calls\n'


def pins(name: str) -> dict[str, str]:
    """Version by package."""
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^ \\;]+)", (ROOT / name).read_text(), re.MULTILINE))


def test_ordinary_installation_has_nothing_of_pyiqa():
    assert "pyiqa" not in pins("requirements.lock")
    assert pins("requirements-quality.lock")["pyiqa"] == "0.1.16"


def test_what_both_locks_hold_has_the_same_version_in_both():
    ordinary, quality = pins("requirements.lock"), pins("requirements-quality.lock")
    shared = ordinary.keys() & quality.keys()
    assert len(shared) > 200
    assert {name: quality[name] for name in shared} == {name: ordinary[name] for name in shared}


def test_make_quality_installs_its_lock_by_hash_and_says_the_licence(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.lock", "pyproject.toml", ".venv/.installed"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir()
    python.write_text(PYTHON)
    python.chmod(0o755)
    done = subprocess.run(["make", "quality"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "non-commercial use only" in done.stdout
    (call,) = (tmp_path / "calls").read_text().splitlines()
    assert call.endswith("install -q --require-hashes -r requirements-quality.lock")
