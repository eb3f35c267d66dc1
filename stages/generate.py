"""Stage `generate@<arm>`: the arm's images of every prompt."""

import os
import sys
from contextlib import ExitStack
from pathlib import Path

from lab.errors import LabError
from lab.params import load
from runtime.execution import stage
from taca.errors import TacaError


def main() -> None:
    with stage("generate", sys.argv[1:], load, (LabError, TacaError)) as run:
        generate(run)


def generate(run) -> None:
    """Writes the images in the benchmark's layout, and `index.parquet`."""
    import torch

    from compbench.tables import read_table, write_table
    from lab.generation.adapter import adapter
    from lab.generation.earlier import take_over
    from lab.generation.generate import Sampling
    from lab.generation.generate import generate as make_images
    from lab.generation.plan import SCHEMA, plan_images
    from lab.generation.sheet import contact_sheet
    from lab.models.load import load_base
    from taca import TacaConfig, taca

    torch.set_num_threads(run.params.threads)
    arm, settings = run.params.arms[run.key], run.params.generate
    planned = plan_images(
        read_table(Path("data/prompts.parquet")), settings.images_per_prompt, settings.seed, settings.limit
    )
    pipe = load_base(Path("models/base") / run.params.base.name, settings.dtype)
    sampling = Sampling(settings.num_inference_steps, arm.guidance, settings.max_sequence_length, settings.batch_size)
    folder = run.fresh(f"results/images/{run.key}")
    if "TACA_EARLIER_IMAGES" in os.environ:
        take_over(Path(os.environ["TACA_EARLIER_IMAGES"]), folder, planned)
    with ExitStack() as stack:
        name = None
        if run.params.adapters[arm.adapter].rank > 0:
            name = stack.enter_context(adapter(pipe, Path("models/adapters") / arm.adapter))
        early = name if arm.adapter_scope == "early" else None
        stack.enter_context(taca(pipe, TacaConfig(gamma=arm.gamma, threshold=arm.threshold, adapter=early)))
        make_images(pipe, planned, sampling, folder)
    write_table(folder / "index.parquet", map(vars, planned), SCHEMA)
    run.log_metrics({"images": len(planned)})
    contact_sheet([folder / image.path for image in planned]).save(run.work / "samples.png")
    run.log_artifact(run.work / "samples.png")


if __name__ == "__main__":
    main()
