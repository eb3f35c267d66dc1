"""Chromium with an empty profile, driven over its own debugging protocol; tests are skipped where there is none."""

import base64
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.sync.client import connect

FOUND = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(FOUND is None, reason="there is no Chromium here")
SIZE = (1800, 1500)  # pixels


class Page:
    """One open page."""

    def __init__(self, socket):
        self._socket, self._numbers = socket, itertools.count(1)

    def evaluate(self, expression: str) -> object:
        """The value of a JavaScript expression; None while the page changes to another."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer.get("result", {}).get("value")

    def until(self, expression: str, seconds: float = 90) -> None:
        """Waits until an expression is true."""
        deadline = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, f"waited in vain for {expression}"
            time.sleep(0.3)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def press(self, *keys: str) -> None:
        """Presses keys by their DOM names, one after the other."""
        for key in keys:
            text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
            code = {"Enter": 13, "Tab": 9, "Backspace": 8}.get(key, ord(key[0]))
            self._call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
            self._call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def resize(self, width: int, height: int) -> None:
        """Shows the page as a phone of this size does."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2, mobile=True)

    def save_downloads(self, folder: Path) -> None:
        """Lets the page save files there."""
        self._call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def _call(self, method: str, **params: object) -> dict:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == number:
                return answer.get("result", {})


@contextmanager
def opened(url: str, profile: Path) -> Iterator[Page]:
    """The page at `url`, in a browser that ends with the block."""
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={SIZE[0]},{SIZE[1]}"]
    command = [FOUND, *options, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        note = profile / "DevToolsActivePort"
        deadline = time.monotonic() + 60
        while not (note.exists() and len(note.read_text().split()) == 2):
            assert time.monotonic() < deadline, "the browser does not start"
            time.sleep(0.1)
        port = note.read_text().split()[0]
        with connect(_page(port), max_size=None) as socket:
            page = Page(socket)
            page._call("Page.navigate", url=url)
            yield page
    finally:
        browser.terminate()
        browser.wait()


def _page(port: str) -> str:
    import httpx

    pages = httpx.get(f"http://127.0.0.1:{port}/json/list").json()
    return next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
