"""Weights from their servers: sizes first, broken transfers resumed, faults of the network tried again."""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import requests
from tqdm import tqdm

from compbench.errors import CompbenchError
from compbench.weights.origin import Offer
from compbench.weights.registry import WeightFile

HUB_HOSTS = ("huggingface.co",)
ATTEMPTS = 6  # in a row that bring nothing: half a minute in all
TIMEOUT = (10, 60)  # seconds to connect, and between two blocks
REDIRECTS = 10
BLOCK = 1 << 18
_BUSY = (408, 429, 500, 502, 503, 504)
_Result = TypeVar("_Result")


class _BusyError(Exception):
    """The server asks to come again, after `wait` seconds."""

    def __init__(self, status: int, wait: float):
        super().__init__(f"status {status}")
        self.wait = wait


class Web:
    """The servers that the registry names.

    Args:
        hub_hosts: hosts that are told HF_TOKEN, where it is set. No other host is, whatever redirects to it.
        pause: waits so many seconds.
    """

    def __init__(self, hub_hosts: tuple[str, ...] = HUB_HOSTS, pause: Callable[[float], None] = time.sleep):
        self.hub_hosts, self.pause = hub_hosts, pause
        self.session = requests.Session()
        self.session.auth = lambda request: request  # else a password out of ~/.netrc would stand in the token's place

    def offer(self, file: WeightFile) -> Offer:
        """Raises: CompbenchError for a file that is missing or not free, ConnectionError for a server that is away."""
        return self._persist(file, lambda: self._ask(file))

    def bring(self, file: WeightFile, part: Path, offer: Offer) -> None:
        """Raises: as `offer`, and CompbenchError for a file of another size than was offered, or a web page instead."""
        with tqdm(total=offer.size, desc=file.path, unit="B", unit_scale=True, disable=None) as bar:
            self._persist(file, lambda: self._stream(file, part, offer, bar), lambda: _size(part))
        if offer.size not in (None, _size(part)):
            brought = _size(part)
            part.unlink()
            raise CompbenchError(
                f"{file.url} should have {offer.size} bytes, but {brought} arrived: run the command again, or give a "
                "good copy with --from FOLDER."
            )
        _version_file(part).unlink(missing_ok=True)

    def _persist(
        self, file: WeightFile, attempt: Callable[[], _Result], progress: Callable[[], int] = lambda: 0
    ) -> _Result:
        """Tries until it works, or until ATTEMPTS in a row have brought nothing."""
        fruitless = 0
        while True:
            before = progress()
            try:
                return attempt()
            except (requests.RequestException, _BusyError) as fault:
                fruitless = 0 if progress() > before else fruitless + 1
                if fruitless == ATTEMPTS:
                    # Not the fault's own text: it may show the signed address that a hub redirects to.
                    what = str(fault) if isinstance(fault, _BusyError) else type(fault).__name__
                    raise ConnectionError(
                        f"{file.url} cannot be downloaded now ({what}, {ATTEMPTS} times in a row): run the command "
                        "again later to resume, or give a folder that holds the file with --from FOLDER."
                    ) from None
                self.pause(max(getattr(fault, "wait", 0), 2.0 ** max(0, fruitless - 1)))

    def _ask(self, file: WeightFile) -> Offer:
        with self._request("HEAD", file, {}) as answer:
            # The hub's own headers describe the file that it redirects to, where it is stored in LFS.
            size = answer.headers.get("X-Linked-Size") or answer.headers.get("Content-Length")
            linked = re.fullmatch(r'"([0-9a-f]{64})"', answer.headers.get("X-Linked-ETag", ""))
            return Offer(int(size) if size else None, linked[1] if linked else "")

    def _stream(self, file: WeightFile, part: Path, offer: Offer, bar: tqdm) -> None:
        start, version = _size(part), _version_file(part)
        if start and start == offer.size:
            return
        # Without a mark of its version, a beginning may belong to another file than the rest that would come.
        headers = {"Range": f"bytes={start}-", "If-Range": version.read_text()} if start and version.exists() else {}
        with self._request("GET", file, headers) as answer:
            if answer.status_code == 416:  # more is here than there
                part.unlink()
                raise _BusyError(416, 0)
            resumes = answer.status_code == 206
            if resumes and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                part.unlink()
                raise CompbenchError(
                    f"{file.url} was asked from byte {start} on, but the server sends another part: run the command "
                    "again, which then starts from the beginning."
                )
            _note_version(version, answer)
            bar.n = start if resumes else 0
            with part.open("ab" if resumes else "wb") as out:
                for block in answer.iter_content(BLOCK):
                    out.write(block)
                    bar.update(len(block))

    def _request(self, method: str, file: WeightFile, headers: dict[str, str]) -> requests.Response:
        """The answer at the end of all redirects; of a HEAD, the hub's answer, which says all by itself."""
        url = file.url
        for _ in range(REDIRECTS):
            told = {"Accept-Encoding": "identity", **headers, **self._token(url)}
            answer = self.session.request(
                method, url, headers=told, stream=True, timeout=TIMEOUT, allow_redirects=False
            )
            if not answer.is_redirect or (method == "HEAD" and "X-Linked-Size" in answer.headers):
                return _accepted(answer, file)
            answer.close()
            url = urljoin(url, answer.headers["Location"])
        raise requests.TooManyRedirects()

    def _token(self, url: str) -> dict[str, str]:
        token = os.environ.get("HF_TOKEN")
        return {"Authorization": f"Bearer {token}"} if token and urlsplit(url).hostname in self.hub_hosts else {}


def _accepted(answer: requests.Response, file: WeightFile) -> requests.Response:
    if answer.status_code in _BUSY:
        after = answer.headers.get("Retry-After", "")
        raise _BusyError(answer.status_code, min(300, int(after)) if after.isdigit() else 0)
    if answer.status_code in (401, 403):
        raise CompbenchError(
            f"{file.url} needs permission to download (status {answer.status_code}): accept its terms there and set "
            "HF_TOKEN if it is on the hub, or give a folder that holds it with --from FOLDER."
        )
    if answer.status_code >= 400 and answer.status_code != 416:
        raise CompbenchError(
            f"{file.url} is not there (status {answer.status_code}): find {Path(file.path).name} elsewhere, save it as "
            f"FOLDER/{file.path}, and give --from FOLDER."
        )
    if answer.headers.get("Content-Type", "").startswith("text/html"):
        raise CompbenchError(
            f"{file.url} answers with a web page, as Google Drive does for files that are fetched too often: open it "
            f"in a browser, save the file as FOLDER/{file.path}, and give --from FOLDER."
        )
    return answer


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _version_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _note_version(version: Path, answer: requests.Response) -> None:
    mark = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
    if mark:
        version.write_text(mark)
    else:
        version.unlink(missing_ok=True)
