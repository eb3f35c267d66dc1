"""The base: whether it can be had, and what is known of it before it is loaded."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from lab.estimate.base import Base
from lab.estimate.configs import in_folder
from lab.models.published.selection import INDEX, files_to_load
from lab.params import Params
from lab.preflight.ahead import Ahead
from lab.preflight.findings import Findings, Space

READERS = ("encode", "train", "fetch", "generate")  # programs that read the pinned files


def check_base(params: Params, ahead: Ahead, found: Findings) -> Base | None:
    """The published base; None for the built-in one, or where it is not needed or its configurations cannot be had.

    A base that is pinned and in its place is taken from there; otherwise the hub is asked for repository, revision,
    licence and family, and for nothing larger than a JSON file.
    """
    if params.base.source == "world":
        return None
    if not ahead.runs("base", *READERS):
        return None
    with found.of("base"):
        return SOURCES[params.base.source](params, found) if ahead.runs("base") else _pinned(params, found)
    return None


def _on_hub(params: Params, found: Findings) -> Base:
    from lab.models.published.hub import absent, cache_disk, check_access, find_repository, read_index, read_json
    from lab.models.published.kind import check_kind

    base = params.base
    repository = find_repository(base.repo, base.revision)
    # The hub lists the files also to those whom it refuses them; copies of the parts in one file lie at the root.
    found.base_size = _size(repository, [name for name in repository.files if "/" in name])
    read = partial(read_json, repository)
    index = read_index(repository)
    check_kind(index, base.repo)
    names = files_to_load(index, repository.files, base.variant)
    found.base_size = _size(repository, names)
    to_fetch = absent(repository, names)
    if to_fetch:
        check_access(repository, to_fetch[0])
        found.space.append(Space(cache_disk(), _size(repository, to_fetch), f"the files of {base.repo}"))
    for name in names:
        if name.endswith("config.json"):
            read(name)  # while a fault is the base's; later they are in the cache
    return Base(read)


def _size(repository, names: list[str]) -> int:
    return sum(repository.files[name].size for name in names)


def _in_folder(params: Params, found: Findings) -> Base:
    from lab.models.published.kind import check_kind

    folder = Path(params.base.folder)
    base = in_folder(folder)
    check_kind(base.read(INDEX), params.base.folder)
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    names = files_to_load(base.read(INDEX), files, variant=None)
    found.base_size = sum((folder / name).stat().st_size for name in names)
    return base


def _pinned(params: Params, found: Findings) -> Base:
    from lab.models.published.pin import locate, read_pin

    pin = read_pin(Path("models/base") / params.base.name)
    found.base_size = pin.size
    return in_folder(locate(pin))


SOURCES: Mapping[str, Callable[[Params, Findings], Base]] = {"hub": _on_hub, "folder": _in_folder}
