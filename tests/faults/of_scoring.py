"""Faults of scores and the report, in the pipeline and as `python -m compbench`."""

from tests.faults.fault import Fault, Place, cut, edited, removed, written

SCORE, REPORT = "python -m stages.score taca-r16", "python -m stages.report"
IMAGES = "results/images/taca-r16"
OWN = "python -m compbench {images} --category color"


def image(place: Place) -> str:
    return next((place.root / IMAGES).rglob("*_*.png")).relative_to(place.root).as_posix()


def compbench(more: str = "", images: str = f"{IMAGES}") -> str:
    options = "--category color --images-per-prompt 1 --prompts data/prompts.parquet"
    return f"python -m compbench {images} {options} {more}".strip()


FAULTS = [
    Fault(
        "an image that is gone",
        SCORE,
        (
            "score@taca-r16: The image results/images/taca-r16/shape/samples/….png "
            "does not exist: delete the folder and generate its images again."
        ),
        lambda place: (place.root / image(place)).unlink(),
        recorded=True,
    ),
    Fault(
        "an image that is cut off",
        SCORE,
        (
            "score@taca-r16: The image results/images/taca-r16/shape/samples/….png is "
            "damaged or cut short, or of a kind that Pillow cannot read: delete the folder and generate its "
            "images again."
        ),
        lambda place: cut(image(place))(place),
        recorded=True,
    ),
    Fault(
        "an index of images that is damaged",
        SCORE,
        "score@taca-r16: The table results/images/taca-r16/index.parquet cannot be read (…): make it again.",
        cut(f"{IMAGES}/index.parquet"),
        recorded=True,
    ),
    Fault(
        "prompts of another table than the images'",
        SCORE,
        (
            "score@taca-r16: results/images/taca-r16/shape/samples/….png was made for "
            'prompt …, "…" (shape), which is not in the prompts table: delete the folder and '
            "generate its images again."
        ),
        lambda place: other_prompts(place),
        recorded=True,
    ),
    Fault(
        "a score on a GPU that is not there",
        SCORE,
        "score@taca-r16: Torch finds no GPU here: set `score.device` to cpu, or score where there is one.",
        edited({"score.device": "cuda"}),
        recorded=True,
    ),
    Fault(
        "weights that are not there",
        SCORE,
        (
            "score@taca-r16: weights lacks blip/model_base_vqa_capfilt_large.pth, blip/vocab.txt: fetch with "
            "`python -m compbench.weights color shape texture`, which can also take them from a folder (--from)."
        ),
        edited({"score.attribute": "blip-vqa", "score.weights": "weights"}),
        recorded=True,
    ),
    Fault(
        "one prompt of a category",
        SCORE,
        (
            "score@taca-r16: results/images/taca-r16/color/samples/….png is not "
            "listed in the folder's index.parquet: move it out of the folder."
        ),
        lambda place: one_prompt(place),
        recorded=True,
    ),
    Fault(
        "quality metrics that are not installed",
        SCORE,
        (
            "score@taca-r16: weights lacks quality/musiq_koniq_ckpt-e95806b9.pth, quality/ckpt_koniq10k.pt: fetch"
            " with `python -m compbench.weights quality`, which can also take them from a folder (--from)."
        ),
        edited({"score.quality": ["musiq"], "score.weights": "weights"}),
        recorded=True,
    ),
    Fault(
        "scores of an arm that are gone",
        REPORT,
        (
            "report: results/scores/taca-r16.parquet is missing; run `dvc repro`, which makes what a stage reads "
            "before the stage."
        ),
        removed("results/scores/taca-r16.parquet"),
        recorded=True,
    ),
    Fault(
        "scores of an arm that are damaged",
        REPORT,
        "report: The table results/scores/taca-r16.parquet cannot be read (…): make it again.",
        cut("results/scores/taca-r16.parquet"),
        recorded=True,
    ),
    Fault(
        "a manifest of scores that is gone",
        REPORT,
        (
            "report: results/scores/taca-r16.manifest.json is missing; run `dvc repro`, which makes what a stage "
            "reads before the stage."
        ),
        removed("results/scores/taca-r16.manifest.json"),
        recorded=True,
    ),
    Fault(
        "a manifest of scores that is no JSON",
        REPORT,
        "report: The manifest results/scores/taca-r16.manifest.json cannot be read (…): score that arm again.",
        written("results/scores/taca-r16.manifest.json", "{"),
        recorded=True,
    ),
    Fault(
        "arms scored on different prompts",
        REPORT,
        (
            "report: Arms can only be compared on the same prompts, but prompt 0 was scored in only one of the two: "
            "score both again."
        ),
        lambda place: fewer_scores(place),
        recorded=True,
    ),
    Fault(
        "an adapter's history that is gone",
        REPORT,
        (
            "report: models/adapters/taca-r16/history.csv is missing; run `dvc repro`, which makes what a stage "
            "reads before the stage."
        ),
        removed("models/adapters/taca-r16/history.csv"),
        recorded=True,
    ),
    Fault(
        "compbench on a folder that is not there",
        compbench(images="nothing"),
        (
            "The folder …nothing/color/samples does not exist: give one that holds color/samples, or, for one "
            "category alone, samples."
        ),
    ),
    Fault(
        "compbench on a folder without samples",
        compbench(images="stages"),
        (
            "The folder …stages/color/samples does not exist: give one that holds color/samples, or, for one "
            "category alone, samples."
        ),
    ),
    Fault(
        "compbench with a table of prompts that is damaged",
        compbench(),
        "The table data/prompts.parquet cannot be read (…): make it again.",
        cut("data/prompts.parquet"),
    ),
    Fault(
        "compbench with prompts that are not there",
        compbench("--prompts prompts.txt"),
        (
            "The file prompts.txt cannot be read (No such file or directory): give one that can; --prompts must "
            "be compbench, a table of the prompts stage (.parquet), or a text file of one prompt a line."
        ),
    ),
    Fault(
        "compbench without its weights",
        compbench(),
        (
            "weights lacks blip/model_base_vqa_capfilt_large.pth, blip/vocab.txt: fetch with `python -m "
            "compbench.weights color`, which can also take them from a folder (--from)."
        ),
    ),
    Fault(
        "compbench with fewer images than its protocol has",
        f"python -m compbench {IMAGES} --category color --prompts data/prompts.parquet",
        (
            '18 of 20 images of color are missing (10 for each of 2 prompts), the first of them image 2 of "…": '
            "make them, or score what is there with --partial, or with "
            "--images-per-prompt N if there are N of each; results then say that this is not the official "
            "protocol."
        ),
    ),
    Fault(
        "compbench on a device that is not there",
        compbench("--device cuda"),
        "There is no device 'cuda' here (…): leave --device out, or say cpu.",
    ),
    Fault(
        "compbench on a device that is none",
        compbench("--device gpu"),
        "There is no device 'gpu' here (Expected one of …): leave --device out, or say cpu.",
    ),
    Fault(
        "compbench with a file among the images that is none",
        compbench(),
        (
            "…results/images/taca-r16/color/samples/holiday.png is not named {prompt}_{index:06d}.png as the "
            "benchmark's images are: rename it, or move it out of the folder."
        ),
        written(f"{IMAGES}/color/samples/holiday.png", b"x"),
    ),
    Fault(
        "compbench with an image of another prompt",
        compbench(),
        (
            '…results/images/taca-r16/color/samples/a green car_000900.png shows "a green car", which is no '
            "prompt of color: move it out of the folder, or give its prompts with --prompts."
        ),
        written(f"{IMAGES}/color/samples/a green car_000900.png", b"x"),
    ),
    Fault(
        "compbench with an image that is damaged",
        compbench("--weights data"),
        (
            "data lacks blip/model_base_vqa_capfilt_large.pth, blip/vocab.txt: fetch with `python -m "
            "compbench.weights color --weights data`, which can also take them from a folder (--from)."
        ),
        lambda place: cut(image(place))(place),
    ),
    Fault(
        "compbench with a parser for a table",
        compbench("--parser rules"),
        ("data/prompts.parquet already has its prompts' parses: leave --parser out, or make the table again with it."),
    ),
    Fault(
        "compbench.weights without a network",
        "python -m compbench.weights color",
        (
            "HF_HUB_OFFLINE is set, so blip/model_base_vqa_capfilt_large.pth, blip/vocab.txt cannot be fetched: "
            "give a folder that holds them with --from FOLDER, or say HF_HUB_OFFLINE=0 before the command."
        ),
    ),
    Fault(
        "compbench.weights of a category that is none",
        "python -m compbench.weights colour",
        (
            "There are no weights for 'colour'; say one or more of color, shape, texture, spatial, 3d_spatial, "
            "numeracy, non_spatial, complex, quality."
        ),
    ),
    Fault(
        "compbench.weights from a folder without them",
        "python -m compbench.weights color --from stages",
        (
            "stages/blip/model_base_vqa_capfilt_large.pth does not exist: save … under this name, or give another"
            " folder to --from."
        ),
        changes=("weights/.fetching",),  # the lock
    ),
    Fault(
        "compbench.weights from a folder that is not there",
        "python -m compbench.weights color --from nothing",
        (
            "nothing/blip/model_base_vqa_capfilt_large.pth does not exist: save … under this name, or give "
            "another folder to --from."
        ),
        changes=("weights/.fetching",),  # the lock
    ),
    Fault(
        "the preflight without a scorer's weights",
        "python -m lab.preflight",
        (
            "- score: weights lacks …: fetch with `python -m compbench.weights color shape texture`, which can "
            "also take them from a folder (--from)."
        ),
        edited({"score.attribute": "blip-vqa", "score.weights": "weights"}),
        among=True,
    ),
    Fault(
        "the preflight of wrong parameters",
        "python -m lab.preflight",
        "params.yaml: `train.steps` is 0, but must be an integer of at least 1.",
        edited({"train.steps": 0}),
        status=2,
    ),
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
