"""Workspaces of their own: the commit and the edits in them, one cache for all, and nothing left behind."""

import shutil
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from flows.running.workspace import add_workspace, remove_workspace, workspace
from runtime.errors import StageError


def head(toy):
    return toy.run("git", "rev-parse", "HEAD").stdout.strip()


def dvc(toy, folder, *arguments):
    done = toy.run("dvc", "--cd", str(folder), *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_workspace_is_the_commit_with_its_edits(toy, tmp_path):
    (toy.root / "stages" / "write.py").write_text("edited = True\n")
    (toy.root / "stages" / "added.py").write_bytes(b"\0binary\xff\n")
    toy.run("git", "add", "stages/added.py")
    diff = toy.run("git", "diff", "--binary", "HEAD").stdout.encode()
    (tmp_path / "module.py").write_text("one = 1\n")
    with tarfile.open(tmp_path / "untracked.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "module.py", "stages/module.py")
    folder = toy.root / ".work" / "there"
    with workspace(toy.root, head(toy), folder, diff, tmp_path / "untracked.tar.gz") as there:
        assert there == folder
        assert (folder / "stages" / "write.py").read_text() == "edited = True\n"
        assert (folder / "stages" / "added.py").read_bytes() == b"\0binary\xff\n"
        assert (folder / "stages" / "module.py").read_text() == "one = 1\n"
        status = toy.run("git", "-C", str(folder), "status", "--porcelain").stdout
        assert status == "A  stages/added.py\nM  stages/write.py\n?? stages/module.py\n"
    assert not folder.exists()
    assert toy.run("git", "worktree", "list").stdout.count("\n") == 1


@pytest.mark.slow
def test_data_come_from_the_cache_of_the_repository(toy):
    """Without a copy of their own, and stages of the workspace are no stages of the repository."""
    toy.repro("write@a")
    toy.run("git", "add", "-A")
    toy.run("git", "-c", "user.name=toy", "-c", "user.email=toy@localhost", "commit", "-qm", "made")
    with workspace(toy.root, head(toy), toy.root / ".work" / "there") as folder:
        dvc(toy, folder, "checkout", "-q", "out/a")
        assert (folder / "out" / "a" / "3.txt").read_text() == "3 3\n"
        assert not (folder / ".dvc" / "cache").exists()
        assert "there" not in dvc(toy, toy.root, "status")


@pytest.mark.long
def test_cache_and_remotes_are_those_that_the_repository_is_configured_with(toy, tmp_path):
    """Relative addresses too, in either file; passwords do not show up as files to be recorded."""
    toy.run("dvc", "config", "cache.dir", "../elsewhere")
    toy.run("dvc", "remote", "add", "--default", "near", "../near remote")
    toy.run("dvc", "remote", "add", "--local", "far", "s3://bucket/path")
    toy.run("dvc", "remote", "modify", "--local", "far", "secret_access_key", "secret#;= \"'")
    with workspace(toy.root, head(toy), toy.root / ".work" / "there") as folder:
        assert dvc(toy, folder, "cache", "dir").strip() == str((tmp_path / "elsewhere").resolve())
        assert dvc(toy, folder, "config", "remote.near.url").strip() == str(tmp_path / "near remote")
        assert dvc(toy, folder, "config", "remote.far.url").strip() == "s3://bucket/path"
        assert dvc(toy, folder, "remote", "default").strip() == "near"
        assert dvc(toy, folder, "config", "remote.far.secret_access_key").strip() == "secret#;= \"'"
        assert toy.run("git", "-C", str(folder), "status", "--porcelain").stdout == ""


def test_many_are_made_and_removed_at_once(toy):
    commit = head(toy)

    def make_and_remove(number):
        with workspace(toy.root, commit, toy.root / ".work" / "cells" / f"c{number}") as folder:
            return (folder / "dvc.yaml").exists()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(make_and_remove, range(24))) == [True] * 24
    assert not (toy.root / ".work" / "cells").exists()
    assert toy.run("git", "worktree", "list").stdout.count("\n") == 1


@pytest.mark.parametrize("left", ["all of it", "its folder only", "git's note only", "git's lock"])
def test_what_a_kill_has_left_is_in_nobodys_way(toy, left):
    folder = toy.root / ".work" / "there"
    add_workspace(toy.root, head(toy), folder)
    (folder / "left").touch()
    if left == "its folder only":
        shutil.rmtree(toy.root / ".git" / "worktrees")
    elif left == "git's note only":
        shutil.rmtree(folder)
    elif left == "git's lock":
        (toy.root / ".git" / "worktrees" / "there" / "locked").write_text("initializing")
    with workspace(toy.root, head(toy), folder):
        assert (folder / "dvc.yaml").exists()
        assert not (folder / "left").exists()
    assert toy.run("git", "worktree", "list").stdout.count("\n") == 1


def test_hooks_of_people_do_not_run(toy):
    hook = toy.root / ".git" / "hooks" / "post-checkout"
    hook.write_text("#!/bin/sh\ntouch hooked\n")
    hook.chmod(0o755)
    with workspace(toy.root, head(toy), toy.root / ".work" / "there") as folder:
        assert not (folder / "hooked").exists()


def test_patch_that_does_not_fit_is_refused_and_leaves_nothing(toy):
    folder = toy.root / ".work" / "there"
    patch = b"--- a/stages/join.py\n+++ b/stages/join.py\n@@ -1 +1 @@\n-never there\n+other\n"
    with (
        pytest.raises(StageError, match="git cannot make the workspace there"),
        workspace(toy.root, head(toy), folder, patch),
    ):
        pass
    assert not folder.exists()


def test_commit_that_is_gone_is_refused(toy):
    folder = toy.root / ".work" / "there"
    with pytest.raises(StageError, match="git cannot make the workspace there"):
        add_workspace(toy.root, "0" * 40, folder)
    remove_workspace(toy.root, folder)
    assert not folder.exists()
