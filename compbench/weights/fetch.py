"""Fetches weights into a folder: says what it will take, then brings each file, checks it and puts it in its place."""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from tqdm import tqdm

from compbench.errors import CompbenchError
from compbench.weights.hashes import check, known_sha256, record, sha256
from compbench.weights.origin import Offer, Origin
from compbench.weights.registry import WeightFile


def fetch(
    files: Iterable[WeightFile], weights: Path, origin: Origin, dry_run: bool = False, wait: bool = False
) -> None:
    """Brings what is missing of `files` into the folder `weights`, and checks what is there.

    A file appears under its name only when it is whole and its hash right; until then it is `<name>.part`, from which
    the next call goes on.

    Args:
        dry_run: only say the sizes.
        wait: for another fetch into the same folder, which may leave nothing to do.

    Raises: CompbenchError for a file that cannot be had or is not the right one, a disk that is too small, or another
    fetch into the same folder.
    """
    with nullcontext() if dry_run else _alone(weights, wait):
        _fetch(tuple(files), weights, origin, dry_run)


def fetch_missing(files: Iterable[WeightFile], weights: Path, origin: Origin) -> None:
    """As `fetch` for whoever needs the files, without a word where none is missing."""
    files = tuple(files)
    if not all((weights / file.path).is_file() for file in files):
        fetch(files, weights, origin, wait=True)


def _fetch(files: tuple[WeightFile, ...], weights: Path, origin: Origin, dry_run: bool) -> None:
    offers = {file: origin.offer(file) for file in files if not (weights / file.path).is_file()}
    needed, free = _needed(weights, offers), _free(weights)
    for file in files:
        print(_line(weights, file, offers.get(file)))
    print(f"To fetch: {_human(needed)}; free in {weights}: {_human(free)}.", flush=True)
    if dry_run:
        return
    if needed > free:
        raise CompbenchError(
            f"The weights need {_human(needed)} more, but {weights} has only {_human(free)} free: make room, or give "
            "another folder with --weights."
        )
    for file in files:
        _settle(weights, file, origin, offers.get(file))


def _settle(weights: Path, file: WeightFile, origin: Origin, offer: Offer | None) -> None:
    if offer is None:
        found = known_sha256(weights, file.path)
        check(weights, file, found)
    else:
        found = _bring(weights, file, origin, offer)
    record(weights, file, found)


def _bring(weights: Path, file: WeightFile, origin: Origin, offer: Offer) -> str:
    part = _part(weights, file)
    part.parent.mkdir(parents=True, exist_ok=True)
    origin.bring(file, part, offer)
    found = sha256(part)
    try:
        check(weights, file, found, offer.sha256)
    except CompbenchError:
        part.unlink()  # there is nothing to go on from
        raise
    os.replace(part, weights / file.path)
    return found


@contextmanager
def _alone(weights: Path, wait: bool) -> Iterator[None]:
    """Two fetches would write into the same unfinished files."""
    weights.mkdir(parents=True, exist_ok=True)
    with (weights / ".fetching").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise CompbenchError(f"Another fetch into {weights} is running: wait until it has ended.") from None
        yield


def _part(weights: Path, file: WeightFile) -> Path:
    return weights / f"{file.path}.part"


def _needed(weights: Path, offers: dict[WeightFile, Offer]) -> int:
    """Bytes that are still to come, as far as their origin says."""
    parts = {file: _part(weights, file) for file in offers}
    here = sum(part.stat().st_size for part in parts.values() if part.exists())
    return max(0, sum(offer.size or 0 for offer in offers.values()) - here)


def _free(weights: Path) -> int:
    there = next(folder for folder in (weights.absolute(), *weights.absolute().parents) if folder.exists())
    return shutil.disk_usage(there).free


def _line(weights: Path, file: WeightFile, offer: Offer | None) -> str:
    if offer is None:
        return f"{file.path:<45} {_human((weights / file.path).stat().st_size):>10}  there already"
    size = "not said" if offer.size is None else _human(offer.size)
    part = _part(weights, file)
    begun = f", {_human(part.stat().st_size)} of it here" if part.exists() else ""
    return f"{file.path:<45} {size:>10}  to fetch{begun}"


def _human(size: int) -> str:
    return tqdm.format_sizeof(size, "B")
