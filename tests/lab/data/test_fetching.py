"""Images from the web: which are kept, which refused and why, and that nothing is fetched twice."""

import asyncio
import errno
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pytest
from answers import BAD_SERVED, BAD_URLS, GOOD
from fetching import PATIENT, TIGHT, Names, names, settings
from web import Web, chain, encoded, file, picture, turned

from lab.data.fetching.fetch import fetch
from lab.data.fetching.outcomes import REASONS, Candidate, Kept
from lab.data.fetching.store import Store
from lab.data.fetching.tally import Tally
from lab.data.shown import read_shown
from lab.errors import LabError

PROGRAM = Path(__file__).with_name("fetching.py")


@pytest.fixture
def web():
    with Web() as server:
        server.answers = GOOD | {name: answer for name, (_, answer) in BAD_SERVED.items()}
        yield server


def bad_urls(web: Web, number: int) -> dict[str, tuple[str, str]]:
    """URL and reason of each kind of bad answer."""
    served = {name: (f"{web.url}/{name}/{number}", reason) for name, (reason, _) in BAD_SERVED.items()}
    written = {name: (url.format(number=number, port=web.port), why) for name, (why, url) in BAD_URLS.items()}
    return served | written


def candidates(urls) -> list[Candidate]:
    return [Candidate(rank, url) for rank, url in enumerate(urls)]


def fetched(web, tmp_path, urls, wanted=10**6, resolver=None, **changed):
    found = urls if urls and isinstance(urls[0], Candidate) else candidates(urls)
    return list(fetch(found, wanted, settings(web.port, **changed), tmp_path / "store", resolver or names()))


def fetched_bad(web, tmp_path, number) -> dict:
    """The outcome of each kind of bad answer; of those that are slow within tight bounds."""
    expected, found = bad_urls(web, number), {}
    for slow, bounds in ((False, PATIENT), (True, TIGHT)):
        urls = {name: url for name, (url, reason) in expected.items() if (reason == "time") == slow}
        found |= zip(urls, fetched(web, tmp_path, list(urls.values()), **bounds), strict=True)
    return found


def kept(outcomes):
    return [outcome for outcome in outcomes if isinstance(outcome, Kept)]


@pytest.mark.long
def test_every_kind_of_bad_answer_gets_its_reason(web, tmp_path):
    """All at once, among the reasons that the table of reasons explains."""
    expected = bad_urls(web, 7)
    assert len(expected) >= 40
    outcomes = fetched_bad(web, tmp_path, 7)
    got = {name: getattr(outcome, "reason", "kept") for name, outcome in outcomes.items()}
    assert got == {name: reason for name, (_, reason) in expected.items()}
    assert set(got.values()) <= set(REASONS)
    assert all(outcome.detail for outcome in outcomes.values())


def test_every_good_answer_is_kept_however_odd(web, tmp_path):
    outcomes = fetched(web, tmp_path, [f"{web.url}/{name}/{number}" for number, name in enumerate(GOOD)])
    refused = [(name, outcome) for name, outcome in zip(GOOD, outcomes, strict=True) if not isinstance(outcome, Kept)]
    assert refused == []
    for name, outcome in zip(GOOD, outcomes, strict=True):
        shown = read_shown(outcome.path)
        assert shown.size == (outcome.width, outcome.height) == ((64, 96) if name == "turned" else (96, 64))


def test_original_bytes_are_kept(web, tmp_path):
    [outcome] = fetched(web, tmp_path, [f"{web.url}/turned/5"])
    assert outcome.path.read_bytes() == turned(5)
    assert outcome.path.name == outcome.sha256


@pytest.mark.long
def test_a_rerun_with_the_server_off_gives_the_same(web, tmp_path):
    """Refusals too, so that a link which failed once does not change the set of images the next time."""
    good = [f"{web.url}/good/{n}" for n in range(20)]
    first, bad = fetched(web, tmp_path, good), fetched_bad(web, tmp_path, 3)
    web.close()
    assert fetched(web, tmp_path, good) == first
    assert fetched_bad(web, tmp_path, 3) == bad
    assert len(kept(first)) == 20


