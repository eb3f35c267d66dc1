"""A LoRA that someone else trained: what it is for, read by loading it into the base's transformer without weights."""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import diffusers
import torch
from accelerate import init_empty_weights
from diffusers.loaders.lora_base import LORA_WEIGHT_NAME_SAFE as WEIGHTS
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from lab.errors import LabError
from lab.models.family import family_of
from lab.models.load import read_config

NAME = "published"
_BLOCK = re.compile(r"^((?:single_)?transformer_blocks)\.\d+\.")


def describe_adapter(lora: Path, base: Path, targets: Sequence[str] | None) -> dict[str, object]:
    """What the adapter in the folder `lora` does to the base, as JSON can hold it.

    `rank` and `alpha` list each value that a layer has, `modules` names the layers with `*` for a block's number, and
    `difference` is a sentence on the layers that it and `targets` do not share, None where there are none.

    Args:
        targets: ends of the names of the layers that adapters of one's own are for; None for the family's.

    Raises:
        LabError: the base's pipeline does not take its layout, or it is for other layers than the base has.
    """
    pipe = _empty_pipeline(partial(read_config, base))
    own = _layers_of(pipe.transformer, targets or family_of(pipe.transformer).targets)
    layers = _loaded(pipe, (lora.name, base.name), str(lora), weight_name=WEIGHTS)
    return {
        "rank": sorted({module.r[NAME] for module in layers.values()}),
        "alpha": sorted({float(module.lora_alpha[NAME]) for module in layers.values()}),
        "modules": _kinds(layers),
        "layers": len(layers),
        "difference": _difference(_kinds(layers), _kinds(own)),
    }


def check_fit(name: str, shapes: Mapping[str, Sequence[int]], base: str, read: Callable[[str], dict]) -> None:
    """Makes sure that an adapter fits a base, by what their files say of themselves.

    Args:
        name: of the adapter.
        shapes: of its tensors, by name.
        base: its name.
        read: gives a JSON file of the base by its path in the pipeline.

    Raises:
        LabError: the base's pipeline does not take its layout, or it is for other layers than the base has.
    """
    # One number seen in any shape takes no memory, and unlike a tensor without any it can be looked at, as the
    # conversion of some layouts does.
    tensors = {key: torch.ones(()).expand(shape) for key, shape in shapes.items()}
    _loaded(_empty_pipeline(read), (name, base), tensors)


def _loaded(pipe, names: tuple[str, str], source: str | dict, **options: str) -> Mapping[str, BaseTunerLayer]:
    """The layers that an adapter is in once the pipeline has loaded it; `names` are the adapter's and the base's."""
    with _quiet():
        try:
            state = type(pipe).lora_state_dict(dict(source) if isinstance(source, dict) else source, **options)
            pipe.load_lora_weights(source, adapter_name=NAME, **options)
        except (KeyError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise _unfit(names, f"{type(pipe).__name__}.load_lora_weights refuses it ({reason})") from None
    layers = {
        name: module
        for name, module in pipe.transformer.named_modules()
        if isinstance(module, BaseTunerLayer) and NAME in module.r
    }
    wanted = {key.split(".lora")[0].removeprefix("transformer.") for key in state if "lora" in key}
    if not layers or wanted - layers.keys():
        unknown = sorted(wanted - layers.keys())
        raise _unfit(names, f"the base has no layer {unknown[0] if unknown else 'that it names'}")
    return layers


@contextmanager
def _quiet() -> Iterator[None]:
    """Layers that the base does not have are said in a sentence, and parts that are not here are not missed."""
    before = diffusers.utils.logging.get_verbosity()
    diffusers.utils.logging.set_verbosity(diffusers.utils.logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # peft's, of a page
            yield
    finally:
        diffusers.utils.logging.set_verbosity(before)


def _empty_pipeline(read: Callable[[str], dict]):
    """The base's pipeline with a transformer whose weights are shapes alone, and no other part."""
    index = read("model_index.json")
    parts = {name: None for name, value in index.items() if isinstance(value, list)}
    kind = getattr(diffusers, index["transformer"][1])
    with init_empty_weights():
        transformer = kind.from_config(read("transformer/config.json"))
    return getattr(diffusers, index["_class_name"])(**parts | {"transformer": transformer})


def _layers_of(transformer: nn.Module, targets: Sequence[str]) -> Mapping[str, nn.Module]:
    return {
        name: module
        for name, module in transformer.named_modules()
        if isinstance(module, nn.Linear) and any(name.endswith(f".{target}") for target in targets)
    }


def _kinds(names: Mapping[str, nn.Module]) -> list[str]:
    return sorted({_BLOCK.sub(r"\1.*.", name) for name in names})


def _difference(theirs: Sequence[str], ours: Sequence[str]) -> str | None:
    only_theirs = [name for name in theirs if name not in ours]
    only_ours = [name for name in ours if name not in theirs]
    said = []
    if only_theirs:
        said.append(f"it also adapts {', '.join(only_theirs)}")
    if only_ours:
        said.append(f"it leaves out {', '.join(only_ours)}")
    return f"Against adapters trained here, {' and '.join(said)}." if said else None


def _unfit(names: tuple[str, str], reason: str) -> LabError:
    adapter, base = names
    return LabError(
        f"The adapter {adapter} does not fit the base {base}: {reason}; name a LoRA of this base in "
        "`published_adapters`, in a layout that its pipeline loads."
    )
