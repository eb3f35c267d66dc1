"""A score is the number in the image."""

import json
import sys
from pathlib import Path

from taca.data.tables import read_table
from taca.execution import stage
from taca.scoring.interface import SCORE_METRICS
from taca.scoring.run import summarize
from taca.scoring.table import ScoreRow, write_scores


def main() -> None:
    with stage("score", sys.argv[1:]) as run:
        folder = Path(f"results/images/{run.key}")
        rows = []
        for image in read_table(folder / "index.parquet"):
            facts = {key: image[key] for key in ("index", "prompt_index", "prompt", "category", "path")}
            score = float((folder / image["path"]).read_text())
            rows.append(ScoreRow(**facts, metric=SCORE_METRICS[image["category"]], score=score))
        write_scores(run.fresh(f"results/scores/{run.key}.parquet"), rows)
        run.fresh(f"results/metrics/{run.key}.json").write_text(json.dumps(summarize(rows)) + "\n")


if __name__ == "__main__":
    main()