def test_an_edit_fetches_only_what_is_new(web, tmp_path):
    fetched(web, tmp_path, [f"{web.url}/good/{n}" for n in range(10)])
    before = web.asked.copy()
    fetched(web, tmp_path, [f"{web.url}/good/{n}" for n in range(5, 15)], max_pixels=500_000)
    assert web.asked - before == Counter({f"/good/{n}": 1 for n in range(10, 15)})


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "tight", "loose"),
    [
        ("too-large", {}, {"max_bytes": 900_000}),
        ("redirect-chain", {}, {"redirects": 25}),
        ("slow-redirect-chain", TIGHT, {"seconds": 9}),
        ("noai", {}, {"honour_opt_outs": False}),
        ("tdm-reservation", {}, {"honour_opt_outs": False}),
        ("thumbnail", {}, {"min_side": 16}),
        ("too-many-pixels", {}, {"max_pixels": 2_000_000}),
    ],
)
def test_a_bound_that_is_widened_lets_in_what_it_refused(web, tmp_path, kind, tight, loose):
    urls = [f"{web.url}/{kind}/4"]
    assert kept(fetched(web, tmp_path, urls, **tight)) == []
    assert len(kept(fetched(web, tmp_path, urls, **loose))) == 1
    web.close()  # and what it let in is refused again without a request
    assert kept(fetched(web, tmp_path, urls, **tight)) == [] or kind in ("redirect-chain", "slow-redirect-chain")


def test_a_bound_that_does_not_matter_asks_for_no_dead_link_again(web, tmp_path):
    urls = [f"{web.url}/not-found/1", f"{web.url}/too-large/1"]
    fetched(web, tmp_path, urls)
    fetched(web, tmp_path, urls, seconds=9, redirects=9)
    assert set(web.asked.values()) == {1}


def test_the_lowest_ranks_are_kept_whichever_answer_comes_first(web, tmp_path):
    """The slowest answers have the lowest ranks."""

    async def slow(request, number):
        await asyncio.sleep(0.5 - number / 20)
        return await GOOD["good"](request, number)

    web.answers["slow"] = slow
    outcomes = fetched(web, tmp_path, [f"{web.url}/slow/{n}" for n in range(10)], wanted=4)
    assert [outcome.candidate.rank for outcome in outcomes] == [0, 1, 2, 3]


def test_of_near_duplicates_the_lowest_rank_is_kept(web, tmp_path):
    """Though it comes last, and those that it drops make room for others."""

    async def alike(request, number):
        await asyncio.sleep(0.4 - number / 10)
        return await file(lambda quality: encoded(picture(1), quality=90 - quality))(request, number)

    web.answers["alike"] = alike
    urls = [f"{web.url}/alike/{n}" for n in range(4)] + [f"{web.url}/good/{n}" for n in range(2, 40)]
    outcomes = fetched(web, tmp_path, urls, wanted=3)
    assert [outcome.candidate.rank for outcome in kept(outcomes)] == [0, 4, 5]
    assert {(outcome.reason, outcome.detail) for outcome in outcomes[1:4]} == {("near-duplicate", "of rank 0")}
    assert len(kept(fetched(web, tmp_path, urls[:4], duplicate_distance=None))) == 4


def test_the_same_bytes_count_once_and_a_url_is_asked_once(web, tmp_path):
    outcomes = fetched(web, tmp_path, [f"{web.url}/good/1", f"{web.url}/moved/1", f"{web.url}/good/1"])
    assert [getattr(outcome, "reason", "kept") for outcome in outcomes] == ["kept", "duplicate", "duplicate"]
    assert web.asked["/good/1"] == 2  # of which one is the redirect's


def test_bytes_are_checked_against_the_expected_hash(web, tmp_path):
    right = sha256(encoded(picture(1))).hexdigest()
    given = [Candidate(0, f"{web.url}/good/1", "a", right), Candidate(1, f"{web.url}/good/2", "b", right)]
    first, second = fetched(web, tmp_path, given)
    assert isinstance(first, Kept)
    assert second.reason == "changed"


def test_no_more_is_fetched_than_is_needed(web, tmp_path):
    fetched(web, tmp_path, [f"{web.url}/good/{n}" for n in range(1000)], wanted=10, concurrency=8)
    assert web.asked.total() <= 10 + 8


