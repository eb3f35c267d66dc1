"""Who describes images: whether the model answers or its files can be had, and what comes to disk."""

from pathlib import Path

from compbench.errors import CompbenchError
from compbench.tables import read_table
from lab.data.captioning.answers import AnswerStore, place
from lab.data.captioning.endpoint import Endpoint
from lab.data.captioning.refine import questions_of
from lab.data.captioning.weights import find_model, pin_folder
from lab.data.crops import sizes_of_base
from lab.errors import LabError
from lab.models.published.hub import absent, cache_disk, check_access
from lab.models.published.pin import locate, read_pin
from lab.params import Params
from lab.params.sections import EndpointCaption, LlavaCaption
from lab.preflight.ahead import Ahead
from lab.preflight.findings import Findings, Space


def check_caption(params: Params, ahead: Ahead, found: Findings) -> None:
    """A model that is pinned and in its place is taken from there; else the hub is asked, and for no weights.

    An endpoint is asked once, unless it has described every image before.
    """
    caption = params.caption
    if not ahead.runs("caption"):
        return
    with found.of("caption"):
        if isinstance(caption, LlavaCaption):
            found.captioner_size = _pinned(caption) or _on_hub(caption, found)
        if isinstance(caption, EndpointCaption):
            captioner = Endpoint.of(caption.model_dump())
            if ahead.runs("base", "sample") or not _has_described(captioner, params):
                captioner.look(caption.prompt)


def _has_described(captioner: Endpoint, params: Params) -> bool:
    """Whether there are images, and the store has what the stage would ask of them first."""
    sample, base = Path("data/sample"), Path("models/base") / params.base.name
    try:
        sizes = sizes_of_base(base, params.encode.resolution, params.encode.aspects)
        questions = questions_of(sample, read_table(sample / "index.parquet"), params.caption.prompt, sizes)
    except (LabError, CompbenchError, FileNotFoundError):
        return False
    store = AnswerStore(place(), captioner.identity)
    try:
        return not store.missing(questions)
    finally:
        store.close()


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
