"""No address is reached but the public internet's, by whatever way it comes."""

import pytest
from aiohttp.web import Response
from answers import GOOD
from fetching import Names, settings
from web import Web

from lab.data.fetching.addresses import Gate, is_public
from lab.data.fetching.fetch import checked_where, fetch
from lab.data.fetching.outcomes import Candidate, Kept

PRIVATE = [
    *("0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1"),
    *("192.168.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "224.0.1.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1", "ff0e::1", "2001:db8::1"),
    "::ffff:127.0.0.1",  # mapped
    "::ffff:0:10.0.0.1",  # translated
    "::127.0.0.1",  # compatible
    "2002:7f00:1::",  # 6to4 of 127.0.0.1
    "2002:a9fe:a9fe::1",  # of 169.254.169.254
    "64:ff9b::10.0.0.1",  # NAT64
    "64:ff9b:1::8.8.8.8",  # a local NAT64
    "2001:0:0a00:1::1",  # Teredo
]
PUBLIC = ["8.8.8.8", "193.99.144.80", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"]


@pytest.fixture
def web():
    with Web() as server:
        server.answers = GOOD
        yield server


def reason(web, tmp_path, url, names: Names | None = None, **changed) -> str:
    [outcome] = fetch([Candidate(0, url)], 1, settings(web.port, **changed), tmp_path / "store", names or Names())
    return "kept" if isinstance(outcome, Kept) else outcome.reason


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_is_known_in_each_form(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_let_through_in_each_form(address):
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "[::1]"])
@pytest.mark.parametrize("more", ["", "user@"])
def test_a_literal_is_refused_in_each_spelling(web, tmp_path, host, more):
    assert reason(web, tmp_path, f"http://{more}{host}:{web.port}/good/1", loopback_port=None) in (
        "address",
        "url",
        "name",
    )
    assert not web.asked


def test_one_port_of_this_machine_may_be_allowed_and_no_other(web, tmp_path):
    assert reason(web, tmp_path, f"http://127.0.0.1:{web.port}/good/1") == "kept"
    with Web() as other:
        other.answers = GOOD
        assert reason(web, tmp_path, f"http://127.0.0.1:{other.port}/good/1") == "address"
        assert not other.asked


def test_a_name_that_resolves_privately_is_refused(web, tmp_path):
    assert reason(web, tmp_path, f"http://a.test:{web.port}/good/1", Names(a=["10.0.0.7"])) == "address"


def test_a_name_that_changes_between_look_ups_is_checked_at_the_socket(web, tmp_path):
    """The first look-up gives what may be asked, the second, after a redirect, what may not."""
    names = Names(a=["127.0.0.1", "10.0.0.7"])

    async def again(request, number):
        # Another port, so that the connection is made anew; the name's answer is kept for a host and port.
        return Response(status=302, headers={"Location": f"http://a.test:{web.port + 1}/good/1"})

    web.answers = GOOD | {"again": again}
    assert reason(web, tmp_path, f"http://a.test:{web.port}/again/1", names) == "address"
    assert web.asked == {"/again/1": 1}


def test_a_redirect_from_a_public_name_to_this_machine_is_refused(web, tmp_path):
    with Web() as secret:
        secret.answers = GOOD

        async def leads_in(request, number):
            return Response(status=302, headers={"Location": f"{secret.url}/good/1"})

        web.answers = GOOD | {"leads": leads_in}
        assert reason(web, tmp_path, f"http://127.0.0.1:{web.port}/leads/1") == "address"
        assert not secret.asked


@pytest.fixture
def proxied(web, monkeypatch):
    """The environment names the server as the proxy."""
    monkeypatch.setenv("http_proxy", web.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)


def test_behind_a_proxy_names_and_literals_are_checked_and_the_run_says_so(web, tmp_path, proxied):
    """The proxy itself may be reached, wherever it stands."""
    assert "only names and literal addresses" in checked_where()
    for host in ("10.0.0.1", "[::ffff:10.0.0.1]", "localhost", "db.internal", "printer", "127.1", "a.localhost."):
        assert reason(web, tmp_path, f"http://{host}/good/1", loopback_port=None) in ("address", "url")
    assert not web.asked
    assert reason(web, tmp_path, "http://images.example.com/good/1", loopback_port=None) == "kept"


@pytest.mark.parametrize("proxy", ["http://nowhere.invalid:3128", "nonsense", "http://[::1"])
def test_a_proxy_that_cannot_be_found_is_said(web, tmp_path, monkeypatch, proxy):
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(ConnectionError, match=r"The proxy that .* names cannot be found \(.*\): correct or unset it"):
        reason(web, tmp_path, f"{web.url}/good/1")


def test_without_a_proxy_the_run_says_that_sockets_are_checked(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert "every address" in checked_where()
    assert Gate(None).proxies == set()


def test_no_password_of_netrc_goes_to_strangers(web, tmp_path, monkeypatch):
    seen = []

    async def noting(request, number):
        seen.append(request.headers.get("Authorization"))
        return await GOOD["good"](request, number)

    (tmp_path / "netrc").write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    web.answers = {"noting": noting}
    assert reason(web, tmp_path, f"{web.url}/noting/1") == "kept"
    assert seen == [None]
