"""Stage `analyze`: the paper's figures of attention and predictions, step by step."""

import sys
from pathlib import Path

from compbench.errors import CompbenchError
from lab.errors import LabError
from lab.params import load
from runtime.execution import stage
from taca.errors import TacaError


def main() -> None:
    with stage("analyze", sys.argv[1:], load, (CompbenchError, LabError, TacaError)) as run:
        analyze(run)


def analyze(run) -> None:
    """Draws the first prompts by the baseline, by TACA and with an adapter; writes figures and their numbers."""
    import torch

    from compbench.tables import read_table
    from lab.analysis.drawing import Studio, embedded, first_of_each
    from lab.analysis.measure import Choice, measure
    from lab.analysis.write import curves, write_analysis
    from lab.generation.acceleration import attention_order
    from lab.generation.arm import Setup
    from lab.generation.generate import Sampling
    from lab.generation.plan import plan_images
    from stages.generate import adapter_of, check

    settings, generate = run.params.analyze, run.params.generate
    torch.set_num_threads(run.params.threads)
    base, lora = Path("models/base") / run.params.base.name, adapter_of(settings)
    family = check(generate.model_copy(update={"dtype": settings.dtype}), base, lora)
    family.check_drawn_guidance("analyze.guidance", settings.guidance)
    rows = read_table(Path("data/prompts.parquet"))
    images = first_of_each(plan_images(rows, generate.images_per_prompt, generate.seed, firsts=1), settings.prompts)
    sampling = Sampling(
        generate.num_inference_steps, settings.guidance, generate.batch_size, generate.height, generate.width
    )
    choice = Choice(settings.gamma, settings.threshold, tuple(settings.gammas), tuple(settings.thresholds), lora)
    scorer = clip(run.params, base)
    with attention_order(generate.attention):
        embeddings = embedded(
            base,
            family,
            images,
            settings.dtype,
            settings.guidance,
            generate.max_sequence_length,
            run.work / "embeddings",
        )
        setup = Setup(settings.dtype, generate.quantization, compile=False, offload=generate.offload)
        analysis = measure(Studio(base, setup, sampling, embeddings), images, choice, scorer)
    write_analysis(run.fresh("results/analysis"), analysis, choice)
    for step, metrics in enumerate(curves(analysis, choice), start=1):
        run.log_metrics(metrics, step)


def clip(params, base: Path):
    """The CLIP model that `score.clip` names, where the base computes; a hub's base is the consent to download it."""
    from compbench.scorers.clip import ClipScorer
    from compbench.weights.fetch import fetch_missing
    from compbench.weights.registry import files_of
    from compbench.weights.web import Web
    from lab.models.load import device_of

    device = device_of(base)
    if params.score.clip == "base":
        return ClipScorer.from_folder(base / "clip", device)
    weights = Path(params.score.weights)
    if params.base.source == "hub":
        fetch_missing(files_of(["non_spatial"]), weights, Web())
    return ClipScorer.from_weights(weights, device)


if __name__ == "__main__":
    main()
