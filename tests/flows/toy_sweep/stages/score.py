"""A score is the number in the image."""

import json
import sys
from pathlib import Path

from compbench.manifest import build_manifest
from compbench.run import summarize
from compbench.scorers.choice import Choice
from compbench.scorers.interface import SCORE_METRICS, Prompt
from compbench.table import ScoreRow, scores_by_prompt, write_scores
from compbench.tables import read_table
from lab.params import load
from runtime.execution import stage


def main() -> None:
    with stage("score", sys.argv[1:], load) as run:
        folder = Path(f"results/images/{run.key}")
        rows = []
        for image in read_table(folder / "index.parquet"):
            facts = {key: image[key] for key in ("index", "prompt_index", "prompt", "category", "path")}
            score = float((folder / image["path"]).read_text())
            rows.append(ScoreRow(**facts, metric=SCORE_METRICS[image["category"]], score=score))
        write_scores(run.fresh(f"results/scores/{run.key}.parquet"), rows)
        prompts = [Prompt(row.prompt_index, row.prompt, row.category, parser="world") for row in rows]
        choice = Choice(attribute="detector", spatial="detector", clip="base")
        found = build_manifest(choice, prompts, [row.category for row in rows], {"label": "numbers"})
        run.fresh(f"results/scores/{run.key}.manifest.json").write_text(json.dumps(found))
        run.fresh(f"results/metrics/{run.key}.json").write_text(json.dumps(summarize(scores_by_prompt(rows))) + "\n")


if __name__ == "__main__":
    main()
