"""Fetching from a real server that breaks off, changes, lies and refuses."""

import fcntl
import json
import shutil
import threading

import pytest

from compbench.errors import CompbenchError
from compbench.weights.fetch import fetch
from compbench.weights.registry import WeightFile
from compbench.weights.web import ATTEMPTS, Web
from tests.compbench.weights.file_server import FileServer, digest


def recorded(weights):
    return json.loads((weights / "weights.lock.json").read_text())


def test_file_arrives_whole_and_its_hash_is_recorded(server, net, web, tmp_path):
    fetch([net], tmp_path, web)
    assert (tmp_path / "net/net.pth").read_bytes() == server.files["net.pth"]
    assert recorded(tmp_path) == {"net/net.pth": digest(server.files["net.pth"])}
    assert [path.name for path in (tmp_path / "net").iterdir()] == ["net.pth"]


def test_sizes_are_said_before_anything_is_fetched(server, net, web, tmp_path, capsys):
    words = WeightFile("words.txt", f"{server.url}/words.txt")
    fetch([words], tmp_path, web)
    capsys.readouterr()
    server.seen.clear()
    fetch([net, words], tmp_path, web, dry_run=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["net/net.pth", "2.00MB", "to", "fetch"]
    assert lines[1].split() == ["words.txt", "4.00B", "there", "already"]
    assert lines[2].startswith("To fetch: 2.00MB; free in ")
    assert [method for method, *_ in server.seen] == ["HEAD"]
    assert not (tmp_path / "net").exists()


def test_size_that_the_server_does_not_say_is_said_to_be_unknown(server, net, web, tmp_path, capsys):
    server.headers = {"Content-Length": ""}
    fetch([net], tmp_path, web, dry_run=True)
    assert "not said  to fetch" in capsys.readouterr().out


def test_present_file_is_left_alone_and_recorded(server, net, web, tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net/net.pth").write_bytes(b"mine")
    fetch([net], tmp_path, web)
    assert server.seen == []
    assert recorded(tmp_path) == {"net/net.pth": digest(b"mine")}


def test_disk_that_is_too_small_is_refused_before_fetching(server, net, web, tmp_path):
    server.announced = shutil.disk_usage(tmp_path).free + 10**9
    with pytest.raises(CompbenchError, match="make room"):
        fetch([net], tmp_path, web)
    assert server.transfers() == []


def test_broken_transfer_goes_on_where_it_was(server, net, web, pauses, tmp_path):
    server.breaks = 2
    fetch([net], tmp_path, web)
    assert (tmp_path / "net/net.pth").read_bytes() == server.files["net.pth"]
    first, second, third = server.transfers()
    assert first is None
    assert 0 < int(second[6:-1]) < int(third[6:-1]) < 2_000_000
    assert pauses == [1, 1]


def test_next_command_goes_on_where_a_killed_one_was(server, net, tmp_path, capsys):
    def killed(_):
        raise KeyboardInterrupt

    server.breaks = 1
    with pytest.raises(KeyboardInterrupt):
        fetch([net], tmp_path, Web(pause=killed))
    here = (tmp_path / "net/net.pth.part").stat().st_size
    assert here > 0
    fetch([net], tmp_path, Web())
    assert server.transfers() == [None, f"bytes={here}-"]
    assert "of it here" in capsys.readouterr().out
    assert (tmp_path / "net/net.pth").read_bytes() == server.files["net.pth"]


def test_whole_part_is_not_fetched_again(server, net, web, tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net/net.pth.part").write_bytes(server.files["net.pth"])
    fetch([net], tmp_path, web)
    assert server.transfers() == []
    assert (tmp_path / "net/net.pth").exists()


def test_file_that_changed_meanwhile_is_fetched_from_its_beginning(server, net, tmp_path):
    """Never the beginning of one version with the rest of another."""
    new = bytes(reversed(server.files["net.pth"]))

    def change(_):
        server.files["net.pth"] = new

    server.breaks = 1
    fetch([net], tmp_path, Web(pause=change))
    assert (tmp_path / "net/net.pth").read_bytes() == new


@pytest.mark.parametrize("fault", ["ranges", "marks"])
def test_server_without_ranges_or_versions_starts_over(server, net, web, tmp_path, fault):
    setattr(server, fault, False)
    server.breaks = 1
    fetch([net], tmp_path, web)
    assert (tmp_path / "net/net.pth").read_bytes() == server.files["net.pth"]


def test_server_that_sends_another_part_is_refused(server, net, web, tmp_path):
    server.breaks, server.shift = 1, 7
    with pytest.raises(CompbenchError, match="sends another part"):
        fetch([net], tmp_path, web)
    assert not (tmp_path / "net/net.pth").exists()
    server.shift = 0
    fetch([net], tmp_path, web)
    assert (tmp_path / "net/net.pth").read_bytes() == server.files["net.pth"]


def test_part_longer_than_the_file_is_dropped(server, net, web, tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net/net.pth.part").write_bytes(server.files["net.pth"] + b"more")
    (tmp_path / "net/net.pth.part.version").write_text(server._mark(server.files["net.pth"]))
    fetch([net], tmp_path, web)
    assert (tmp_path / "net/net.pth").read_bytes() == server.files["net.pth"]


def test_lie_about_the_size_is_refused(server, net, web, tmp_path):
    server.announced = 1_999_999
    with pytest.raises(CompbenchError, match="should have 1999999 bytes, but 2000000 arrived"):
        fetch([net], tmp_path, web)
    assert list((tmp_path / "net").glob("net.pth")) == []


def test_faults_that_do_not_pass_end_in_one_sentence(server, net, web, pauses, tmp_path):
    server.statuses = [503] * ATTEMPTS
    with pytest.raises(
        ConnectionError, match=r"cannot be downloaded now \(status 503, 6 times in a row\).*--from FOLDER"
    ):
        fetch([net], tmp_path, web)
    assert pauses == [1, 2, 4, 8, 16]


def test_server_that_is_not_there_is_tried_again_and_then_named(net, web, server, tmp_path):
    server.close()
    with pytest.raises(ConnectionError, match=r"cannot be downloaded now \(ConnectionError, 6 times"):
        fetch([net], tmp_path, web)


def test_busy_server_is_given_the_time_that_it_asks_for(server, net, web, pauses, tmp_path):
    server.statuses, server.headers = [429, 429], {"Retry-After": "7"}
    fetch([net], tmp_path, web)
    assert pauses == [7, 7]


def test_transfer_that_gains_ground_is_never_given_up(server, net, web, tmp_path):
    server.files["net.pth"] = bytes(300_000) * 200
    server.breaks = ATTEMPTS + 1
    fetch([net], tmp_path, web)
    assert (tmp_path / "net/net.pth").stat().st_size == 60_000_000


@pytest.mark.parametrize(("status", "words"), [(401, "set HF_TOKEN"), (403, "set HF_TOKEN"), (404, "is not there")])
def test_refusal_is_not_tried_again(server, net, web, pauses, tmp_path, status, words):
    server.statuses = [status]
    with pytest.raises(CompbenchError, match=words):
        fetch([net], tmp_path, web)
    assert pauses == []


def test_web_page_is_not_taken_for_the_file(server, net, web, tmp_path):
    server.headers = {"Content-Type": "text/html; charset=utf-8"}
    with pytest.raises(CompbenchError, match=r"web page.*save the file as FOLDER/net/net.pth"):
        fetch([net], tmp_path, web)


def test_published_hash_must_match_even_if_only_its_beginning_is_known(server, net, web, tmp_path):
    for published, right in ((digest(server.files["net.pth"])[:8], True), ("0123abcd", False)):
        file = WeightFile(f"{published}.pth", net.url, published)
        if right:
            fetch([file], tmp_path, web)
            continue
        with pytest.raises(CompbenchError, match=f"{digest(server.files['net.pth'])}, but 0123abcd is published"):
            fetch([file], tmp_path, web)
        assert list(tmp_path.glob("0123abcd*")) == []


def test_hash_that_the_hub_states_must_match(server, net, web, tmp_path):
    server.headers = {"X-Linked-ETag": f'"{"0" * 64}"', "X-Linked-Size": "2000000"}
    with pytest.raises(CompbenchError, match=r"0{64} is published"):
        fetch([net], tmp_path, web)


def test_later_fetch_must_bring_what_the_first_brought(server, net, web, tmp_path):
    fetch([net], tmp_path, web)
    first = digest(server.files["net.pth"])
    (tmp_path / "net/net.pth").unlink()
    server.files["net.pth"] = b"another"
    with pytest.raises(CompbenchError, match=f"{digest(b'another')}, but the first download had {first}"):
        fetch([net], tmp_path, web)
    assert not (tmp_path / "net/net.pth").exists()
    assert recorded(tmp_path) == {"net/net.pth": first}


def test_second_fetch_into_the_same_folder_is_refused(net, web, tmp_path):
    with (tmp_path / ".fetching").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(CompbenchError, match="Another fetch"):
            fetch([net], tmp_path, web)


def test_fetch_that_waits_for_another_takes_what_that_brought(server, net, web, tmp_path):
    """As two stages that score at once."""
    with (tmp_path / ".fetching").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = threading.Thread(target=fetch, args=([net], tmp_path, web), kwargs={"wait": True})
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        (tmp_path / "net").mkdir()
        (tmp_path / "net/net.pth").write_bytes(server.files["net.pth"])
    waiting.join(20)
    assert recorded(tmp_path) == {"net/net.pth": digest(server.files["net.pth"])}
    assert server.seen == []


def authorizations(server):
    return [headers.get("Authorization") for *_, headers in server.seen]


def test_token_goes_to_the_hub_and_to_nobody_it_redirects_to(server, tmp_path, monkeypatch, capsys):
    """The hub is the server by one name, another by its other name."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub, elsewhere = server, FileServer()
    elsewhere.files = server.files
    hub.statuses = [302] * 2
    hub.headers = {"Location": f"{elsewhere.url.replace('127.0.0.1', 'localhost')}/net.pth"}
    fetch([WeightFile("net.pth", f"{hub.url}/net.pth")], tmp_path, Web(hub_hosts=("127.0.0.1",)))
    assert authorizations(hub) == ["Bearer hf_secret"] * 2
    assert authorizations(elsewhere) == [None] * 2
    assert "hf_secret" not in "".join(capsys.readouterr())
    elsewhere.close()


def test_token_stays_here_when_the_server_is_not_the_hub(server, net, web, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch([net], tmp_path, web)
    assert set(authorizations(server)) == {None}


def test_signed_address_is_not_shown(server, net, web, tmp_path):
    server.statuses = [302] * ATTEMPTS
    server.headers = {"Location": "http://127.0.0.1:1/net.pth?Signature=secret"}
    with pytest.raises(ConnectionError) as shown:
        fetch([net], tmp_path, web)
    assert "secret" not in str(shown.value)
