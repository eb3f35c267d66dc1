"""What values of section `sample` say of each other."""

import os
from collections.abc import Iterator

from lab.params.sections import FolderSample, Hosted, Sample, UrlsSample

HOSTED = "lab/hosted"  # `folder` of what lies elsewhere


def sample_faults(sample: Sample) -> Iterator[str]:
    """One sentence for each fault."""
    own = isinstance(sample, (FolderSample, Hosted)) and sample.folder != HOSTED
    if own and not os.path.isdir(sample.folder):
        yield f"`sample.folder` is {sample.folder!r}, but must be a folder that exists (there is none of that path)."
    elif own and (found := next(_untracked(sample.folder), None)):
        path, why = (text.encode(errors="backslashreplace").decode() for text in found)
        yield (
            f"`sample.folder` is {sample.folder!r}, but DVC, which notices what changes in it, cannot take {path} "
            f"({why}): rename it, or move it out of the folder."
        )
    if isinstance(sample, Hosted):
        yield from _place_faults(sample)
    if isinstance(sample, UrlsSample):
        yield from _filter_faults(sample)


def _untracked(folder: str) -> Iterator[tuple[str, str]]:
    """What DVC fails at when it hashes the folder, after the work or with a word of the system's alone; and why.

    Every stage looks, so a listing says the kinds: of 100,000 files each is asked about for its rights alone.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:  # a closed folder, of which the source itself says whether it matters
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _untracked(entry.path)
        elif entry.is_symlink() and os.path.isdir(entry.path):
            continue  # DVC follows none either
        elif entry.path != entry.path.encode(errors="replace").decode():
            yield entry.path, "a name that is not in UTF-8"
        elif entry.is_symlink() and not os.path.exists(entry.path):
            yield entry.path, "a link that leads nowhere"
        elif not entry.is_file():
            yield entry.path, "no file"
        elif not os.access(entry.path, os.R_OK):
            yield entry.path, "closed to this user"
        elif entry.name == ".dvcignore":
            yield entry.path, "a file of DVC's own"


def _place_faults(sample: Hosted) -> Iterator[str]:
    if (sample.repo is None) != (sample.revision is None):
        given, absent = ("repo", "revision") if sample.revision is None else ("revision", "repo")
        yield f"`sample.{absent}` is null, but must be given with `sample.{given}`, or both be null."
    hosts = [key for key in ("repo", "address") if getattr(sample, key) is not None]
    if len(hosts) == 2:
        yield "`sample.address` must be null where `sample.repo` is given: files come from one place."
    elif hosts and sample.folder != HOSTED:
        yield f"`sample.folder` is {sample.folder!r}, but must be {HOSTED}, since `sample.{hosts[0]}` is given."
    elif not hosts and sample.folder == HOSTED:
        yield f"`sample.folder` is {HOSTED!r}, but must be your folder, or `sample.repo` or `sample.address` be given."


def _filter_faults(sample: UrlsSample) -> Iterator[str]:
    columns = sample.columns
    if sample.max_aspect is not None and (columns.width is None or columns.height is None):
        yield (
            "`sample.max_aspect` must be null, or `sample.columns.width` and `sample.columns.height` name the columns "
            "that it is reckoned from."
        )
    if columns.sha256 is not None and sample.candidates != 1:
        yield (
            f"`sample.candidates` is {sample.candidates:g}, but must be 1, since `sample.columns.sha256` is given: "
            "every row is an image that was kept once."
        )
