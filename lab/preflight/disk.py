"""Disks: what stages will write, and DVC's copy of it."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabError
from lab.estimate.estimate import Row
from lab.preflight.findings import Findings, Space

GB = 1e9
# By program: what it writes that fills disks.
OUTPUTS = {
    "sample": "data/sample",
    "encode": "data/encoded",
    "train": "models/adapters/{}",
    "generate": "results/images/{}",
}
LINKS = {"reflink", "hardlink", "symlink"}  # kinds of DVC's cache.type that take no place twice


def check_disk(
    root: Path,
    figures: Sequence[Row],
    found: Findings,
) -> None:
    """Compares what is free on each disk with what will be written to it, downloads that were found before included."""
    cache, copies = _dvc_cache(root)
    outputs = [_rest(root, row) for row in figures if row.stage.partition("@")[0] in OUTPUTS]
    space = [*found.space, *outputs]
    if copies:
        space += [Space(cache, each.size, f"DVC's copy of {each.what}") for each in outputs]
    passing = max((row.passing for row in figures), default=0)
    space.append(Space(root / ".work", passing, "what a stage keeps until it ends"))
    disks: dict[int, list[Space]] = {}
    for each in space:
        disks.setdefault(_there(each.folder).stat().st_dev, []).append(each)
    for on_disk in disks.values():
        with found.of("disk"):
            _check(on_disk)


def _check(space: Sequence[Space]) -> None:
    needed, free = sum(each.size for each in space), shutil.disk_usage(_there(space[0].folder)).free
    if needed > free:
        listed = ", ".join(f"{each.what} {each.size / GB:.1f}" for each in sorted(space, key=lambda each: -each.size))
        raise LabError(
            f"{_there(space[0].folder)} has {free / GB:.1f} GB free, and {needed / GB:.1f} GB are needed ({listed}): "
            "free some (`make gc` shows what no run refers to), set HF_HOME to a larger disk for what is downloaded, "
            "or `dvc cache dir --local` for DVC's copies."
        )


def _rest(root: Path, row: Row) -> Space:
    """What a stage has still to write of its output, which may lie in the work folder of one that was killed."""
    program, _, key = row.stage.partition("@")
    output = OUTPUTS[program].format(key)
    begun = (root / ".work").glob(f"{row.stage.replace('@', '-')}-{'[0-9a-f]' * 12}/outs/{output}/**/*")
    written = sum(path.stat().st_size for path in begun if path.is_file())
    # What a row downloads lies elsewhere, and was counted there.
    return Space(root / output, max(0, row.disk - row.download - written), output)


def _dvc_cache(root: Path) -> tuple[Path, bool]:
    """DVC's cache, and whether what it takes over is there twice from then on."""
    from dvc.config import Config

    settings = Config(str(root / ".dvc")).read()["cache"]
    cache = Path(settings.get("dir", root / ".dvc" / "cache"))
    same_disk = _there(cache).stat().st_dev == root.stat().st_dev
    kinds = settings.get("type", "reflink,copy")  # a list where the file has them without quotes
    kinds = [kind.strip() for kind in kinds.split(",")] if isinstance(kinds, str) else kinds
    return cache, not same_disk or LINKS.isdisjoint(kinds)


def _there(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
