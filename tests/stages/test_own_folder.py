"""A folder of the user's own is a dependency of stage `sample`: plain `dvc repro` notices what changes in it."""

import pytest
from PIL import Image

from tests.small_copy import Copy

pytestmark = pytest.mark.slow


def write(folder, name: str, colour: str, caption: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48), colour).save(folder / f"{name}.png")
    (folder / f"{name}.txt").write_text(caption)


def test_an_edited_an_added_and_a_removed_file_are_noticed_by_plain_repro(tmp_path):
    """The folder lies outside of the repository; and without a change nothing runs."""
    copy, folder = Copy(tmp_path / "repository"), tmp_path / "mine"
    for number in range(6):
        write(folder, f"some/{number}", "red", f"red {number}")
    copy.write(copy.params() | {"sample": {"source": "folder", "folder": str(folder), "size": 5, "seed": 1}})
    copy.edit({"train": {"held_out": 2}})

    def ran() -> list[str]:
        done = copy.run("dvc", "repro", "sample")
        assert done.returncode == 0, done.stdout + done.stderr
        return [stage for stage in copy.ran(done.stdout) if stage == "sample"]

    assert ran() == ["sample"]
    first = copy.outs()["sample"]
    assert ran() == []
    write(folder, "some/0", "blue", "red 0")
    assert ran() == ["sample"]
    assert copy.outs()["sample"] != first
    write(folder, "more/7", "green", "green 7")
    assert ran() == ["sample"]
    for path in (folder / "some").glob("1.*"):
        path.unlink()
    assert ran() == ["sample"]
    assert ran() == []
