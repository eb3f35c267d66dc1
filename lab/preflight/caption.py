"""Who describes images: whether the model's files can be had, and what comes to disk."""

from lab.data.captioning.answers import place
from lab.data.captioning.weights import find_model, pin_folder
from lab.errors import LabError
from lab.models.published.hub import absent, cache_disk, check_access
from lab.models.published.pin import locate, read_pin
from lab.params import Params
from lab.params.sections import LlavaCaption
from lab.preflight.ahead import Ahead
from lab.preflight.findings import Findings, Space


def check_caption(params: Params, ahead: Ahead, found: Findings) -> None:
    """A model that is pinned and in its place is taken from there; else the hub is asked, and for no weights."""
    caption = params.caption
    if not ahead.runs("caption") or not isinstance(caption, LlavaCaption):
        return
    with found.of("caption"):
        found.captioner_size = _pinned(caption) or _on_hub(caption, found)


def _pinned(caption: LlavaCaption) -> int:
    """Bytes of a model that is here; 0 of one that is not, or not whole."""
    pin = read_pin(pin_folder(place(), caption.repo, caption.revision))
    try:
        return pin.size if pin is not None and locate(pin) else 0
    except LabError:
        return 0


def _on_hub(caption: LlavaCaption, found: Findings) -> int:
    repository = find_model(caption.repo, caption.revision)
    to_fetch = absent(repository, repository.files)
    if to_fetch:
        check_access(repository, to_fetch[0])
        size = sum(repository.files[name].size for name in to_fetch)
        found.space.append(Space(cache_disk(), size, f"the files of {caption.repo}"))
    return sum(file.size for file in repository.files.values())
