"""Scores the images of one arm: `python -m stages.score <arm>`."""

import sys
from pathlib import Path

from compbench.errors import CompbenchError
from lab.errors import LabError
from lab.params import load
from lab.params.settings import arm_settings
from runtime.execution import stage


def main() -> None:
    with stage("score", sys.argv[1:], load, (CompbenchError, LabError)) as run:
        score(run)


def score(run) -> None:
    """Writes the arm's score table, its categories' means, the manifest of what they rest on, and thumbnails."""
    import json

    import torch

    from compbench.images import read_index
    from compbench.prompt_source import check_parses
    from compbench.run import score_folder, summarize
    from compbench.scorers.build import build_measures
    from compbench.scorers.interface import read_prompts
    from compbench.table import write_scores
    from lab.summaries import MEANS, write_summary
    from lab.thumbnails import write_thumbnails
    from lab.world.scorers import world_scorers

    arm, folder = run.key, Path("results/images") / run.key
    run.log_params(arm_settings(run.params, arm))
    torch.set_num_threads(run.params.threads)
    choice = chosen(run.params)
    prompts, images = read_prompts(Path("data/prompts.parquet")), read_index(folder)
    shown = {image.prompt_index for image in images}  # with `generate.limit` not all prompts have images
    scored = [prompt for prompt in prompts if prompt.index in shown]
    check_parses(scored, choice.mode)
    if run.params.base.source == "hub":
        fetch_weights(choice, [image.category for image in images])
    found = manifest(run.params, choice, scored, images)
    for path in found["weights"]:
        run.log_input(f"score.weights/{path}", choice.weights / path)
    base = Path("models/base") / run.params.base.name
    brought = world_scorers(base, choice.mode, choice.device)
    measures = build_measures(found["categories"], choice, brought)
    rows = score_folder(folder, prompts, measures, chunks(run, found), run.params.score.batch_size)
    summary = summarize(rows)
    write_scores(run.fresh(f"results/scores/{arm}.parquet"), rows)
    run.fresh(f"results/scores/{arm}.manifest.json").write_text(json.dumps(found, indent=2) + "\n")
    run.fresh(f"results/metrics/{arm}.json").write_text(json.dumps(summary, indent=2) + "\n")
    write_thumbnails(run.fresh(f"results/thumbnails/{arm}"), folder, images)
    means = {category: of_category["mean"] for category, of_category in summary.items()}
    write_summary(run.fresh(f"{MEANS}/{arm}"), means)
    run.log_metrics(means)


def chosen(params):
    """The scorers that the parameters name.

    Raises: LabError when they are to compute on a GPU, and this machine has none that can be used.
    """
    import torch

    from compbench.scorers.choice import Choice
    from compbench.scorers.mode import Mode

    settings = params.score
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise LabError("Torch finds no GPU here: set `score.device` to cpu, or score where there is one.")
    return Choice(
        attribute=settings.attribute,
        spatial=settings.spatial,
        clip=settings.clip,
        quality=tuple(settings.quality),
        mode=Mode(settings.mode),
        weights=None if settings.weights is None else Path(settings.weights),
        extra_tensors=settings.extra_tensors,
        device=settings.device,
        dtype=settings.dtype,
    )


def fetch_weights(choice, categories) -> None:
    """Brings the scorers' weights that are missing: a base from the hub is the consent to download what judges it."""
    from compbench.manifest import weights_needed
    from compbench.weights.fetch import fetch_missing
    from compbench.weights.registry import files_of
    from compbench.weights.web import Web

    fetch_missing(files_of(weights_needed(choice, categories)), choice.weights, Web())


def manifest(params, choice, prompts, images) -> dict:
    """What the scores of `images`, which show `prompts`, rest on."""
    from compbench.manifest import build_manifest
    from compbench.protocol import describe_protocol

    categories = list(dict.fromkeys(image.category for image in images))
    rows = {category: [image for image in images if image.category == category] for category in categories}
    return build_manifest(choice, prompts, categories, describe_protocol(params.prompts.source, rows))


def chunks(run, found: dict) -> Path:
    """Where finished chunks are kept: the weights are no dependency of the stage, so other weights get other chunks."""
    import hashlib
    import json

    return run.work / "chunks" / hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]


if __name__ == "__main__":
    main()
