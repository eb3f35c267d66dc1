"""The downloader beside img2dataset, on a server of this machine that takes its time.

    python -m benchmarks.downloading --beside PYTHON [--images 2000] [--missing 500] [--concurrency 32] [--repeats 3]

PYTHON is that of an environment with img2dataset 1.47, which cannot share one with this project. Each program fetches
the same URLs, of which `--missing` give 404, and writes files with their sha256; a time is that of the whole program.
img2dataset runs in two ways: `checked` decodes each image and keeps its bytes, as ours does (which besides compares
images); `unchecked` stores what comes.
"""

import argparse
import asyncio
import io
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

LATENCY = 0.05  # seconds before an answer
SIDE = 512  # pixels
IMG2DATASET = """
import sys
from img2dataset import download
urls, folder, concurrency, unchecked = sys.argv[1:]
if __name__ == "__main__":
    download(
        url_list=urls, input_format="txt", output_folder=folder, output_format="files", processes_count=1,
        thread_count=int(concurrency), resize_mode="no", skip_reencode=True,
        disable_all_reencoding=unchecked == "yes", timeout=30, number_sample_per_shard=100_000,
    )
"""


def serve(folder: Path, latency: float) -> None:
    """Serves the folder's files, and prints the port."""
    from aiohttp import web

    files = {f"/{path.name}": path.read_bytes() for path in folder.iterdir()}

    async def answer(request):
        await asyncio.sleep(latency)
        body = files.get(request.path)
        return web.Response(status=404) if body is None else web.Response(body=body, content_type="image/jpeg")

    async def run():
        app = web.Application()
        app.router.add_get("/{name}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        print(site._server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(run())


def ours(urls: Path, folder: Path, concurrency: int, port: int) -> None:
    """Fetches what the list has, in its order."""
    from lab.data.fetching.fetch import fetch
    from lab.data.fetching.outcomes import Candidate
    from lab.data.fetching.settings import Settings

    settings = Settings("mailto:nobody@example.com", concurrency, concurrency, loopback_port=port)
    lines = urls.read_text().splitlines()
    for _ in fetch((Candidate(rank, url) for rank, url in enumerate(lines)), len(lines), settings, folder):
        pass


def write_images(folder: Path, number: int) -> int:
    """So many JPEGs, soft patches under a little noise; the bytes of all."""
    for name in range(number):
        rng = np.random.default_rng(name)
        patches = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize(
            (SIDE, SIDE), Image.Resampling.BICUBIC
        )
        noisy = np.asarray(patches, np.int16) + rng.integers(-12, 13, (SIDE, SIDE, 1), np.int16)
        file = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
        (folder / f"{name}.jpg").write_bytes(file.getvalue())
    return sum(path.stat().st_size for path in folder.iterdir())


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """The port of a server in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.downloading", "--serve", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield int(process.stdout.readline())
        process.kill()


def measured(command: list[str]) -> dict:
    """Seconds and processor seconds of a program, with those that it starts."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise RuntimeError(said)
    return {"seconds": seconds, "cpu_s": usage.ru_utime + usage.ru_stime}


def rows(options: argparse.Namespace, place: Path, port: int, urls: Path) -> Iterator[dict]:
    """A row for each program and turn; each begins with an empty folder."""
    own = [sys.executable, "-m", "benchmarks.downloading", "--ours", str(urls)]
    (script := place / "beside.py").write_text(IMG2DATASET)
    other = [options.beside, str(script), str(urls)]
    for turn in range(options.repeats):
        for name, begin, end in (
            ("ours", own, ["--port", str(port), "--concurrency", str(options.concurrency)]),
            ("img2dataset, checked", other, [str(options.concurrency), "no"]),
            ("img2dataset, unchecked", other, [str(options.concurrency), "yes"]),
        ):
            folder = place / f"{name.replace(', ', '-')}-{turn}"
            middle = ["--folder", str(folder)] if name == "ours" else [str(folder)]
            found = measured([*begin, *middle, *end])
            # Ours have no suffix, as they are called by their sha256.
            files = sum(path.is_file() and path.suffix in ("", ".jpg") for path in folder.rglob("*"))
            yield {"program": name, "turn": turn, "images": files} | found


def compare(options: argparse.Namespace) -> dict:
    """All rows, and the ratio of seconds to ours in the same turn."""
    from benchmarks.timing import provenance, shown  # which imports torch: not in the program that is timed

    with TemporaryDirectory() as temporary:
        place = Path(temporary)
        (images := place / "served").mkdir()
        size = write_images(images, options.images)
        with serving(images) as port:
            names = [f"{name}.jpg" for name in range(options.images + options.missing)]
            random.Random(0).shuffle(names)
            (urls := place / "urls.txt").write_text("".join(f"http://127.0.0.1:{port}/{name}\n" for name in names))
            found = shown(rows(options, place, port, urls))
    version = subprocess.run(
        [options.beside, "-c", "from importlib.metadata import version; print(version('img2dataset'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    own = {row["turn"]: row["seconds"] for row in found if row["program"] == "ours"}
    ratios = {
        name: statistics.median(row["seconds"] / own[row["turn"]] for row in found if row["program"] == name)
        for name in dict.fromkeys(row["program"] for row in found)
    }
    sizes = {name: getattr(options, name) for name in ("images", "missing", "concurrency", "repeats")}
    beside = {"img2dataset": version.stdout.strip(), "processors": os.cpu_count(), "latency_s": LATENCY, "bytes": size}
    return {"provenance": provenance("cpu"), **sizes, **beside, "ratio_to_ours": ratios, "rows": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("images", 2000), ("missing", 500), ("concurrency", 32), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--beside", help="the Python of an environment with img2dataset")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/downloading.json"))
    parser.add_argument("--serve", type=Path, help="be the server of a folder")
    parser.add_argument("--ours", type=Path, help="be the program that is timed, on a list of URLs")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--port", type=int)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, LATENCY)
    elif options.ours:
        ours(options.ours, options.folder, options.concurrency, options.port)
    else:
        options.out.write_text(json.dumps(compare(options), indent=2) + "\n")


if __name__ == "__main__":
    main()
