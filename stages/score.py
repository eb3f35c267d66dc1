"""Scores the images of one arm: `python stages/score.py <arm>`."""

import sys
from pathlib import Path

from taca.execution import stage


def main() -> None:
    with stage("score", sys.argv[1:]) as run:
        score(run)


def score(run) -> None:
    """Writes the arm's score table, the means of its categories, and the manifest of what they rest on."""
    import json

    import torch

    from taca.scoring.build import build_measures
    from taca.scoring.images import read_index
    from taca.scoring.interface import read_prompts
    from taca.scoring.manifest import build_manifest
    from taca.scoring.run import score_folder, summarize
    from taca.scoring.table import write_scores

    arm, folder = run.key, Path("results/images") / run.key
    torch.set_num_threads(run.params.threads)
    choice = chosen(run.params)
    prompts, images = read_prompts(Path("data/prompts.parquet")), read_index(folder)
    drawn = {image.prompt_index for image in images}  # not all where `generate.limit` says so
    scored = [prompt for prompt in prompts if prompt.index in drawn]
    categories = [prompt.category for prompt in scored]
    manifest = json.dumps(build_manifest(choice, scored, categories, protocol(images)), indent=2) + "\n"
    for path in json.loads(manifest)["weights"]:
        run.log_input(f"score.weights/{path}", choice.weights / path)
    measures = build_measures(categories, choice)
    rows = score_folder(folder, prompts, measures, chunks(run, manifest), run.params.score.batch_size)
    summary = summarize(rows)
    write_scores(run.fresh(f"results/scores/{arm}.parquet"), rows)
    run.fresh(f"results/scores/{arm}.manifest.json").write_text(manifest, encoding="utf-8")
    run.fresh(f"results/metrics/{arm}.json").write_text(json.dumps(summary, indent=2) + "\n")
    run.log_metrics({category: found["mean"] for category, found in summary.items()})


def chosen(params):
    """The scorers that the parameters name.

    Raises: StageError when they are to compute on a GPU, and this machine has none that can be used.
    """
    import torch

    from taca.errors import StageError
    from taca.scoring.choice import Choice
    from taca.scoring.mode import Mode

    settings = params.score
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise StageError(
            "`score.device` is cuda, but torch finds no GPU here: set it to cpu, or score where there is one."
        )
    return Choice(
        attribute=settings.attribute,
        spatial=settings.spatial,
        clip=settings.clip,
        quality=tuple(settings.quality),
        mode=Mode(settings.mode),
        weights=None if settings.weights is None else Path(settings.weights),
        base=Path("models/base") / params.base.name,
        device=settings.device,
        dtype=settings.dtype,
    )


def protocol(images) -> dict[str, dict[str, int]]:
    """How many images and prompts of each category."""
    categories = dict.fromkeys(image.category for image in images)
    return {
        category: {
            "prompts": len({image.prompt_index for image in images if image.category == category}),
            "images": sum(image.category == category for image in images),
        }
        for category in categories
    }


def chunks(run, manifest: str) -> Path:
    """Where finished chunks are kept: the weights are no dependency of the stage, so others leave other chunks."""
    import hashlib

    return run.work / "chunks" / hashlib.sha256(manifest.encode()).hexdigest()[:16]


if __name__ == "__main__":
    main()
