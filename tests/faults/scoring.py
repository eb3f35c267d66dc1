"""Faults of scores and the report, in the pipeline and as `python -m compbench`."""

from tests.faults.fault import Fault, Place, both, cut, edited, removed, written

SCORE, REPORT = "python -m stages.score taca-r16", "python -m stages.report"
IMAGES = "results/images/taca-r16"
OWN = "python -m compbench {images} --category color"


def image(place: Place) -> str:
    return next((place.root / IMAGES).rglob("*_*.png")).relative_to(place.root).as_posix()


def compbench(more: str = "", images: str = f"{IMAGES}") -> str:
    return f"python -m compbench {images} --category color --images-per-prompt 1 --prompts data/prompts.parquet {more}".strip()


FAULTS = [
    Fault("an image that is gone", SCORE, "", lambda place: (place.root / image(place)).unlink()),
    Fault("an image that is cut off", SCORE, "", lambda place: cut(image(place))(place)),
    Fault("an index of images that is damaged", SCORE, "", cut(f"{IMAGES}/index.parquet")),
    Fault("prompts of another table than the images'", SCORE, "", lambda place: other_prompts(place)),
    Fault("a score on a GPU that is not there", SCORE, "", edited({"score.device": "cuda"})),
    Fault("weights that are not there", SCORE, "", edited({"score.attribute": "blip-vqa", "score.weights": "weights"})),
    Fault("one prompt of a category", SCORE, "", lambda place: one_prompt(place)),
    Fault(
        "quality metrics that are not installed",
        SCORE,
        "",
        edited({"score.quality": ["musiq"], "score.weights": "weights"}),
    ),
    Fault("scores of an arm that are gone", REPORT, "", removed("results/scores/taca-r16.parquet")),
    Fault("scores of an arm that are damaged", REPORT, "", cut("results/scores/taca-r16.parquet")),
    Fault("a manifest of scores that is gone", REPORT, "", removed("results/scores/taca-r16.manifest.json")),
    Fault("a manifest of scores that is no JSON", REPORT, "", written("results/scores/taca-r16.manifest.json", "{")),
    Fault("arms scored on different prompts", REPORT, "", lambda place: fewer_scores(place)),
    Fault(
        "an image of the report's grid that is gone",
        REPORT,
        "",
        lambda place: [p.unlink() for p in (place.root / IMAGES).rglob("*_*.png")],
    ),
    Fault("an adapter's history that is gone", REPORT, "", removed("models/adapters/taca-r16/history.csv")),
    Fault("compbench on a folder that is not there", compbench(images="nothing"), ""),
    Fault("compbench on a folder without samples", compbench(images="stages"), ""),
    Fault("compbench with a table of prompts that is damaged", compbench(), "", cut("data/prompts.parquet")),
    Fault("compbench with prompts that are not there", compbench("--prompts prompts.txt"), ""),
    Fault("compbench without its weights", compbench(), ""),
    Fault(
        "compbench with fewer images than its protocol has",
        f"python -m compbench {IMAGES} --category color --prompts data/prompts.parquet",
        "",
    ),
    Fault("compbench on a device that is not there", compbench("--device cuda"), ""),
    Fault("compbench on a device that is none", compbench("--device gpu"), ""),
    Fault(
        "compbench with a file among the images that is none",
        compbench(),
        "",
        written(f"{IMAGES}/color/samples/holiday.png", b"x"),
    ),
    Fault(
        "compbench with an image of another prompt",
        compbench(),
        "",
        written(f"{IMAGES}/color/samples/a green car_000900.png", b"x"),
    ),
    Fault(
        "compbench with an image that is damaged",
        compbench("--weights data"),
        "",
        lambda place: cut(image(place))(place),
    ),
    Fault("compbench with a parser for a table", compbench("--parser rules"), ""),
    Fault("compbench.weights without a network", "python -m compbench.weights color", ""),
    Fault("compbench.weights of a category that is none", "python -m compbench.weights colour", ""),
    Fault("compbench.weights from a folder without them", "python -m compbench.weights color --from stages", ""),
    Fault("compbench.weights from a folder that is not there", "python -m compbench.weights color --from nothing", ""),
    Fault(
        "the preflight without a scorer's weights",
        "python -m lab.preflight",
        "",
        edited({"score.attribute": "blip-vqa", "score.weights": "weights"}),
        among=True,
    ),
    Fault("the preflight of wrong parameters", "python -m lab.preflight", "", edited({"train.steps": 0})),
]


def other_prompts(place: Place) -> None:
    place.edit({})
    import io

    import pyarrow.parquet as pq

    table = pq.read_table(place.root / "data/prompts.parquet")
    file = io.BytesIO()
    pq.write_table(table.slice(0, 3), file)
    place.write("data/prompts.parquet", file.getvalue())


def one_prompt(place: Place) -> None:
    import io

    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    path = f"{IMAGES}/index.parquet"
    table = pq.read_table(place.root / path)
    first = table["prompt_index"][0].as_py()
    kept = table.filter(
        pc.or_(pc.equal(table["prompt_index"], first), pc.not_equal(table["category"], table["category"][0]))
    )
    file = io.BytesIO()
    pq.write_table(kept, file)
    place.write(path, file.getvalue())


def fewer_scores(place: Place) -> None:
    import io

    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    path = "results/scores/taca-r16.parquet"
    table = pq.read_table(place.root / path)
    file = io.BytesIO()
    pq.write_table(table.filter(pc.not_equal(table["prompt_index"], table["prompt_index"][0])), file)
    place.write(path, file.getvalue())
