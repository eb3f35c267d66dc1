"""The room that outputs need, and DVC's copy of them where its cache cannot link."""

import subprocess

import pytest

from lab.estimate.estimate import Row
from lab.preflight.disk import check_disk
from lab.preflight.findings import Findings

TOO_MUCH = 10**18
ROWS = [Row("encode", disk=TOO_MUCH), Row("generate@small", disk=2 * TOO_MUCH)]


@pytest.fixture
def said(tmp_path):
    """What is said where `.dvc/config` has this `cache.type`."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)

    def look(types: str | None, rows=ROWS) -> list[str]:
        (tmp_path / ".dvc").mkdir(exist_ok=True)
        (tmp_path / ".dvc/config").write_text("" if types is None else f"[cache]\n    type = {types}\n")
        found = Findings()
        check_disk(tmp_path, rows, found)
        return found.sentences

    return look


@pytest.mark.parametrize("types", ["hardlink", "hardlink,copy", '"copy, symlink"', None])
def test_outputs_that_are_linked_count_once(said, types):
    """Without a type DVC tries reflinks first."""
    (sentence,) = said(types)
    assert f"and {3 * TOO_MUCH / 1e9:.1f} GB are needed (results/images/small {2 * TOO_MUCH / 1e9:.1f}" in sentence
    assert "DVC's copy" not in sentence


def test_outputs_that_are_copied_count_twice(said):
    (sentence,) = said("copy")
    assert f"and {6 * TOO_MUCH / 1e9:.1f} GB are needed (" in sentence
    for what in ("data/encoded", "results/images/small"):
        assert f"DVC's copy of {what} " in sentence
    assert sentence.endswith("or `dvc cache dir --local` for DVC's copies.")


def test_what_is_written_already_is_not_needed_again(said, tmp_path):
    """Of a stage that was killed."""
    shard = tmp_path / ".work/encode-0123456789ab/outs/data/encoded/shard-00000.safetensors"
    shard.parent.mkdir(parents=True)
    shard.write_bytes(bytes(1000))
    assert said("copy", [Row("encode", disk=1000)]) == []
    (sentence,) = said("copy", [Row("encode", disk=TOO_MUCH + 1000)])
    assert f"(data/encoded {TOO_MUCH / 1e9:.1f}" in sentence
