"""What values say of each other: references, and limits that depend on another key."""

from collections.abc import Iterator
from pathlib import Path

from taca.params.messages import closest, did_you_mean
from taca.params.sections import Adapter, Flows, Params, Prompts, Sample


def cross_faults(params: Params) -> list[str]:
    """One sentence for each fault between values that are right by themselves."""
    return [
        *_reference_faults(params),
        *(fault for name, adapter in params.adapters.items() for fault in _adapter_faults(name, adapter, params)),
        *_folder_faults("prompts", params.prompts),
        *_folder_faults("sample", params.sample),
        *_runner_faults(params.flows),
    ]


def _reference_faults(params: Params) -> Iterator[str]:
    for name, arm in params.arms.items():
        if arm.adapter not in params.adapters:
            yield _no_such(f"arms.{name}.adapter", arm.adapter, "adapters", list(params.adapters))
    if params.report.baseline not in params.arms:
        yield _no_such("report.baseline", params.report.baseline, "arms", list(params.arms))


def _no_such(key: str, value: str, section: str, names: list[str]) -> str:
    hint = did_you_mean(closest(value, names))
    return f"`{key}` is {value!r}, but must be one of `{section}`: {', '.join(names)}{hint}."


def _adapter_faults(name: str, adapter: Adapter, params: Params) -> Iterator[str]:
    key = f"adapters.{name}"
    if adapter.rank > 0 and adapter.alpha is None:
        yield f"`{key}.alpha` is missing; it must be a finite number above 0, since `{key}.rank` is {adapter.rank}."
    # A published base's widths are known only once it is there; the stages check those.
    if params.base.source == "world" and adapter.rank > params.base.width:
        width = params.base.width
        yield f"`{key}.rank` is {adapter.rank}, but must be at most {width}, the width of the layers (`base.width`)."


def _folder_faults(section: str, values: Prompts | Sample) -> Iterator[str]:
    if values.source == "folder" and values.folder is None:
        yield f"`{section}.folder` is null, but must be a folder's path, since `{section}.source` is folder."
    elif values.source == "folder" and not Path(values.folder).is_dir():
        yield f"`{section}.folder` is {values.folder!r}, but must be a folder that exists (there is none of that path)."
    elif values.source != "folder" and values.folder is not None:
        yield f"`{section}.folder` is {values.folder!r}, but must be null, since `{section}.source` is {values.source}."


def _runner_faults(flows: Flows) -> Iterator[str]:
    for runner, key, meant in (("ray", "ray_address", "auto or HOST:PORT"), ("kubernetes", "work_pool", "a work pool")):
        if flows.runner == runner and getattr(flows, key) is None:
            yield f"`flows.{key}` is null, but must be {meant}, since `flows.runner` is {runner}."
