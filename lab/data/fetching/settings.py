"""What a download may take, and how it behaves to those it asks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Bounds and manners of a download.

    Attributes:
        contact: an address of mail or web that the user agent names, so that who is asked can object.
        concurrency: images under way at once.
        per_host: of these, from one host.
        seconds: for one try, redirects and all.
        read_seconds: to connect, and without a byte.
        tries: of an image whose server is busy (429, 500, 502, 503, 504) or whose connection breaks.
        back_off: seconds before the second try, doubled before each further one, where the server does not say.
        redirects: followed for one image.
        max_bytes: of one image, once decompressed.
        max_pixels: of one image, checked before it is decoded.
        min_side: shortest side in pixels.
        duplicate_distance: bits of 64 in which perceptual hashes of near-duplicates may differ; None keeps them.
        honour_opt_outs: refuse what `X-Robots-Tag` or `tdm-reservation` keeps from training.
        loopback_port: a port of this machine that may be asked, for tests and mirrors; None for none.
    """

    contact: str
    concurrency: int = 64
    per_host: int = 8
    seconds: float = 30
    read_seconds: float = 10
    tries: int = 3
    back_off: float = 1
    redirects: int = 5
    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    min_side: int = 64
    duplicate_distance: int | None = 4
    honour_opt_outs: bool = True
    loopback_port: int | None = None
