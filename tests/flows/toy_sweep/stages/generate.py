"""An "image" is a number: the better, the closer gamma is to 1.2. Earlier ones are taken over as they really are."""

import os
import sys
import time
from pathlib import Path

from compbench.tables import write_table
from lab.generation.earlier import take_over
from lab.generation.plan import SCHEMA, plan_images
from lab.params import load
from runtime.errors import StageError
from runtime.execution import stage


def main() -> None:
    with stage("generate", sys.argv[1:], load) as run:
        arm, settings = run.params.arms[run.key], run.params.generate
        if str(arm.gamma) == os.environ.get("TOY_FAULTY_GAMMA"):
            raise StageError("the image is black; lower `gamma`.")
        time.sleep(float(os.environ.get("TOY_GENERATE_SECONDS", 0)))
        count = run.params.prompts.per_category
        prompts = [
            {"prompt": f"{category} {number}", "category": category, "index": 1000 * place + number}
            for place, category in enumerate(("color", "texture"))
            for number in range(count)
        ]
        planned = plan_images(prompts, settings.images_per_prompt, settings.seed, settings.limit)
        folder = run.fresh(f"results/images/{run.key}")
        taken = (
            take_over(Path(os.environ["TACA_EARLIER_IMAGES"]), folder, planned)
            if "TACA_EARLIER_IMAGES" in os.environ
            else 0
        )
        trained = float(Path(f"models/adapters/{arm.adapter}/adapter.txt").read_text())
        for image in planned:
            path = folder / image.path
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_text(f"{1 - abs(arm.gamma - 1.2) + 0.1 * (trained - 1) + (image.seed * 7919 % 13) / 100}\n")
        write_table(folder / "index.parquet", map(vars, planned), SCHEMA)
        with Path(os.environ["TOY_LOG"]).open("a") as log:
            log.write(f"generate {arm.gamma} made {len(planned) - taken} took {taken}\n")


if __name__ == "__main__":
    main()
