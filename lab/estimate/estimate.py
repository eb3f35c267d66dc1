"""The estimate of a whole experiment, a row for each stage that takes a GPU, a download or much disk."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from compbench.parsing import RULES
from lab.estimate import captioning, drawing, sampling, scoring, work
from lab.estimate.base import Base
from lab.generation.load import check_size
from lab.generation.plan import PlannedImage, plan_images
from lab.generation.precision import precision_of
from lab.params.sections import Adapter, Arm, LlavaCaption, Looked, Params, Sample
from lab.prompts import prompts_of

PIXEL = 1.5  # bytes of a PNG: photographs take 1.3 to 1.7


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
        seconds: of work without a GPU that takes long.
    """

    stage: str
    peak: int | None = 0
    flops: int | None = 0
    disk: int | None = 0
    passing: int = 0
    download: int | None = 0
    seconds: float = 0
    work: Work | None = None


def estimate(params: Params, base: Base, wanted: Callable[[str], bool] = lambda stage: True) -> Iterator[Row]:
    """The rows in the order in which stages run.

    Args:
        wanted: tells by a stage's name, such as `train@taca-r16`, whether its row is asked for.

    Raises:
        LabError: the base and the parameters do not go together.
    """
    if wanted("base"):
        download = base.size if params.base.source == "hub" else 0
        yield Row("base", disk=download, download=download)
    yield from (Row(name, disk=None, download=None) for name in _stages("fetch", params.published_adapters, wanted))
    yield from sampled(params.sample, wanted)
    yield from captioned(params, wanted)
    yield from _making_adapters(params, base, wanted)
    yield from _drawings(params, base, wanted)
    yield from _scorings(params, wanted)


def _stages(program: str, keys: Iterable[str], wanted: Callable[[str], bool]) -> dict[str, str]:
    """Keys by the names of their stages, as far as these are wanted."""
    names = {f"{program}@{key}": key for key in keys}
    return {name: key for name, key in names.items() if wanted(name)}


def sampled(sample: Sample, wanted: Callable[[str], bool]) -> Iterator[Row]:
    """The row of stage `sample`, which no base is needed for."""
    if wanted("sample") and isinstance(sample, Looked):
        download, written = sampling.fetched(sample), round(sampling.pixels(sample) * sampling.PNG)
        yield Row("sample", disk=download + written, download=download, seconds=sampling.seconds(sample))


def captioned(params: Params, wanted: Callable[[str], bool]) -> Iterator[Row]:
    """The row of stage `caption`, which no base is needed for."""
    if wanted("caption") and isinstance(params.caption, LlavaCaption):
        usage = captioning.describe(params.caption, params.sample.size)
        if usage is None:
            yield Row("caption", peak=None, flops=None, disk=None, download=None)
        else:
            yield Row("caption", usage.peak, usage.flops, disk=usage.weights, download=usage.weights)


def _making_adapters(params: Params, base: Base, wanted: Callable[[str], bool]) -> Iterator[Row]:
    trained = _stages("train", (name for name, adapter in params.adapters.items() if adapter.rank > 0), wanted)
    if not trained and not wanted("encode"):
        return
    usage, encoded = work.encode(base, params.encode)
    if wanted("encode"):
        yield _encoding(params, usage, encoded)
    for stage, name in trained.items():
        yield _training(params, base, stage, params.adapters[name], encoded)


def _encoding(params: Params, usage: work.Usage, encoded: Mapping) -> Row:
    batches = -(-params.sample.size // params.encode.batch_size)
    bytes_of_batch = sum(tensor.nbytes for tensor in encoded.values())
    disk = bytes_of_batch * params.sample.size // params.encode.batch_size
    return Row("encode", usage.peak, usage.flops * batches, disk)


def _training(params: Params, base: Base, stage: str, adapter: Adapter, encoded: Mapping) -> Row:
    settings = params.train
    usage = work.train(base, settings, adapter, encoded)
    evaluations = 1 + -(-settings.steps // settings.checkpoint_every)
    held_out = evaluations * -(-settings.held_out // settings.batch_size)
    flops = settings.steps * usage.step.flops + held_out * usage.held_out.flops
    if settings.preview is not None:
        flops += (1 + settings.steps // settings.preview.every) * usage.preview_flops
    kind = Work("train", _transformer(base), settings.precision, settings.compile)
    # In float32. The checkpoint has the optimizer's two moments besides.
    size = usage.parameters * 4
    return Row(stage, usage.peak, flops, size, passing=3 * size, work=kind)


def _drawings(params: Params, base: Base, wanted: Callable[[str], bool]) -> Iterator[Row]:
    settings, stages = params.generate, _stages("generate", params.arms, wanted)
    if not stages:
        return
    check_size(base.family, base.config("vae"), settings.height, settings.width)
    text = drawing.embed(base, settings)
    kind = Work("generate", _transformer(base), precision_of(settings.dtype, settings.quantization), settings.compile)
    seen: dict[tuple, drawing.Drawing] = {}
    rows = _prompts(params)
    for stage, name in stages.items():
        arm, planned = params.arms[name], _planned(params, rows, name)
        prompts, images = len({image.prompt for image in planned}), len(planned)
        text_flops = text.flops * -(-prompts // settings.batch_size)
        adapter = _adapter_of(params, arm)
        key = (adapter, arm.gamma, arm.guidance > 1, arm.adapter_scope)
        if key not in seen:
            seen[key] = drawing.draw(base, settings, arm, adapter, params.train.targets)
        found = seen[key]
        batch = settings.num_inference_steps * found.step_flops + found.other_flops
        flops = text_flops + batch * -(-images // settings.batch_size)
        disk = round(images * found.size[0] * found.size[1] * PIXEL)
        yield Row(stage, max(text.peak, found.peak), flops, disk, prompts * text.size, work=kind)


def _scorings(params: Params, wanted: Callable[[str], bool]) -> Iterator[Row]:
    stages = _stages("score", params.arms, wanted)
    if not stages or params.score.device != "cuda":
        return
    rows = _prompts(params)
    counted = {stage: Counter(image.category for image in _planned(params, rows, arm)) for stage, arm in stages.items()}
    usages = {stage: scoring.score(params.score, images) for stage, images in counted.items()}
    weights = next(iter(usages.values())).weights
    yield Row("weights of the scorers", disk=weights, download=weights)
    yield from (Row(stage, usage.peak, usage.flops) for stage, usage in usages.items())


def _adapter_of(params: Params, arm: Arm) -> Adapter | None:
    """The arm's adapter. One that someone else trained counts as the largest of those trained here."""
    if arm.adapter in params.published_adapters:
        return max(params.adapters.values(), key=lambda adapter: adapter.rank)
    adapter = params.adapters[arm.adapter]
    return adapter if adapter.rank > 0 else None


def _prompts(params: Params) -> list[dict]:
    """Whoever parses them, they are as many: by the parser that needs no model."""
    return prompts_of(params.prompts, RULES)


def _planned(params: Params, rows: list[dict], arm: str) -> list[PlannedImage]:
    generate, firsts = params.generate, params.arms[arm].images_per_prompt
    return plan_images(rows, generate.images_per_prompt, generate.seed, generate.limit, firsts)


def _transformer(base: Base) -> str:
    return base.family.transformer.__name__
