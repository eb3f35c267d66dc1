"""No address but a public one is reached: checked where the socket is made, after every look-up and redirect.

A check of names would not do: a resolver never sees an address that stands in the URL, and a name may resolve to
another address between a check and its use.
"""

import errno
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.request import getproxies

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from yarl import URL

# IPv6 networks whose last 32 bits are an IPv4 address that a gateway, or the system itself, connects to.
_EMBEDDING = tuple(
    ip_network(network)
    for network in (
        "::ffff:0:0/96",  # IPv4-mapped
        "::/96",  # IPv4-compatible
        "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765)
        "64:ff9b::/96",  # NAT64 (RFC 6052)
    )
)
# What `is_global` lets through, in the oldest Python supported.
_NOT_PUBLIC = tuple(
    ip_network(network)
    for network in (
        "64:ff9b:1::/48",  # a NAT64 of the local network (RFC 8215)
        "fec0::/10",  # site-local
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
    )
)
# Names that no public resolver knows; with a proxy, names are all that can be checked.
_LOCAL_NAMES = ("localhost", "local", "internal", "intranet", "lan", "home.arpa")
NOT_PUBLIC = "is not a public address"


def is_public(address: str) -> bool:
    """Whether an IPv4 or IPv6 address, and each that it embeds, is one of the public internet's, of one host."""
    return all(
        each.is_global and not each.is_multicast and not any(each in network for network in _NOT_PUBLIC)
        for each in _meant(ip_address(address.partition("%")[0]))
    )


def _meant(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    if address.version == 4:
        yield address
    elif any(address in network for network in _EMBEDDING):
        yield IPv4Address(int(address) & 0xFFFFFFFF)
    else:
        yield address
        yield from filter(None, (address.sixtofour, *(address.teredo or ())))


class Gate:
    """Makes the sockets of a download.

    Args:
        loopback_port: the one port of this machine that may be asked; None for none.

    Attributes:
        proxies: address and port of each proxy that the environment names. What is behind it, it connects to itself:
            of those requests only names and literal addresses can be checked.
    """

    def __init__(self, loopback_port: int | None):
        self.loopback_port = loopback_port
        self.proxies = {end for scheme in ("http", "https") for end in _ends(getproxies().get(scheme))}

    def make_socket(self, addr_info: tuple) -> socket.socket:
        """A socket for what `socket.getaddrinfo` gave. Raises: OSError, with `NOT_PUBLIC`, for no public address."""
        family, kind, protocol, _, end = addr_info
        if not self._allows(*end[:2]):
            raise OSError(errno.EACCES, f"{end[0]} {NOT_PUBLIC}")
        return socket.socket(family, kind, protocol)

    def _allows(self, address: str, port: int) -> bool:
        own = port == self.loopback_port and ip_address(address.partition("%")[0]).is_loopback
        return own or (address, port) in self.proxies or is_public(address)

    async def check(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Of each redirect anew: what a proxy is asked for; and that no password goes out, as of `.netrc`."""
        request.headers.popall("Authorization", None)
        if request.proxy is not None and not _may_be_public(request.url.host):
            raise OSError(errno.EACCES, f"{request.url.host} {NOT_PUBLIC}")
        return await handler(request)


def _may_be_public(host: str) -> bool:
    try:
        return is_public(host)
    except ValueError:
        name = host.rstrip(".").lower()
        # Dots and digits alone are an address in one of the old spellings, such as 127.1.
        spelled = "." in name and not name.rpartition(".")[2][:1].isdigit()
        return spelled and not any(f".{name}".endswith(f".{local}") for local in _LOCAL_NAMES)


def _ends(proxy: str | None) -> Iterator[tuple[str, int]]:
    """Raises: ConnectionError for a proxy that cannot be found."""
    if proxy:
        try:
            url = URL(proxy)
            found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
        except (ValueError, socket.gaierror) as error:
            raise ConnectionError(
                f"The proxy that `http_proxy` or `https_proxy` names cannot be found ({error}): correct or unset it."
            ) from None
        for *_, end in found:
            yield end[:2]