def test_hosts_and_the_whole_are_asked_for_so_many_at_once(web, tmp_path):
    under_way, most = Counter(), Counter()

    async def counted(request, number):
        for key in (request.host.partition(":")[0], "all"):
            under_way[key] += 1
            most[key] = max(most[key], under_way[key])
        await asyncio.sleep(0.05)
        for key in (request.host.partition(":")[0], "all"):
            under_way[key] -= 1
        return await GOOD["good"](request, number)

    web.answers["counted"] = counted
    hosts = {name: ["127.0.0.1"] * 100 for name in "abcd"}
    urls = [f"http://{'abcd'[n % 4]}.test:{web.port}/counted/{n}" for n in range(40)]
    outcomes = fetched(web, tmp_path, urls, resolver=Names(**hosts), concurrency=6, per_host=2)
    assert len(kept(outcomes)) == 40
    assert max(most[f"{name}.test"] for name in "abcd") <= 2
    assert 4 <= most["all"] <= 6


def test_who_is_asked_learns_whom_to_write_to(web, tmp_path):
    seen = []

    async def noting(request, number):
        seen.append(request.headers)
        return await GOOD["good"](request, number)

    web.answers["noting"] = noting
    fetched(web, tmp_path, [f"http://me:secret@127.0.0.1:{web.port}/noting/1"])
    assert "mailto:tests@example.com" in seen[0]["User-Agent"]
    assert "Authorization" not in seen[0]


def test_without_a_network_no_link_is_called_dead(web, tmp_path):
    """One sentence; and when the network is back all is fetched."""
    urls = [f"http://host{n}.test:{web.port}/good/{n}" for n in range(50)]
    with pytest.raises(ConnectionError, match="check the network"):
        fetched(web, tmp_path, urls)
    back = Names(**{f"host{n}": ["127.0.0.1"] * 9 for n in range(50)})
    assert len(kept(fetched(web, tmp_path, urls, resolver=back))) == 50


class Hanging(Names):
    async def resolve(self, host, port=0, family=0):
        await asyncio.sleep(30)


def test_look_ups_that_hang_are_no_network_either(web, tmp_path):
    """Though faulty addresses, for which nobody is asked, stand between."""
    good = [f"http://host{n}.test:{web.port}/good/{n}" for n in range(30)]
    urls = [url for one in good for url in (one, f"ftp://{len(one)}.test")]
    with pytest.raises(ConnectionError, match="check the network"):
        fetched(web, tmp_path, urls, resolver=Hanging(), read_seconds=0.2)
    back = Names(**{f"host{n}": ["127.0.0.1"] * 9 for n in range(30)})
    assert len(kept(fetched(web, tmp_path, good, resolver=back))) == 30


def test_what_the_client_does_not_expect_is_refused_and_a_disks_fault_is_not(web, tmp_path, monkeypatch):
    def failing(error):
        async def answer(*_arguments, **_options):
            raise error

        monkeypatch.setattr("aiohttp.TCPConnector.connect", answer)

    failing(AssertionError("no port"))
    [outcome] = fetched(web, tmp_path, [f"{web.url}/good/1"])
    assert (outcome.reason, outcome.detail) == ("protocol", "AssertionError: no port")


def test_a_store_that_is_a_file_is_said(web, tmp_path):
    (tmp_path / "store").write_text("no folder")
    with pytest.raises(LabError, match=r"store is no folder: set TACA_FETCHED to one"):
        fetched(web, tmp_path, [f"{web.url}/good/1"])


def test_a_full_disk_ends_the_download_with_the_systems_words(web, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Store, "keep", full)
    with pytest.raises(OSError, match="No space left") as caught:
        fetched(web, tmp_path, [f"{web.url}/good/{n}" for n in range(100)])
    assert caught.value.errno == errno.ENOSPC


def test_damaged_bytes_in_the_store_are_fetched_anew(web, tmp_path):
    [first] = fetched(web, tmp_path, [f"{web.url}/good/1"])
    first.path.write_bytes(first.path.read_bytes()[:-9])
    assert fetched(web, tmp_path, [f"{web.url}/good/1"]) == [first]
    assert web.asked["/good/1"] == 2


def test_who_stops_listening_stops_the_download(web, tmp_path):
    endless = (Candidate(rank, f"{web.url}/good/{rank}") for rank in range(10**9))
    outcomes = fetch(endless, 10**9, settings(web.port), tmp_path / "store")
    assert isinstance(next(outcomes), Kept)
    outcomes.close()
    asked = web.asked.total()
    assert asked < 1000
    assert web.asked.total() == asked


