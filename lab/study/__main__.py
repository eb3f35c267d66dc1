"""`python -m lab.study page ARM ARM` writes a study; `python -m lab.study report FOLDER FILE...` tallies answers."""

import argparse
import json
import sys
from pathlib import Path

from compbench.errors import CompbenchError
from lab.errors import LabError
from lab.study.answers import read_answers
from lab.study.page import CRITERIA, render_page
from lab.study.pairs import draw_pairs
from lab.study.table import table_markdown
from lab.study.tally import tally
from runtime.errors import StageError
from runtime.params import read_yaml

PAPER_PAIRS = 25
IMAGES, STUDIES = Path("results/images"), Path("results/study")
KEY, TABLE = "key.json", "table3.md"


def main() -> None:
    """Says where the page or the table is, or why it is not."""
    parser = argparse.ArgumentParser(prog="python -m lab.study", description=__doc__)
    commands = parser.add_subparsers(required=True)
    page = commands.add_parser("page", help="write the page of two arms")
    page.add_argument("arms", nargs="*")
    page.add_argument("--pairs", type=int, default=PAPER_PAIRS)
    page.add_argument("--seed", type=int, default=0)
    page.set_defaults(run=lambda given: write_study(given.arms, given.pairs, given.seed))
    report = commands.add_parser("report", help="tally files of answers")
    report.add_argument("study", nargs="?", type=Path)
    report.add_argument("answers", nargs="*", type=Path)
    report.set_defaults(run=lambda given: report_study(given.study, given.answers))
    given = parser.parse_args()
    try:
        print(given.run(given))
    except (CompbenchError, LabError, StageError) as error:
        sys.exit(str(error))


def write_study(arms: list[str], count: int, seed: int) -> str:
    """Writes results/study/<first>-<second>/index.html, for raters, and key.json, which raters must not see.

    Raises:
        LabError: not two arms, or arms whose images are not here or are no pairs.
        CompbenchError: an image is missing or damaged.
    """
    if len(set(arms)) != 2 or len(arms) != 2:
        raise LabError('Name two arms, the one to compare with first: make study ARMS="baseline taca-r64".')
    folders = {arm: IMAGES / arm for arm in arms}
    for arm, folder in folders.items():
        if not folder.is_dir():
            raise LabError(f"There are no images of an arm {arm} here: run `dvc repro generate@{arm}` or `dvc pull`.")
    target = STUDIES / "-".join(arms)
    if (target / KEY).exists():
        raise LabError(f"{target} holds a study that may be out with raters: move or remove that folder first.")
    pairs = draw_pairs(folders, count, seed)
    html, study = render_page(pairs, folders)
    target.mkdir(parents=True, exist_ok=True)
    (target / "index.html").write_text(html, encoding="utf-8")
    key = {
        "study": study,
        "arms": arms,
        "seed": seed,
        "images": _hashes(arms),
        "pairs": [pair.plain() for pair in pairs],
    }
    (target / KEY).write_text(json.dumps(key, indent=1) + "\n", encoding="utf-8")
    return (
        f"{target / 'index.html'} asks about {count} pairs: send it to raters, and keep {target / KEY}, which says "
        "which arm is on which side."
    )


def report_study(study: Path | None, files: list[Path]) -> str:
    """Writes the study's table3.md from files of answers, and returns it.

    Raises:
        LabError: there is no study in this folder, no file of answers, or one that is not of this study.
    """
    if study is None or not files:
        raise LabError('Name a study and files: make study-report STUDY=results/study/NAME ANSWERS="answers-*.json".')
    if not (study / KEY).exists():
        raise LabError(f"There is no {KEY} in {study}: name the folder that `make study` wrote.")
    key = json.loads((study / KEY).read_text(encoding="utf-8"))
    answers = read_answers(files, key)
    tallies = {name: tally([a for a in answers if a.criterion == name], key["arms"]) for name in CRITERIA}
    table = table_markdown(tallies, key["arms"], len({answer.rater for answer in answers}))
    provenance = ", ".join(f"{arm} {digest}" for arm, digest in key["images"].items())
    text = f"{table}\nStudy {key['study']}, seed {key['seed']}; images (md5): {provenance}.\n"
    (study / TABLE).write_text(text, encoding="utf-8")
    return text


def _hashes(arms: list[str]) -> dict[str, str]:
    """DVC's hashes of the image folders; `make run HASH=` finds the runs that made them."""
    stages = read_yaml("dvc.lock").get("stages", {}) if Path("dvc.lock").exists() else {}
    return {arm: stages[f"generate@{arm}"]["outs"][0]["md5"] for arm in arms if f"generate@{arm}" in stages}


if __name__ == "__main__":
    main()
