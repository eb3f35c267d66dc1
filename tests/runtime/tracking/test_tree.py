"""What is kept of a working tree: beside its commit, enough to have it again, byte for byte."""

import hashlib
import os
import subprocess
import tarfile

import pytest

from runtime.tracking import tree
from runtime.tracking.tree import keep_tree

BINARY = bytes(range(256)) * 3


def git(root, *arguments):
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True).stdout


@pytest.fixture
def repository(tmp_path):
    """A git repository with one commit."""
    root = tmp_path / "repository"
    root.mkdir()
    (root / "code.py").write_text("one = 1\n")
    (root / "picture.bin").write_bytes(BINARY)
    (root / ".gitignore").write_text("ignored*\n")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "-c", "user.name=toy", "-c", "user.email=toy@localhost", "commit", "-qm", "one")
    return root


def keep(root, tmp_path, outs=(), name="kept"):
    folder = tmp_path / name
    folder.mkdir()
    return keep_tree(root, list(outs), folder), folder


def contents(root):
    files = (path for path in root.rglob("*") if ".git" not in path.parts and path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def rebuilt(root, kept, tmp_path):
    """The commit with what was kept applied to it."""
    folder = tmp_path / "rebuilt"
    git(root, "worktree", "add", "-q", "--detach", str(folder), "HEAD")
    if (kept / "git.diff").exists():
        git(folder, "apply", str(kept / "git.diff"))
    if (kept / "untracked.tar.gz").exists():
        with tarfile.open(kept / "untracked.tar.gz") as archive:
            archive.extractall(folder, filter="tar")
    return folder


def test_clean_tree_is_its_commit(repository, tmp_path):
    tags, kept = keep(repository, tmp_path)
    commit = git(repository, "rev-parse", "HEAD").decode().strip()
    assert tags == {"git.commit": commit, "git.dirty": "false", "mlflow.source.git.commit": commit}
    assert list(kept.iterdir()) == []


def test_dirty_tree_comes_back_byte_for_byte(repository, tmp_path):
    """Edits of text and of binary files, files that are gone, new, staged, executable, linked or oddly named."""
    (repository / "code.py").write_bytes(b"one = 2\r\ntwo = 'no newline at the end'  ")
    (repository / "picture.bin").write_bytes(BINARY[::-1] + b"\n\n")
    (repository / "staged.bin").write_bytes(b"\0\n" + BINARY)
    git(repository, "add", "staged.bin")
    (repository / "new folder").mkdir()
    (repository / "new folder" / "ünïcode\n.py").write_text("three = 3\n")
    (repository / "run.sh").write_text("#!/bin/sh\n")
    (repository / "run.sh").chmod(0o755)
    (repository / "link").symlink_to("run.sh")
    (repository / "ignored.log").write_text("not kept")
    tags, kept = keep(repository, tmp_path)
    assert tags["git.dirty"] == "true"
    expected = contents(repository)
    del expected["ignored.log"]
    folder = rebuilt(repository, kept, tmp_path)
    assert contents(folder) == expected
    assert os.access(folder / "run.sh", os.X_OK)
    assert (folder / "link").is_symlink()


def test_patch_applies_whatever_the_user_likes_to_look_at(repository, tmp_path):
    for setting in ("diff.noprefix=true", "diff.mnemonicPrefix=true", "color.ui=always", "diff.external=false"):
        git(repository, "config", *setting.split("="))
    (repository / "code.py").write_text("one = 2\n")
    _, kept = keep(repository, tmp_path)
    assert (rebuilt(repository, kept, tmp_path) / "code.py").read_text() == "one = 2\n"


def test_outputs_lock_and_passwords_are_no_edits(repository, tmp_path):
    for path in ("results/metrics.json", "out", "dvc.lock", ".dvc/config.local"):
        (repository / path).parent.mkdir(exist_ok=True)
        (repository / path).write_text("secret")
    tags, kept = keep(repository, tmp_path, outs=["results", "out"])
    assert tags["git.dirty"] == "false"
    assert [path.name for path in kept.iterdir()] == ["dvc.lock"]


def test_parameters_and_lock_are_kept_as_they_are(repository, tmp_path):
    (repository / "params.yaml").write_text("a: 1  # comment\n")
    (repository / "dvc.lock").write_text("schema: '2.0'\n")
    _, kept = keep(repository, tmp_path)
    assert (kept / "params.yaml").read_text() == "a: 1  # comment\n"
    assert (kept / "dvc.lock").read_text() == "schema: '2.0'\n"


def test_same_files_make_the_same_archive(repository, tmp_path):
    (repository / "b.py").write_text("b")
    (repository / "a.py").write_text("a")
    _, first = keep(repository, tmp_path, name="first")
    os.utime(repository / "a.py", (1, 1))
    _, second = keep(repository, tmp_path, name="second")
    archives = [(folder / "untracked.tar.gz").read_bytes() for folder in (first, second)]
    assert hashlib.md5(archives[0]).digest() == hashlib.md5(archives[1]).digest()
    with tarfile.open(first / "untracked.tar.gz") as archive:
        assert archive.getnames() == ["a.py", "b.py"]


def test_what_is_too_large_is_named(repository, tmp_path, monkeypatch):
    """One file above its limit, and one that all together exceed theirs; a repository in this one."""
    monkeypatch.setattr(tree, "LARGEST", 10)
    monkeypatch.setattr(tree, "TOGETHER", 16)
    for name, size in (("a", 11), ("b", 10), ("c", 7), ("d", 6)):
        (repository / name).write_bytes(b"x" * size)
    (repository / "other").mkdir()
    git(repository / "other", "init", "-q")
    tags, kept = keep(repository, tmp_path)
    assert tags["git.untracked.skipped"] == "a, c, other/"
    with tarfile.open(kept / "untracked.tar.gz") as archive:
        assert archive.getnames() == ["b", "d"]


def test_folder_without_git_has_parameters_only(tmp_path):
    root = tmp_path / "plain"
    root.mkdir()
    (root / "params.yaml").write_text("a: 1\n")
    tags, kept = keep(root, tmp_path)
    assert tags == {"git.commit": "none", "git.dirty": "unknown"}
    assert [path.name for path in kept.iterdir()] == ["params.yaml"]
