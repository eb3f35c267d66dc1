"""Stage `generate@<arm>`: the arm's images of every prompt."""

import os
import sys
from contextlib import ExitStack
from pathlib import Path

from compbench.errors import CompbenchError
from lab.errors import LabError
from lab.params import load
from lab.params.settings import arm_settings
from runtime.execution import stage
from taca.errors import TacaError


def main() -> None:
    with stage("generate", sys.argv[1:], load, (CompbenchError, LabError, TacaError)) as run:
        generate(run)


def generate(run) -> None:
    """Writes the images in the benchmark's layout, and `index.parquet`."""
    import torch

    from compbench.tables import read_table, write_table
    from lab.generation.earlier import take_over
    from lab.generation.generate import pending
    from lab.generation.plan import SCHEMA, plan_images
    from lab.generation.sheet import contact_sheet

    torch.set_num_threads(run.params.threads)
    run.log_params(arm_settings(run.params, run.key))
    settings = run.params.generate
    firsts = run.params.arms[run.key].images_per_prompt
    planned = plan_images(
        read_table(Path("data/prompts.parquet")), settings.images_per_prompt, settings.seed, settings.limit, firsts
    )
    folder = run.fresh(f"results/images/{run.key}")
    if "TACA_EARLIER_IMAGES" in os.environ:
        take_over(Path(os.environ["TACA_EARLIER_IMAGES"]), folder, planned)
    work = pending(planned, settings.batch_size, folder)
    if work:
        draw(run, planned, work, folder)
    write_table(folder / "index.parquet", map(vars, planned), SCHEMA)
    run.log_metrics({"images": len(planned)})
    contact_sheet([folder / image.path for image in planned]).save(run.work / "samples.png")
    run.log_artifact(run.work / "samples.png")


def draw(run, planned, work, folder: Path) -> None:
    """Writes what is missing of the images: first all embeddings, then, without text encoders, the images."""
    from lab.generation.acceleration import attention_order
    from lab.generation.arm import Setup, arm_pipeline
    from lab.generation.generate import Sampling
    from lab.generation.generate import generate as make_images
    from lab.generation.guiders import guided
    from lab.generation.methods import method_of
    from lab.generation.threshold import threshold_for

    arm, settings = run.params.arms[run.key], run.params.generate
    base, lora = Path("models/base") / run.params.base.name, adapter_of(arm)
    family = check(settings, base, lora)
    family.check_drawn_guidance(f"arms.{run.key}.guidance", arm.guidance)
    setup = Setup(**{name: getattr(settings, name) for name in Setup.__dataclass_fields__})
    sampling = Sampling(
        settings.num_inference_steps,
        arm.guidance,
        settings.batch_size,
        settings.height,
        settings.width,
        None if arm.guidance_window is None else tuple(arm.guidance_window),
    )
    with attention_order(settings.attention):
        embeddings = embed(run, family, base, planned, work)
        threshold = threshold_for(base, arm.threshold, arm.threshold_tokens, settings.height, settings.width)
        acting = arm.adapter_scope, method_of(arm), arm.until
        with ExitStack() as drawing:
            pipes = []
            for _ in range(settings.workers):
                pipe = drawing.enter_context(arm_pipeline(base, lora, setup, arm.gamma, threshold, *acting))
                drawing.enter_context(guided(pipe, arm.guider, arm.guidance))
                pipes.append(pipe)
            make_images(pipes, embeddings, work, sampling, folder)


def adapter_of(arm) -> Path | None:
    """The folder of the arm's adapter; None where that is a marker of rank 0."""
    from lab.generation.adapter import WEIGHTS

    folder = Path("models/adapters") / arm.adapter
    return folder if (folder / WEIGHTS).exists() else None


def check(settings, base: Path, lora: Path | None):
    """The base's family.

    Raises:
        LabError: base, adapter, size and precision do not go together; said before anything is loaded.
    """
    from lab.generation.acceleration import check_offload
    from lab.generation.load import check_quantization, check_size
    from lab.generation.precision import check_precision, precision_of
    from lab.models.family import family_named
    from lab.models.load import part_config, transformer_class

    check_quantization(settings.quantization)
    check_offload(settings.offload)
    family = family_named(transformer_class(base), part_config(base, "transformer"))
    check_size(family, part_config(base, "vae"), settings.height, settings.width)
    if lora is not None and not settings.other_precision:
        check_precision(lora, precision_of(settings.dtype, settings.quantization))
    return family


def embed(run, family, base: Path, planned, work):
    """Embeddings of the prompts of `work`, made by text encoders that are gone afterwards."""
    from lab.generation.embeddings import embed_by_base

    settings = run.params.generate
    return embed_by_base(
        base,
        settings.dtype,
        family,
        list(dict.fromkeys(image.prompt for image in planned)),
        {image.prompt for batch in work for image in batch},
        guided=run.params.arms[run.key].guidance > 1,
        max_sequence_length=settings.max_sequence_length,
        batch_size=settings.batch_size,
        folder=run.work / "embeddings",
    )


if __name__ == "__main__":
    main()
