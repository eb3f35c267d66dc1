"""What goes into a download and what comes out of it."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

REASONS = {
    "url": "no address of http or https",
    "address": "a private, loopback or otherwise not public address, or a name or redirect that leads to one",
    "name": "a name that nothing resolves",
    "connection": "nobody listens, or the connection broke each time",
    "tls": "a certificate or handshake that does not hold",
    "time": "not finished within the seconds allowed",
    "protocol": "an answer that is not HTTP, or in a compression that was not asked for",
    "redirects": "more redirects than allowed, or one to no address of http or https",
    "status": "a status that is not 200",
    "opt-out": "the server keeps the image from training (`X-Robots-Tag` or `tdm-reservation`)",
    "bytes": "more bytes than allowed, also once decompressed",
    "cut-off": "a body that breaks off: fewer bytes than announced, or chunks or a compression that do not end",
    "empty": "no bytes",
    "not-an-image": "none of the formats read, whatever the header says",
    "pixels": "more pixels than allowed",
    "animated": "several pictures, of which none is the one",
    "broken": "an image that does not decode to its end",
    "colours": "colours of no one meaning: nothing says what is white, or one of 16 bits is transparent",
    "small": "a side shorter than allowed",
    "changed": "other bytes than the sha256 expected",
    "duplicate": "the same bytes as an image of lower rank",
    "near-duplicate": "nearly the same picture as an image of lower rank, by perceptual hash",
}
"""Each reason for which an image is refused, and what it says."""

REFUSED_SCHEMA = pa.schema(
    [("rank", pa.int64()), ("url", pa.string()), ("reason", pa.string()), ("detail", pa.string())]
)
KEPT_SCHEMA = pa.schema(
    [
        ("rank", pa.int64()),
        ("url", pa.string()),
        ("caption", pa.string()),
        ("sha256", pa.string()),
        ("phash", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("bytes", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Candidate:
    """An image that may be wanted.

    Attributes:
        rank: its place in the draw; of candidates, the lower rank is preferred.
        caption: the words it came with, passed on as they are.
        sha256: what its bytes must hash to, in hex; None for any.
    """

    rank: int
    url: str
    caption: str = ""
    sha256: str | None = None


@dataclass(frozen=True)
class Kept:
    """A candidate whose image is in the store.

    Attributes:
        path: the original bytes, for `lab.data.shown.read_shown`; the name has no suffix.
        width, height: in pixels, as shown (upright).
        bytes: of the file.
        phash: 64 bits in hex, by `imagehash.phash` of the image as shown.
    """

    candidate: Candidate
    path: Path
    width: int
    height: int
    bytes: int
    sha256: str
    phash: str

    def row(self) -> dict:
        """A row of `KEPT_SCHEMA`."""
        candidate = self.candidate
        return {
            "rank": candidate.rank,
            "url": candidate.url,
            "caption": candidate.caption,
            "sha256": self.sha256,
            "phash": self.phash,
            "width": self.width,
            "height": self.height,
            "bytes": self.bytes,
        }


@dataclass(frozen=True)
class Refused:
    """A candidate that is not kept: `reason` is a key of `REASONS`, `detail` what was met, in a few words."""

    candidate: Candidate
    reason: str
    detail: str

    def row(self) -> dict:
        """A row of `REFUSED_SCHEMA`."""
        return {
            "rank": self.candidate.rank,
            "url": self.candidate.url,
            "reason": self.reason,
            "detail": self.detail,
        }


Outcome = Kept | Refused


class Denied(Exception):
    """Why an image cannot be had, as in `Refused`."""

    def __init__(self, reason: str, detail: str):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
