"""The sections of docs/benchmarks.md on the published scorers."""

from benchmarks.markdown import line

# Multiply-adds of one head for one proposal: a linear layer from 7 x 7 x 256 to 1024; for RS200 four 3 x 3 convolutions
# before it, for the others a second linear layer after it; then 723 classes, and 4 numbers of a box for all classes
# together (UniDet) or for each (torchvision).
_FIRST = 7 * 7 * 256 * 1024
MULTIPLY_ADDS = {
    ("R50", "ours"): _FIRST + 1024 * 1024 + 1024 * (723 + 4),
    ("RS200", "ours"): 4 * 9 * 256 * 256 * 7 * 7 + _FIRST + 1024 * (723 + 4),
    ("R50", "plain"): _FIRST + 1024 * 1024 + 1024 * 723 * 5,
    ("RS200", "plain"): _FIRST + 1024 * 1024 + 1024 * 723 * 5,
}
STAGES = {"ours": 3, "plain": 1}

BLIP = """\
CPU seconds in one thread, which do not depend on other programs on the machine. `plain` is the benchmark's own
procedure, written from its description: eight passes, each of which loads the model, encodes every image and asks even
where there is no question. `ours` loads once, encodes an image once and asks only the existing questions. Random
weights of the published size; the ratio is `plain` / `ours`."""

UNIDET = """\
Median CPU seconds in one thread for an image of 480 x 480 pixels; random weights of the published size. `plain` is
torchvision's Faster R-CNN with the same backbone, anchors, 1000 proposals and number of classes. UniDet takes longer as
a whole: `plain` has one head, UniDet a cascade of three. These three stages, and RS200's four convolutions in each,
cannot be left out if the boxes are to be those of the published weights. The table therefore also has the time of one
stage: of the time without the backbone, a third for UniDet and all of it for torchvision, in seconds and in seconds for
10^9 multiply-adds of the head."""

WHAT = {
    "load": "loading",
    "images_alone": "images, {images} of them",
    "whole": "both",
    "whole_extrapolated_to_100_images": "both, extrapolated to 100 images",
}


def blip_lines(report: dict) -> list[str]:
    """From benchmarks.blip_vqa's report."""
    rows = [
        line([what.format(**report), *(_shown(report[key][way]) for way in ("plain", "ours", "ratio"))])
        for key, what in WHAT.items()
    ]
    head = [line(["", "plain, s", "ours, s", "ratio"]), line(["---"] * 4)]
    difference = f"Scores of the two differ by at most {report['largest_difference_of_scores']:g}."
    asked = f"{report['questions_per_image']} questions an image. {difference}"
    return [BLIP, "", *head, *rows, "", asked]


def unidet_lines(report: dict) -> list[str]:
    """From benchmarks.unidet's report."""
    header = ["model", "", "whole, s", "backbone, s", "rest, s", "stages", "s a stage", "s / 10^9 multiply-adds"]
    rows = [line(_unidet_row(row, way)) for row in report["unidet"] for way in ("plain", "ours")]
    return [UNIDET, "", line(header), line(["---"] * len(header)), *rows]


def _unidet_row(row: dict, way: str) -> list[str]:
    whole, backbone, rest = row["median_s"][way], row["median_s"]["backbone"], row["rest_s"][way]
    stage = rest / STAGES[way]
    proposals = row["counts"]["proposals" if way == "ours" else "proposals_plain"]
    work = MULTIPLY_ADDS[row["model"], way] * proposals / 1e9
    figures = [_shown(seconds) for seconds in (whole, backbone, rest)]
    return [row["model"], way, *figures, str(STAGES[way]), _shown(stage), f"{stage / work:.3f}"]


def _shown(figure: float) -> str:
    """Three digits, and no exponent."""
    return f"{figure:.0f}" if figure >= 100 else f"{figure:#.3g}"
