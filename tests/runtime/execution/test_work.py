"""The work folder: what stays, what goes, and how outputs come into place."""

import pytest
from ruamel.yaml import YAML

from runtime.execution.graph import read_recorded
from runtime.execution.work import LOCK, Work, drop_recorded

HASHES = {"out/a": "11.dir"}
OTHER = "ba9876543210"


def record(root, hashes=HASHES):
    """Writes a `dvc.lock` in which write@a made outputs with `hashes`; the fingerprint of its inputs."""
    entry = {"cmd": "make", "outs": [{"path": path, "md5": md5} for path, md5 in hashes.items()]}
    YAML().dump({"schema": "2.0", "stages": {"write@a": entry}}, root / "dvc.lock")
    return read_recorded(root)["write@a"][0]


@pytest.fixture
def root(tmp_path):
    """A workspace."""
    (tmp_path / "workspace").mkdir()
    return tmp_path / "workspace"


@pytest.fixture
def work(root):
    """The work folder of write@a on the inputs that `record` records, with half an output in it."""
    fingerprint = record(root)
    (root / "dvc.lock").unlink()
    return built(Work(root / ".work", "write@a", fingerprint))


def built(work):
    work.fresh("out/a").mkdir(parents=True)
    (work.fresh("out/a") / "1.txt").write_text("one")
    return work


def test_same_inputs_find_the_unfinished_work(work):
    again = Work(work.folder.parent, "write@a", work.folder.name[-12:])
    with again.alone():
        assert again.finished() is None
        assert (again.fresh("out/a") / "1.txt").read_text() == "one"


@pytest.mark.parametrize("name", ["write@a", "write", "write@a-b"])
def test_other_inputs_and_stages_leave_it_alone(work, name):
    with Work(work.folder.parent, name, OTHER).alone():
        assert work.fresh("out/a").exists()


@pytest.mark.long
def test_finished_work_stays_until_it_is_recorded(root, work):
    """Until then it is to be published again; then it would only be in the way of a forced run."""
    work.finish(HASHES)
    drop_recorded(root, work.folder.parent)
    assert work.finished() == HASHES
    record(root, {"out/a": "22.dir"})
    drop_recorded(root, work.folder.parent)
    assert work.finished() == HASHES
    record(root)
    drop_recorded(root, work.folder.parent)
    assert list(work.folder.parent.iterdir()) == []


def test_unfinished_work_and_that_in_use_are_not_dropped(root, work):
    record(root)
    drop_recorded(root, work.folder.parent)
    assert work.fresh("out/a").exists()
    with work.alone():
        work.finish(HASHES)
        drop_recorded(root, work.folder.parent)
        assert work.fresh("out/a").exists()


def test_folder_can_be_removed_by_its_holder_and_made_again(work):
    with work.alone():
        work.forget()
        assert list(work.folder.parent.iterdir()) == []
    with work.alone():
        assert (work.folder / LOCK).exists()


def test_publishing_replaces_what_is_there_as_a_whole(root, work):
    (root / "out" / "a").mkdir(parents=True)
    (root / "out" / "a" / "old.txt").write_text("old")
    (root / "out" / ".a.publishing").mkdir()
    work.publish(root, "out/a")
    assert [path.name for path in (root / "out").iterdir()] == ["a"]
    assert [path.name for path in (root / "out" / "a").iterdir()] == ["1.txt"]
    assert (work.fresh("out/a") / "1.txt").exists()


def test_published_file_takes_no_second_space(root, work):
    work.fresh("table").write_text("row")
    work.publish(root, "table")
    assert (root / "table").stat().st_ino == work.fresh("table").stat().st_ino
