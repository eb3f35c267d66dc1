"""Stage `caption`: describes every sampled image."""

import sys
from pathlib import Path

from compbench.errors import CompbenchError
from lab.errors import LabError
from lab.online import go_online
from lab.params import load
from runtime.execution import stage

OUTPUT = "data/captions.parquet"
SAMPLE = Path("data/sample")


def main() -> None:
    with stage("caption", sys.argv[1:], load, (CompbenchError, LabError)) as run:
        caption(run)


def caption(run) -> None:
    """Writes one caption an image."""
    from compbench.tables import read_table, write_table

    rows = read_table(SAMPLE / "index.parquet")
    captions, schema, metrics = CAPTIONERS[run.params.caption.captioner](run, rows)
    write_table(run.fresh(OUTPUT), captions, schema)
    run.log_metrics({"captions": len(captions), **metrics})


def plainly(run, rows: list[dict]) -> tuple:
    """By the world's detector, or in the words that images came with."""
    from lab.data.captions import SCHEMA, caption_images

    return caption_images(run.params.caption.captioner, SAMPLE, rows), SCHEMA, {}


def from_table(run, rows: list[dict]) -> tuple:
    """From a table of the user's own."""
    from lab.data.captioning.table import SCHEMA, captions_from

    table = run.params.caption.table
    run.log_input("caption.table", table)
    return captions_from(Path(table), "table", rows), SCHEMA, {}


def by_endpoint(run, rows: list[dict]) -> tuple:
    """By a model that somebody serves."""
    from lab.data.captioning.endpoint import Endpoint

    return refined(run, rows, Endpoint.of(run.params.caption.model_dump()))


def by_llava(run, rows: list[dict]) -> tuple:
    """By LLaVA on this machine: naming its repository is the consent to download it."""
    go_online()
    import torch

    from lab.data.captioning.answers import place
    from lab.data.captioning.llava import Llava
    from lab.data.captioning.weights import fetch_model

    torch.set_num_threads(run.params.threads)
    settings = run.params.caption
    folder = fetch_model(place(), settings.repo, settings.revision)
    kept = {"repo", "revision", "max_tokens", "temperature", "dtype", "batch_size"}
    return refined(run, rows, Llava(folder, **settings.model_dump(include=kept)))


def refined(run, rows: list[dict], captioner) -> tuple:
    """Captions by a model, which sees the crops that stage `encode` trains on."""
    from lab.data.captioning.answers import AnswerStore, place
    from lab.data.captioning.refine import SCHEMA, metrics_of, questions_of, refine
    from lab.data.crops import sizes_of_base

    base, encode, settings = Path("models/base") / run.params.base.name, run.params.encode, run.params.caption
    sizes = sizes_of_base(base, encode.resolution, encode.aspects)
    questions = questions_of(SAMPLE, rows, settings.prompt, sizes)
    store = AnswerStore(place(), captioner.identity)
    captions = refine(settings.captioner, captioner, store, questions, rows, settings.seed)
    store.close()
    return captions, SCHEMA, metrics_of(captions)


CAPTIONERS = {"detector": plainly, "source": plainly, "table": from_table, "endpoint": by_endpoint, "llava": by_llava}

if __name__ == "__main__":
    main()
