"""What goes wrong on the way to a server and back, by the client's exceptions."""

import errno
import socket

import aiohttp

from lab.data.fetching.addresses import NOT_PUBLIC
from lab.data.fetching.outcomes import Denied

# What `transfer` takes for the network's or the server's fault; disks raise plain OSErrors.
FAILURES = (aiohttp.ClientError, TimeoutError, ValueError)
NO_FILES = (errno.EMFILE, errno.ENFILE)


class Failure(Denied):
    """A fault of one try.

    Attributes:
        passes: another try may do better.
        after: seconds to wait before it, where the server says so.
        unreachable: no server answered, which may be this machine's fault.
    """

    def __init__(self, reason: str, detail: str, passes: bool = False, after: float = 0, unreachable: bool = False):
        super().__init__(reason, detail)
        self.passes = passes
        self.after = after
        self.unreachable = unreachable


def failure(error: Exception) -> Failure:
    """One of `FAILURES` as a reason. Raises: OSError for want of file handles, which is no server's fault."""
    match error:
        case aiohttp.ClientOSError() if NOT_PUBLIC in _words(error):
            return Failure("address", _words(error))
        case aiohttp.ClientConnectorDNSError(os_error=cause):
            return Failure("name", _words(error), passes=cause.errno == socket.EAI_AGAIN, unreachable=True)
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return Failure("tls", _words(error))
        case aiohttp.ClientConnectorError(errno=number) if number in NO_FILES:
            raise OSError(number, f"{error.strerror}: lower the concurrency, or raise `ulimit -n`") from error
        case aiohttp.ClientConnectorError():
            return Failure("connection", _words(error), unreachable=True)
        case aiohttp.ConnectionTimeoutError():
            return Failure("time", "to connect", unreachable=True)
        case TimeoutError():
            return Failure(
                "time", "no byte for too long" if isinstance(error, aiohttp.SocketTimeoutError) else "in all"
            )
        case aiohttp.TooManyRedirects():
            return Failure("redirects", f"more than {len(error.history) - 1}")
        case aiohttp.RedirectClientError():
            return Failure("redirects", f"to {error}")
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError() | ValueError():
            return Failure("url", _words(error))
        case aiohttp.ClientPayloadError():
            return Failure("cut-off", _words(error), passes=True)
        case aiohttp.ClientConnectionError():
            return Failure("connection", _words(error), passes=True)
    return Failure("protocol", _words(error))


def _words(error: Exception) -> str:
    """Without the host, which the table of failures has."""
    cause = getattr(error, "os_error", error)
    text = getattr(cause, "strerror", None) or getattr(cause, "message", None) or str(cause) or type(cause).__name__
    return str(text).splitlines()[0][:200]
