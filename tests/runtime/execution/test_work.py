"""The work folder: what stays, what goes, and how outputs come into place."""

import pytest

from runtime.execution.work import Work, lock_path, sweep

FINGERPRINT = "0123456789ab"
OTHER = "ba9876543210"
HASHES = {"out/a": "11.dir"}


@pytest.fixture
def work(tmp_path):
    """The opened work folder of stage write@a."""
    lock_path(tmp_path, "write@a").parent.mkdir(parents=True)
    work = Work(tmp_path, "write@a", FINGERPRINT)
    assert not work.prepare({})
    return work


def built(work):
    work.fresh("out/a").mkdir(parents=True)
    (work.fresh("out/a") / "1.txt").write_text("one")
    return work


def test_same_inputs_find_the_unfinished_work(work):
    built(work)
    again = Work(work.root, "write@a", FINGERPRINT)
    assert not again.prepare({})
    assert (again.fresh("out/a") / "1.txt").read_text() == "one"


def test_other_inputs_drop_it(work):
    built(work)
    Work(work.root, "write@a", OTHER).prepare({})
    assert not work.folder.exists()


def test_stage_with_a_longer_name_is_another_stage(work):
    built(work)
    Work(work.root, "write", OTHER).prepare({})
    Work(work.root, "write@a-b", OTHER).prepare({})
    assert work.fresh("out/a").exists()


def test_finished_work_stays_until_it_is_recorded(work):
    """Until then it is to be published again; then it would only be in the way of a forced run."""
    built(work).finish(HASHES)
    assert Work(work.root, "write@a", FINGERPRINT).prepare({})
    assert Work(work.root, "write@a", FINGERPRINT).prepare({"write@a": (OTHER, HASHES)})
    assert Work(work.root, "write@a", FINGERPRINT).prepare({"write@a": (FINGERPRINT, {"out/a": "22.dir"})})
    assert not Work(work.root, "write@a", FINGERPRINT).prepare({"write@a": (FINGERPRINT, HASHES)})
    assert not work.fresh("out/a").exists()


def test_sweep_drops_recorded_work_only(work):
    built(work)
    recorded = {"write@a": (FINGERPRINT, HASHES)}
    sweep(work.root, ["write@a"], recorded)
    assert work.folder.exists()
    work.finish(HASHES)
    sweep(work.root, ["write@a"], {})
    assert work.folder.exists()
    sweep(work.root, ["write@a"], recorded)
    assert not work.folder.exists()


def test_publishing_replaces_what_is_there_as_a_whole(work):
    (work.root / "out" / "a").mkdir(parents=True)
    (work.root / "out" / "a" / "old.txt").write_text("old")
    (work.root / "out" / ".a.publishing").mkdir()
    built(work).publish("out/a")
    assert [path.name for path in (work.root / "out").iterdir()] == ["a"]
    assert [path.name for path in (work.root / "out" / "a").iterdir()] == ["1.txt"]
    assert (work.fresh("out/a") / "1.txt").exists()


def test_published_file_takes_no_second_space(work):
    work.fresh("table").parent.mkdir(parents=True)
    work.fresh("table").write_text("row")
    work.publish("table")
    assert (work.root / "table").stat().st_ino == work.fresh("table").stat().st_ino
