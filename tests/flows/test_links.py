"""`make doctor` says whether outputs take their place once or twice."""

import os
import re
import shutil
from pathlib import Path
from tempfile import mkdtemp

import pytest

from flows.checks.machine import check_links
from tests.conftest import ROOT

OWN = re.search(r'type = "(.+)"', (ROOT / ".dvc" / "config").read_text())[1]
ELSEWHERE = Path("/dev/shm")  # a disk of its own, where there is one


@pytest.fixture
def other_disk(tmp_path):
    if not ELSEWHERE.is_dir() or os.stat(ELSEWHERE).st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("there is one disk alone")
    folder = mkdtemp(dir=ELSEWHERE)
    yield folder
    shutil.rmtree(folder)


def test_links_of_the_projects_own_configuration_take_no_place_twice(toy):
    toy.configure("cache.type", OWN)
    found = check_links(toy.root)
    assert found.text.endswith("link between cache and workspace: an output takes its place once")
    assert not found.remedy


@pytest.mark.parametrize("kinds", ["copy", "reflink,hardlink,copy", None])
def test_copies_where_the_disk_can_link_are_told_with_the_remedy(toy, kinds):
    """DVC's default is a reflink, which not every disk can, or a copy; a link behind a reflink is never made."""
    if kinds:
        toy.configure("cache.type", kinds)
    found = check_links(toy.root)
    if kinds != "copy" and found.text.startswith("reflink"):
        return
    assert "link, but an output takes its place twice" in found.text
    assert found.remedy.startswith("`dvc config cache.type ")
    _, _, key, value = found.remedy.split("`")[1].split()
    toy.configure(key, value)
    assert not check_links(toy.root).remedy


def test_a_cache_on_another_disk_is_no_fault_but_said(toy, other_disk):
    toy.configure("cache.type", OWN)
    toy.configure("cache.dir", other_disk)
    found = check_links(toy.root)
    assert found.text.startswith(f"none between {other_disk}")
    assert "takes its place twice" in found.text
    assert not found.remedy


def test_a_link_that_is_configured_is_named(toy, other_disk):
    toy.configure("cache.type", "hardlink,symlink")
    toy.configure("cache.dir", other_disk)
    assert check_links(toy.root).text.startswith("symlink between")


def test_nothing_is_left_of_the_trial(toy):
    before = set(toy.root.rglob("*"))
    check_links(toy.root)
    left = set(toy.root.rglob("*")) - before
    assert not [path for path in left if path.is_file() and ".dvc/tmp" not in str(path)]


@pytest.mark.long
@pytest.mark.parametrize("kinds", [OWN, "reflink,hardlink,copy", "copy"])
def test_what_is_said_is_what_dvc_does(toy, kinds):
    """With a folder that a stage writes: whether its files are those of the cache."""
    toy.configure("cache.type", kinds)
    said = check_links(toy.root).text
    if said.startswith("reflink"):
        pytest.skip("a reflink cannot be told from a copy")
    (toy.root / "new").mkdir()
    (toy.root / "new" / "file").write_text("made")
    toy.run("dvc", "add", "new")
    assert said.startswith("hardlink") == ((toy.root / "new" / "file").stat().st_nlink == 2)
