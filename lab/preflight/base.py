"""The base: whether it can be had, and what is known of it before it is loaded."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lab.models.published.selection import INDEX, files_to_load
from lab.params import Params
from lab.preflight.ahead import Ahead
from lab.preflight.findings import Findings, Space

READERS = ("encode", "train", "fetch", "generate")  # programs that read the pinned files


@dataclass(frozen=True)
class Base:
    """A published base.

    Attributes:
        name: as the parameters have it.
        size: bytes of all files from which it is loaded, as far as they are known.
        read: gives one of its JSON files by the path in the pipeline; None where they cannot be had.
    """

    name: str
    size: int
    read: Callable[[str], dict] | None


def check_base(params: Params, ahead: Ahead, found: Findings) -> Base | None:
    """The published base; None for the built-in one, or where it is not needed.

    A base that is pinned and in its place is taken from there; otherwise the hub is asked for repository, revision,
    licence and family, and for nothing larger than a JSON file.
    """
    if params.base.source == "world":
        return None
    if not ahead.runs("base", *READERS):
        return None
    with found.of("base"):
        return SOURCES[params.base.source](params, found) if ahead.runs("base") else _pinned(params)
    return Base(params.base.name, 0, None)


def _on_hub(params: Params, found: Findings) -> Base:
    from lab.models.published.hub import absent, cache_disk, check_access, find_repository, read_json
    from lab.models.published.kind import check_kind

    base = params.base
    repository = find_repository(base.repo, base.revision)
    read = partial(read_json, repository)
    with found.of("base"):
        index = read(INDEX)
        check_kind(index, base.repo)
        names = files_to_load(index, repository.files, base.variant)
        to_fetch = absent(repository, names)
        if to_fetch:
            check_access(repository, to_fetch[0])
            found.space.append(Space(cache_disk(), _size(repository, to_fetch), f"the files of {base.repo}"))
        for name in names:
            if name.endswith("config.json"):
                read(name)  # while a fault is the base's; later they are in the cache
        return Base(base.name, _size(repository, names), read)
    # The hub lists the files also to those whom it refuses them; copies of the parts in one file lie at the root.
    return Base(base.name, _size(repository, [name for name in repository.files if "/" in name]), None)


def _size(repository, names: list[str]) -> int:
    return sum(repository.files[name].size for name in names)


def _in_folder(params: Params, found: Findings) -> Base:
    from lab.models.published.kind import check_kind

    folder = Path(params.base.folder)
    read = partial(_read, folder)
    check_kind(read(INDEX), params.base.folder)
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    names = files_to_load(read(INDEX), files, variant=None)
    return Base(params.base.name, sum((folder / name).stat().st_size for name in names), read)


def _pinned(params: Params) -> Base:
    from lab.models.published.pin import locate, read_pin

    pin = read_pin(Path("models/base") / params.base.name)
    return Base(params.base.name, pin.size, partial(_read, locate(pin)))


def _read(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text(encoding="utf-8"))


SOURCES: Mapping[str, Callable[[Params, Findings], Base]] = {"hub": _on_hub, "folder": _in_folder}
