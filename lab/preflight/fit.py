"""What a published base takes: sizes of images, layers and ranks of adapters, guidance. Its configuration says."""

import diffusers
import torch

from lab.data.encode import sizes_for
from lab.generation.load import check_size
from lab.models.family import Family, family_named
from lab.models.published.selection import INDEX, parts_of
from lab.params import Params
from lab.preflight.ahead import Ahead
from lab.preflight.base import Base
from lab.preflight.findings import Findings
from lab.training.frozen import check_graphs
from lab.training.lora import check_targets
from lab.training.preview import check_preview


def check_fit_of_params(params: Params, ahead: Ahead, base: Base | None, found: Findings) -> None:
    """Whether the base takes what the parameters of encoding, training and drawing ask of it."""
    if base is None or base.read is None:
        return
    family, vae = family_of(base), base.read("vae/config.json")
    if ahead.runs("encode"):
        with found.of("encode"):
            sizes_for(family, vae, params.encode.resolution, params.encode.aspects)
    if ahead.runs("generate"):
        with found.of("generate"):
            check_size(family, vae, params.generate.height, params.generate.width)
    trained = [name for name in ahead.keys("train") if params.adapters[name].rank > 0]
    if trained:
        _check_training(params, trained, family, base, found)


def family_of(base: Base) -> Family:
    """The family of a base that is not loaded."""
    _, kind = parts_of(base.read(INDEX))["transformer"]
    return family_named(kind, base.read("transformer/config.json"))


def _check_training(params: Params, names: list[str], family: Family, base: Base, found: Findings) -> None:
    with found.of("train"):
        family.guidance(params.train.guidance)
    if params.train.preview is not None:
        with found.of("train"):
            check_preview(family, params.train.preview.guidance, empty_caption=params.encode.empty_caption)
    with torch.device("meta"):
        transformer = getattr(diffusers, family.transformer.__name__).from_config(dict(family.config))
    if params.train.compile:
        with found.of("train"):
            check_graphs(transformer, len(set(params.encode.aspects)))
    for name in names:
        with found.of(f"train@{name}"):
            check_targets(transformer, params.adapters[name].rank, params.train.targets)
