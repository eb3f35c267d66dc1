"""The command line, the folder that stands in for the network, and what scoring asks of the weights."""

import os
import subprocess
import sys
import time

import pytest

from compbench.errors import CompbenchError
from compbench.scorers.interface import SCORE_METRICS
from compbench.weights import verify
from compbench.weights.__main__ import main
from compbench.weights.registry import NEEDS, WeightFile, files_of
from tests.compbench.weights.file_server import digest


@pytest.fixture
def needs(server, net):
    return {"color": (net,), "shape": (net, WeightFile("words.txt", f"{server.url}/words.txt"))}


@pytest.fixture
def folder(tmp_path, server):
    """A folder of the same layout with all files."""
    folder = tmp_path / "copies"
    (folder / "net").mkdir(parents=True)
    (folder / "net/net.pth").write_bytes(server.files["net.pth"])
    (folder / "words.txt").write_bytes(server.files["words.txt"])
    return folder


def test_every_category_of_the_benchmark_has_weights_and_each_file_one_place():
    assert set(NEEDS) == {*SCORE_METRICS, "quality"}
    files = files_of(NEEDS)
    assert len({file.path for file in files}) == len({file.url for file in files}) == len(files) == 10
    assert all(file.url.startswith("https://") for file in files)
    assert all(len(file.sha256) in (0, 8, 64) for file in files)


def test_complex_needs_what_its_three_parts_need():
    assert set(files_of(["complex"])) == set(files_of(["color", "spatial", "non_spatial"]))


def test_command_fetches_what_its_categories_need(needs, tmp_path):
    main(["color", "shape", "--weights", str(tmp_path / "w")], needs)
    assert (tmp_path / "w/words.txt").read_bytes() == b"a\nb\n"


def test_unknown_category_is_named(needs, tmp_path):
    with pytest.raises(SystemExit, match="no weights for 'colour'; say one or more of color, shape"):
        main(["colour", "--weights", str(tmp_path)], needs)


def test_offline_command_refuses_at_once_and_names_the_way_out(server, needs, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SystemExit, match=r"HF_HUB_OFFLINE is set, so net/net.pth cannot be fetched: .*--from FOLDER"):
        main(["color", "--weights", str(tmp_path)], needs)
    assert server.seen == []


def test_folder_stands_in_for_the_network(server, needs, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    main(["shape", "--weights", str(tmp_path / "w"), "--from", str(folder)], needs)
    assert (tmp_path / "w/net/net.pth").read_bytes() == server.files["net.pth"]
    assert server.seen == []
    main(["shape", "--weights", str(tmp_path / "w")], needs)  # nothing is missing, so nothing is asked for


def test_folder_is_checked_like_a_server(needs, folder, tmp_path):
    main(["color", "--weights", str(tmp_path / "w"), "--from", str(folder)], needs)
    (tmp_path / "w/net/net.pth").unlink()
    (folder / "net/net.pth").write_bytes(b"another")
    with pytest.raises(SystemExit, match="but the first download had"):
        main(["color", "--weights", str(tmp_path / "w"), "--from", str(folder)], needs)


def test_folder_that_lacks_a_file_says_which(needs, folder, tmp_path):
    (folder / "words.txt").unlink()
    with pytest.raises(SystemExit, match=r"copies/words.txt does not exist: save http.*words.txt under this name"):
        main(["shape", "--weights", str(tmp_path / "w"), "--from", str(folder)], needs)


def test_weights_that_cannot_be_written_are_one_sentence(needs, tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "w/net").write_text("a file in the way")
    with pytest.raises(SystemExit, match="could not be copied"):
        main(["color", "--weights", str(tmp_path / "w")], needs)


def test_command_says_nothing_but_sizes_in_a_pipe(tmp_path):
    """As a program of its own: no bar, no traceback, a failure's status."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "compbench.weights", "color", "--weights", str(tmp_path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_verify_gives_every_files_hash(server, needs, tmp_path):
    main(["shape", "--weights", str(tmp_path)], needs)
    assert verify(tmp_path, ["shape", "color"], needs) == {
        "net/net.pth": digest(server.files["net.pth"]),
        "words.txt": digest(server.files["words.txt"]),
    }


def test_verify_names_the_command_that_fetches_what_is_missing(needs, tmp_path):
    with pytest.raises(CompbenchError) as shown:
        verify(tmp_path, ["color"], needs)
    assert f"`python -m compbench.weights color --weights {tmp_path}`" in str(shown.value)
    assert "net/net.pth" in str(shown.value)


def test_verify_reads_a_file_once_and_again_when_it_changed(needs, tmp_path):
    """A change that keeps size and time goes unseen, which shows that the file was not read."""
    main(["color", "--weights", str(tmp_path)], needs)
    net = tmp_path / "net/net.pth"
    before, times = verify(tmp_path, ["color"], needs), (net.stat().st_atime_ns, net.stat().st_mtime_ns)
    net.write_bytes(bytes(2_000_000))
    os.utime(net, ns=times)
    assert verify(tmp_path, ["color"], needs) == before
    os.utime(net, ns=(times[0], time.time_ns()))
    with pytest.raises(CompbenchError, match="but the first download had"):
        verify(tmp_path, ["color"], needs)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_verify_works_in_a_folder_that_may_not_be_written(needs, folder):
    folder.chmod(0o555)
    try:
        assert len(verify(folder, ["shape"], needs)) == 2
    finally:
        folder.chmod(0o755)
