"""What a published base takes: sizes of images, layers and ranks of adapters, guidance. Its configuration says."""

from lab.data.crops import sizes_for
from lab.estimate.base import Base
from lab.generation.load import check_size
from lab.models.family import Family
from lab.params import Params
from lab.preflight.ahead import Ahead
from lab.preflight.findings import Findings
from lab.training.frozen import check_graphs
from lab.training.lora import check_targets
from lab.training.preview import check_preview


def check_fit_of_params(params: Params, ahead: Ahead, base: Base | None, found: Findings) -> None:
    """Whether the base takes what the parameters of encoding, training and drawing ask of it."""
    if base is None:
        return
    family, vae = base.family, base.config("vae")
    if ahead.runs("encode"):
        with found.of("encode"):
            sizes_for(family, vae, params.encode.resolution, params.encode.aspects)
    if ahead.runs("generate"):
        with found.of("generate"):
            check_size(family, vae, params.generate.height, params.generate.width)
    for arm in ahead.keys("generate"):
        with found.of(f"generate@{arm}"):
            family.check_drawn_guidance(f"arms.{arm}.guidance", params.arms[arm].guidance)
    trained = [name for name in ahead.keys("train") if params.adapters[name].rank > 0]
    if trained:
        _check_training(params, trained, family, base, found)


def _check_training(params: Params, names: list[str], family: Family, base: Base, found: Findings) -> None:
    with found.of("train"):
        family.guidance(params.train.guidance)
    if params.train.preview is not None:
        with found.of("train"):
            check_preview(family, params.train.preview.guidance, empty_caption=params.encode.empty_caption)
    transformer = base.transformer("float32")
    if params.train.compile:
        with found.of("train"):
            check_graphs(transformer, len(set(params.encode.aspects)))
    for name in names:
        with found.of(f"train@{name}"):
            check_targets(transformer, params.adapters[name].rank, params.train.targets)
