"""Where a base's configurations are read: in its folder, or, file by file and a few kilobytes in all, on the hub."""

import json
from functools import partial
from pathlib import Path

from lab.estimate.base import Base
from lab.models.published.hub import Repository, find_repository, read_index, read_json
from lab.models.published.pin import read_pin
from lab.models.published.selection import files_to_load
from lab.params.sections import FolderBase, HubBase, WorldBase


def open_base(base: WorldBase | FolderBase | HubBase) -> Base:
    """The base that section `base` of the parameters names; no weights are read or fetched.

    Raises:
        LabError: there is no such repository or revision, or no access to it.
        ConnectionError, TimeoutError: the hub does not answer, and the cache does not have the configurations.
    """
    return _SOURCES[base.source](base)


def in_folder(folder: Path) -> Base:
    """The base of a pipeline's folder."""
    return Base(lambda name: json.loads((folder / name).read_text(encoding="utf-8")))


def _on_hub(base: HubBase) -> Base:
    pin = read_pin(Path("models/base") / base.name)
    if pin is not None and pin.repo == base.repo:
        # By its commit, a file that the cache has is not asked for.
        return Base(partial(read_json, Repository(base.repo, pin.commit, {})), pin.size)
    repository = find_repository(base.repo, base.revision)
    read = partial(read_json, repository)
    names = files_to_load(read_index(repository), repository.files, base.variant)
    return Base(read, sum(repository.files[name].size for name in names))


_SOURCES = {
    "world": lambda base: in_folder(Path("models/base") / base.name),
    "folder": lambda base: in_folder(Path(base.folder)),
    "hub": _on_hub,
}
