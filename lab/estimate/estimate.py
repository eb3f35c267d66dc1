"""The estimate of a whole experiment, a row for each stage that takes a GPU, a download or much disk."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from compbench.parsing import RULES
from lab.estimate import drawing, scoring, work
from lab.estimate.base import Base
from lab.generation.plan import PlannedImage, plan_images
from lab.generation.precision import precision_of
from lab.params.sections import Adapter, Arm, Params
from lab.preflight.disk import PIXEL
from lab.prompts import prompts_of


@dataclass(frozen=True)
class Work:
    """By what a speed is looked up."""

    stage: str
    transformer: str
    precision: str
    compiled: bool


@dataclass(frozen=True)
class Row:
    """What one stage takes; None where that is not known, 0 where there is nothing.

    Attributes:
        peak: bytes of tensors on the GPU.
        flops: floating-point operations.
        disk, download: bytes.
        passing: bytes on disk until the stage ends.
    """

    stage: str
    peak: int | None = 0
    flops: int | None = 0
    disk: int | None = 0
    passing: int = 0
    download: int | None = 0
    work: Work | None = None


def estimate(params: Params, base: Base) -> Iterator[Row]:
    """The rows in the order in which stages run.

    Raises:
        LabError: the base and the parameters do not go together.
    """
    yield Row("base", disk=base.download, download=base.download)
    for name in params.published_adapters:
        yield Row(f"fetch@{name}", disk=None, download=None)
    encoded = work.encode(base, params.encode)
    yield _encoding(params, *encoded)
    for name, adapter in params.adapters.items():
        if adapter.rank > 0:
            yield _training(params, base, name, adapter, encoded[1])
    planned = _planned(params)
    yield from _drawings(params, base, planned)
    counts = Counter(image.category for image in planned)
    if params.score.device == "cuda":
        usage = scoring.score(params.score, counts)
        yield Row("weights of the scorers", disk=usage.weights, download=usage.weights)
        yield from (Row(f"score@{name}", usage.peak, usage.flops) for name in params.arms)


def _encoding(params: Params, usage: work.Usage, encoded: Mapping) -> Row:
    batches = -(-params.sample.size // params.encode.batch_size)
    bytes_of_batch = sum(tensor.nbytes for tensor in encoded.values())
    disk = bytes_of_batch * params.sample.size // params.encode.batch_size
    return Row("encode", usage.peak, usage.flops * batches, disk)


def _training(params: Params, base: Base, name: str, adapter: Adapter, encoded: Mapping) -> Row:
    settings = params.train
    usage = work.train(base, settings, adapter, encoded)
    evaluations = 1 + -(-settings.steps // settings.checkpoint_every)
    held_out = evaluations * -(-settings.held_out // settings.batch_size)
    flops = settings.steps * usage.step.flops + held_out * usage.held_out.flops
    kind = Work("train", _transformer(base), settings.precision, settings.compile)
    # In float32. The checkpoint has the optimizer's two moments besides.
    size = usage.parameters * 4
    return Row(f"train@{name}", usage.step.peak, flops, size, passing=3 * size, work=kind)


def _drawings(params: Params, base: Base, planned: list[PlannedImage]) -> Iterator[Row]:
    settings = params.generate
    text = drawing.embed(base, settings)
    prompts, images = len({image.prompt for image in planned}), len(planned)
    text_flops = text.flops * -(-prompts // settings.batch_size)
    kind = Work("generate", _transformer(base), precision_of(settings.dtype, settings.quantization), settings.compile)
    seen: dict[tuple, drawing.Drawing] = {}
    for name, arm in params.arms.items():
        adapter = _adapter_of(params, arm)
        key = (adapter, arm.gamma, arm.guidance > 1, arm.adapter_scope)
        if key not in seen:
            seen[key] = drawing.draw(base, settings, arm, adapter, params.train.targets)
        found = seen[key]
        batch = settings.num_inference_steps * found.step_flops + found.other_flops
        flops = text_flops + batch * -(-images // settings.batch_size)
        disk = round(images * found.size[0] * found.size[1] * PIXEL)
        yield Row(f"generate@{name}", max(text.peak, found.peak), flops, disk, prompts * text.size, work=kind)


def _adapter_of(params: Params, arm: Arm) -> Adapter | None:
    """The arm's adapter. One that someone else trained counts as the largest of those trained here."""
    if arm.adapter in params.published_adapters:
        return max(params.adapters.values(), key=lambda adapter: adapter.rank)
    adapter = params.adapters[arm.adapter]
    return adapter if adapter.rank > 0 else None


def _planned(params: Params) -> list[PlannedImage]:
    generate = params.generate
    # Whoever parses them, they are as many: the parser that needs no model.
    rows = prompts_of(params.prompts, RULES)
    return plan_images(rows, generate.images_per_prompt, generate.seed, generate.limit)


def _transformer(base: Base) -> str:
    return base.family.transformer.__name__
