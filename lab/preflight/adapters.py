"""Adapters that others trained: whether the file can be had, and whether it is for this base in this precision."""

from collections.abc import Mapping
from pathlib import Path

from lab.estimate.base import Base
from lab.generation.precision import check_same, precision_of
from lab.models.hub_file import ask_header, check_digest, check_trained_on, read_local
from lab.params import Params
from lab.preflight.ahead import Ahead
from lab.preflight.findings import Findings, Space


def check_adapters(params: Params, ahead: Ahead, base: Base | None, found: Findings) -> None:
    """Published adapters by their headers, which is all that is read of them; one's own by the parameters."""
    for name in ahead.keys("fetch"):
        source = params.published_adapters[name]
        with found.of(f"fetch@{name}"):
            header = read_local(Path(source.file), name) if source.repo is None else ask_header(source, name)
            check_digest(name, source.file, source.sha256, header.sha256)
            found.space.append(Space(Path("models"), header.size, f"the adapter {name}"))
            _check_trained_here(name, header.metadata, params)
            if base is not None:
                from lab.models.published_adapter import check_fit

                check_fit(name, header.shapes, params.base.name, base.read)
    _check_precision(params, ahead, found)


def _check_trained_here(name: str, metadata: Mapping[str, str], params: Params) -> None:
    """What an adapter's file says of its training, if this project wrote it.

    Raises:
        LabError: it was trained on another base, or on one in another precision.
    """
    check_trained_on(name, metadata, params.base.name)
    if "taca.base" in metadata and not params.generate.other_precision:
        check_same(name, metadata.get("taca.precision", "float32"), _drawn_in(params))


def _check_precision(params: Params, ahead: Ahead, found: Findings) -> None:
    """The adapters of arms that will have been trained here by then."""
    if params.generate.other_precision:
        return
    used = dict.fromkeys(params.arms[arm].adapter for arm in ahead.keys("generate"))
    for name in used:
        if name in params.adapters and params.adapters[name].rank > 0:
            with found.of("generate"):
                check_same(name, params.train.precision, _drawn_in(params))


def _drawn_in(params: Params) -> str:
    return precision_of(params.generate.dtype, params.generate.quantization)