def test_a_fault_in_the_table_reaches_the_caller(web, tmp_path):
    def broken():
        yield Candidate(0, f"{web.url}/good/1")
        raise ValueError("no such column")

    with pytest.raises(ValueError, match="no such column"):
        list(fetch(broken(), 5, settings(web.port), tmp_path / "store"))


def test_the_tally_has_shares_and_reasons(web, tmp_path):
    urls = [f"{web.url}/good/1", *(f"{web.url}/not-found/{n}" for n in range(2)), f"{web.url}/noai/1"]
    tally = Tally(fetched(web, tmp_path, urls))
    counts = {"kept": 1, "refused": 3, "success_share": 0.25, "refused/status": 2, "refused/opt-out": 1}
    assert tally.metrics() == counts | {"kept_bytes": len(encoded(picture(1)))}
    assert tally.commonest() == "status (2), opt-out (1)"


def test_the_guide_explains_every_reason():
    guide = (PROGRAM.parents[3] / "docs/downloading.md").read_text()
    assert [line.split("`")[1] for line in guide.splitlines() if line.startswith("| `")] == list(REASONS)


def mixed(web: Web, number: int) -> list[dict]:
    """Of so many candidates, two in five are bad, all kinds in turn; what is too slow is so for `PATIENT`."""
    web.answers["slow-redirect-chain"] = chain(3, pause=0.4 * PATIENT["seconds"])
    kinds = list(bad_urls(web, 0))
    rows = []
    for rank in range(number):
        bad = rank % 5 in (1, 3)
        url = bad_urls(web, rank)[kinds[(rank // 5 * 2 + (rank % 5 == 3)) % len(kinds)]][0]
        rows.append({"rank": rank, "url": url if bad else f"{web.url}/good/{rank}", "caption": str(rank)})
    return rows


def start(web: Web, store: Path, rows: list[dict], wanted: int) -> subprocess.Popen:
    lines = store.parent / "candidates.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, str(PROGRAM), str(store), str(web.port), str(wanted)]
    paths = {"PYTHONPATH": f"{PROGRAM.parents[3]}"}
    with lines.open() as stdin:
        return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, text=True, env=os.environ | paths)


@pytest.mark.slow
def test_of_two_thousand_the_same_thousand_are_kept_twice_in_bounded_memory(web, tmp_path):
    """Into two stores, so all is fetched twice, in whatever order answers come."""
    rows = mixed(web, 2000)
    reasons = {url: reason for number in range(2000) for url, reason in bad_urls(web, number).values()}
    found = []
    for store in (tmp_path / "a" / "store", tmp_path / "b" / "store"):
        store.parent.mkdir()
        process = start(web, store, rows, 1000)
        *outcomes, peak = map(json.loads, process.communicate()[0].splitlines())
        assert process.returncode == 0
        assert peak["kib"] < 500_000
        found.append(outcomes)
    assert found[0] == found[1]
    assert sum(outcome["kind"] == "kept" for outcome in found[0]) == 1000
    refused = [outcome for outcome in found[0] if outcome["kind"] == "refused"]
    assert len(refused) > 600
    assert all(outcome["reason"] in (reasons[outcome["url"]], "near-duplicate") for outcome in refused)


@pytest.mark.slow
def test_killed_at_ten_moments_nothing_is_fetched_twice_and_the_result_is_the_same(web, tmp_path):
    """Of what the store had when a process was killed, the next asks for nothing."""
    rows = mixed(web, 700)
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = start(web, tmp_path / "whole" / "store", rows, 400).communicate()[0].splitlines()[:-1]
    store = tmp_path / "killed" / "store"
    moments = random.Random(3)
    for _ in range(10):
        process = start(web, store, rows, 400)
        time.sleep(moments.uniform(1.2, 2.2))
        process.kill()
        process.communicate()
        known = noted(store)
        web.asked.clear()
        process = start(web, store, rows, 400)
        time.sleep(moments.uniform(1.2, 2.2))
        process.kill()
        process.communicate()
        assert not {url for url in known if url.startswith(web.url) and web.asked[url.removeprefix(web.url)]}
    assert start(web, store, rows, 400).communicate()[0].splitlines()[:-1] == whole


def noted(store: Path) -> set[str]:
    """URLs that the store has an answer of."""
    return {
        json.loads(path.read_text())["url"] for kind in ("answers", "refused") for path in store.glob(f"{kind}/*/*")
    }
