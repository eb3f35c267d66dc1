"""A variation of the experiment: parameters of one arm, and its adapter, that are another one's but for overrides."""

import copy
import re
from collections.abc import Mapping

from lab.errors import LabError
from lab.params import validate
from lab.params.sections import Adapter, Arm
from runtime.params.messages import closest, did_you_mean

# What the varied arm and its adapter are called.
OWN = "cell"
# What a short name sets: an adapter is trained with the gamma and the threshold that it is used with.
SHORT = {
    "gamma": (f"arms.{OWN}.gamma", f"adapters.{OWN}.gamma"),
    "threshold": (f"arms.{OWN}.threshold", f"adapters.{OWN}.threshold"),
    "threshold_tokens": (f"arms.{OWN}.threshold_tokens", f"adapters.{OWN}.threshold_tokens"),
    "guidance": (f"arms.{OWN}.guidance",),
    "adapter_scope": (f"arms.{OWN}.adapter_scope",),
    "rank": (f"adapters.{OWN}.rank", f"adapters.{OWN}.alpha"),
    "limit": ("generate.limit",),
}


def varied(params: Mapping, like: str, overrides: Mapping[str, object], name: str) -> tuple[dict, str]:
    """The document of the variation, and what its arm is called: `cell`, or as one that says the same already.

    It has that arm alone, as the report's baseline too: a pipeline with these parameters has no stage of others. Of
    adapters it has the arm's and that of `analyze`.

    Args:
        params: the document of params.yaml.
        like: the arm that is varied.
        overrides: by short name, or by key; `arm.gamma` is the arm's alone, `adapter.gamma` the adapter's.
        name: of the variation, for messages.

    Raises:
        LabError: there is no such arm or key, or the arm's adapter is one that someone else trained.
        ParamsError: a value is out of range.
    """
    if like not in params["arms"]:
        raise LabError(f"The sweep's `like` is {like!r}, but must be one of `arms` in params.yaml.")
    params = copy.deepcopy(dict(params))
    arms, adapters = params["arms"], params["adapters"]
    if arms[like]["adapter"] not in adapters:
        raise LabError(
            f"The sweep's `like` is {like!r}, whose adapter someone else trained, so that its cells could not train "
            "their own: name an arm with one of `adapters`."
        )
    adapters[OWN] = copy.deepcopy(adapters[arms[like]["adapter"]])
    arms[OWN] = {**arms[like], "adapter": OWN}
    for key, value in overrides.items():
        for path in SHORT.get(key, (re.sub(r"^(arm|adapter)[.]", rf"\1s.{OWN}.", key),)):
            set_value(params, path, value, name)
    adapter = adapters[OWN]
    if adapter.get("rank") == 0:
        adapters[OWN] = {"rank": 0}
    elif "alpha" in adapter:
        adapter["alpha"] = float(adapter["alpha"])
    # Before names are compared, so that what is refused is what was written.
    validate(params, name)
    used = arms[OWN]["adapter"] = _adopted(adapters, Adapter)
    arm = _adopted(arms, Arm)
    # The figures of attention, which every report has, are drawn with an adapter that may be another one.
    kept = {used, params["analyze"]["adapter"]}
    alone = {"adapters": {name: adapters[name] for name in adapters if name in kept}, "arms": {arm: arms[arm]}}
    return {**params, **alone, "report": {**params["report"], "baseline": arm}}, arm


def set_value(params: dict, path: str, value: object, name: str) -> None:
    """Sets a value of the document of params.yaml by its key, such as `train.steps`; `name` is said in messages.

    Raises:
        LabError: there is no such key.
    """
    *parents, last = path.split(".")
    section = params
    for parent in parents:
        section = section.get(parent) if isinstance(section, Mapping) else None
    # An adapter of rank 0 says nothing of gamma, and a cell may give it a rank.
    if not isinstance(section, dict) or (last not in section and parents[:1] not in (["adapters"], ["arms"])):
        names = sorted({*SHORT, *_paths(params)})
        hint = did_you_mean(closest(path, names))
        raise LabError(f"{name.capitalize()}: there is no parameter {path!r} in params.yaml{hint}.")
    section[last] = value


def _paths(section: Mapping, prefix: str = "") -> list[str]:
    found = []
    for key, value in section.items():
        found += _paths(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [f"{prefix}{key}"]
    return found


def _adopted(section: dict, model: type) -> str:
    """What an entry is called that says the same as `cell`, which is dropped then; or `cell`."""
    own = model(**section[OWN])
    name = next((name for name, values in section.items() if name != OWN and model(**values) == own), OWN)
    if name != OWN:
        del section[OWN]
    return name
