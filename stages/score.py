"""Scores the images of one arm: `python stages/score.py <arm>`."""

import sys
from pathlib import Path

from taca.execution import stage


def main() -> None:
    with stage("score", sys.argv[1:]) as run:
        score(run)


def score(run) -> None:
    """Writes the arm's score table and the means of its categories."""
    import json

    import torch

    from taca.scoring.build import build_measures
    from taca.scoring.choice import Choice
    from taca.scoring.interface import read_prompts
    from taca.scoring.run import score_folder, summarize
    from taca.scoring.table import write_scores

    arm, settings = run.key, run.params.score
    torch.set_num_threads(run.params.threads)
    prompts = read_prompts(Path("data/prompts.parquet"))
    choice = Choice(
        attribute=settings.attribute,
        spatial=settings.spatial,
        clip=settings.clip,
        base=Path("models/base") / run.params.base.name,
    )
    measures = build_measures([prompt.category for prompt in prompts], choice)
    rows = score_folder(Path("results/images") / arm, prompts, measures, run.work / "chunks", settings.batch_size)
    summary = summarize(rows)
    write_scores(run.fresh(f"results/scores/{arm}.parquet"), rows)
    run.fresh(f"results/metrics/{arm}.json").write_text(json.dumps(summary, indent=2) + "\n")
    run.log_metrics({category: found["mean"] for category, found in summary.items()})


if __name__ == "__main__":
    main()
