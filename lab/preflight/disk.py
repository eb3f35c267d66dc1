"""Disks: what stages will write, and DVC's copy of it."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from compbench.scorers.interface import Prompt
from lab.errors import LabError
from lab.params import Params
from lab.preflight.ahead import Ahead
from lab.preflight.base import Base
from lab.preflight.findings import Findings, Space
from lab.preflight.fit import family_of

GB = 1e9
PIXEL = 1.5  # bytes of a PNG: photographs take 1.3 to 1.7
LINKS = {"reflink", "hardlink", "symlink"}  # kinds of DVC's cache.type that take no place twice


def check_disk(
    params: Params,
    root: Path,
    ahead: Ahead,
    base: Base | None,
    prompts: Sequence[Prompt],
    found: Findings,
) -> None:
    """Compares what is free on each disk with what will be written to it, downloads that were found before included."""
    cache, copies = _dvc_cache(root)
    space = list(found.space)
    if base is not None and base.read is not None:
        outputs = list(_outputs(params, root, ahead, base, prompts))
        space += outputs
        if copies:
            space += [Space(cache, each.size, f"DVC's copy of {each.what}") for each in outputs]
    disks: dict[int, list[Space]] = {}
    for each in space:
        disks.setdefault(_there(each.folder).stat().st_dev, []).append(each)
    for on_disk in disks.values():
        with found.of("disk"):
            _check(on_disk)


def _check(space: Sequence[Space]) -> None:
    needed, free = sum(each.size for each in space), shutil.disk_usage(_there(space[0].folder)).free
    if needed > free:
        listed = ", ".join(f"{each.what} {each.size / GB:.1f}" for each in sorted(space, key=lambda each: -each.size))
        raise LabError(
            f"{_there(space[0].folder)} has {free / GB:.1f} GB free, and {needed / GB:.1f} GB are needed ({listed}): "
            "free some (`make gc` shows what no run refers to), set HF_HOME to a larger disk for what is downloaded, "
            "or `dvc cache dir --local` for DVC's copies."
        )


def _outputs(params: Params, root: Path, ahead: Ahead, base: Base, prompts: Sequence[Prompt]) -> Iterator[Space]:
    """The two outputs that fill disks, as far as no killed stage has left them in its work folder."""
    transformer = base.read("transformer/config.json")
    scale = 2 ** (len(base.read("vae/config.json")["block_out_channels"]) - 1)
    side = family_of(base).default_size * scale
    if ahead.runs("encode"):
        settings = params.encode
        width = 4 if settings.dtype == "float32" else 2
        text = settings.max_sequence_length * transformer["joint_attention_dim"] * width
        latents = family_of(base).latent_channels * ((settings.resolution or side) // scale) ** 2 * 4
        yield _rest(root, "encode", "data/encoded", params.sample.size * (text + latents))
    generate = params.generate
    pixels = (generate.height or side) * (generate.width or side)
    for arm in ahead.keys("generate"):
        images = _limited(prompts, generate.limit) * generate.images_per_prompt
        yield _rest(root, f"generate-{arm}", f"results/images/{arm}", images * pixels * PIXEL)


def _limited(prompts: Sequence[Prompt], limit: int | None) -> int:
    """How many prompts are drawn: the first `limit` of each category."""
    categories = [prompt.category for prompt in prompts]
    return sum(min(categories.count(category), limit or len(categories)) for category in set(categories))


def _rest(root: Path, stage: str, output: str, size: float) -> Space:
    """What a stage has still to write of `size` bytes."""
    begun = (root / ".work").glob(f"{stage}-{'[0-9a-f]' * 12}/outs/{output}/**/*")
    written = sum(path.stat().st_size for path in begun if path.is_file())
    return Space(root / output, max(0.0, size - written), output)


def _dvc_cache(root: Path) -> tuple[Path, bool]:
    """DVC's cache, and whether what it takes over is there twice from then on."""
    from dvc.config import Config

    settings = Config(str(root / ".dvc")).read()["cache"]
    cache = Path(settings.get("dir", root / ".dvc" / "cache"))
    same_disk = _there(cache).stat().st_dev == root.stat().st_dev
    return cache, not same_disk or LINKS.isdisjoint(settings.get("type", "reflink,copy").split(","))


def _there(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
