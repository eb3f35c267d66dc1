"""What is read from dvc.yaml and dvc.lock without DVC is what DVC writes there."""

import threading
import time

import pytest

from runtime.errors import StageError
from runtime.execution.graph import read_recorded, read_stages
from runtime.execution.hashes import Hasher
from tests.conftest import Toy

PARAMS = """
rate: 1e-4
names: {one: first}
arms:
  x-1: {gamma: 1.0, steps: [1, 2]}
  y: {gamma: 1.2, steps: []}
"""
PIPELINE = """
stages:
  all:
    cmd: cat params.yaml > all.txt
    params:
    - params.yaml:
    outs: [all.txt]
  each:
    foreach: ${arms}
    do:
      cmd: sh make.sh out/${key} ${item.gamma} ${names.one}
      deps: [all.txt, make.sh, data]
      params:
      - arms.${key}
      - rate
      outs:
      - out/${key}
      metrics:
      - metrics-${key}.json: {cache: false}
"""
SCRIPT = """
mkdir -p $1/deep/__pycache__ && echo $2 > $1/deep/a.txt && echo $3 > "$1/b é.txt" && touch $1/deep/__pycache__/c.pyc
touch $1/.hidden && echo '{"gamma": '$2'}' > metrics-$(basename $1).json
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Run by DVC itself, with names that a hash may stumble over."""
    root = tmp_path_factory.mktemp("graph")
    (root / "params.yaml").write_text(PARAMS)
    (root / "dvc.yaml").write_text(PIPELINE)
    (root / "make.sh").write_text(SCRIPT)
    (root / "data" / "z").mkdir(parents=True)
    (root / "data" / "z" / "1").write_bytes(b"\r\n\x00")
    (root / "data" / "z.txt").write_text("sorts between")
    (root / ".dvcignore").write_text("__pycache__/\n")
    for command in ("git init -q", "dvc init -q", "dvc repro -q"):
        done = Toy(root).run(*command.split())
        assert done.returncode == 0, done.stderr
    return root


@pytest.mark.long
def test_stages_are_resolved_as_dvc_resolves_them(repository):
    stages = read_stages(repository)
    assert list(stages) == ["all", "each@x-1", "each@y"]
    stage = stages["each@x-1"]
    assert stage.cmd == "sh make.sh out/x-1 1.0 first"
    assert stage.deps == ("all.txt", "make.sh", "data")
    assert stage.outs == ("out/x-1", "metrics-x-1.json")
    assert stage.params == {"arms.x-1": {"gamma": 1.0, "steps": [1, 2]}, "rate": 1e-4}


def test_hashes_equal_those_of_dvc(repository):
    hasher = Hasher(repository)
    for name, (_, outs) in read_recorded(repository).items():
        assert {out: hasher(out).md5 for out in read_stages(repository)[name].outs} == outs


def test_fingerprint_of_recorded_inputs_equals_that_of_present_ones(repository):
    """So that it can be told whether dvc.lock knows what a stage has just made."""
    hasher, recorded = Hasher(repository), read_recorded(repository)
    for name, stage in read_stages(repository).items():
        assert stage.fingerprint({dep: hasher(dep).md5 for dep in stage.deps}) == recorded[name][0]


def test_unknown_reference_is_named(repository, tmp_path):
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "dvc.yaml").write_text("stages: {one: {cmd: 'echo ${arms.z.gamma}'}}")
    with pytest.raises(StageError, match=r"dvc.yaml uses `arms.z.gamma`, which params.yaml does not have"):
        read_stages(tmp_path)


def test_missing_dependency_is_named(tmp_path):
    with pytest.raises(StageError, match=r"data/gone is missing; run `dvc repro`"):
        Hasher(tmp_path)("data/gone")


def test_a_lock_file_that_is_being_written_is_waited_for(tmp_path):
    """DVC truncates it and writes it in place, while other stages start."""
    whole = "schema: '2.0'\nstages:\n  one:\n    cmd: true\n    outs:\n    - {path: a, md5: '1'}\n"
    (tmp_path / "dvc.lock").write_text("")

    def write() -> None:
        for end in range(0, len(whole) + 1, 20):
            (tmp_path / "dvc.lock").write_text(whole[:end])
            time.sleep(0.05)
        (tmp_path / "dvc.lock").write_text(whole)

    writer = threading.Thread(target=write)
    writer.start()
    assert read_recorded(tmp_path)["one"][1] == {"a": "1"}
    writer.join()
