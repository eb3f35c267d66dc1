"""Objects in DVC's cache that nothing refers to."""

import json
import time
from pathlib import Path

from flows.garbage import Garbage
from flows.garbage.references import HASH, recorded_hashes
from flows.running.workspace import cache_folder

# Seconds that an object is left alone: a `dvc repro` elsewhere may not have noted yet what it has just stored.
YOUNG = 3600.0


def unused_objects(root: Path, words: frozenset[str], young: float = YOUNG) -> Garbage:
    """Objects whose hash stands in no commit, workspace or tag of a live run, nor in a folder listing that does."""
    cache = cache_folder(root)
    if not cache.is_relative_to(root.resolve()):
        # Others may keep their objects there.
        return Garbage("DVC", f"left alone: {cache} is not this repository's own; see `dvc gc --projects`")
    # One that a kill has cut off has a name that is no hash.
    objects = {path.parent.name + path.name: path for path in cache.glob("[0-9a-f][0-9a-f]/*")}
    named = recorded_hashes(root) | {word for word in words if HASH.fullmatch(word)}
    listings = [objects[name] for name in named if name.endswith(".dir") and name in objects]
    used = named | {entry["md5"] for listing in listings for entry in json.loads(listing.read_text())}
    unnamed = [path for name, path in objects.items() if name not in used]
    # When the file came into the cache: a link to it, or a change of its rights, counts as its making does.
    unused = [path for path in unnamed if path.stat().st_ctime <= time.time() - young]
    size = sum(path.stat().st_size for path in unused)
    text = f"{len(unused)} of {len(objects)} objects in the cache"
    if len(unused) < len(unnamed):
        text += f", and {len(unnamed) - len(unused)} of the last hour, which are left for now"
    return Garbage("DVC", text, size=size, remove=lambda: _remove(unused))


def _remove(paths: list[Path]) -> None:
    # Listings first: a kill in between leaves no folder that looks whole.
    for path in sorted(paths, key=lambda path: path.suffix != ".dir"):
        path.unlink()
