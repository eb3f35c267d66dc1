"""Stage `train@<adapter>`: one LoRA adapter under TACA (Eq. 12 and 13)."""

import json
import sys
from pathlib import Path

from lab.errors import LabError
from lab.params import load
from lab.params.settings import training_settings
from runtime.execution import stage
from taca.errors import TacaError

ENCODED = Path("data/encoded")


def main() -> None:
    with stage("train", sys.argv[1:], load, (LabError, TacaError)) as run:
        adapter = run.params.adapters[run.key]
        run.log_params(training_settings(run.params, run.key))
        if adapter.rank == 0:
            mark_none(run)
        else:
            train(run, adapter)


def mark_none(run) -> None:
    """Rank 0 stands for "no adapter": a marker, so that every arm has one to name."""
    folder = run.fresh(f"models/adapters/{run.key}")
    folder.mkdir(exist_ok=True)
    (folder / "none.json").write_text(json.dumps({"rank": 0}) + "\n")


def train(run, adapter) -> None:
    """Writes the adapter's weights and its loss history."""
    import torch

    from lab.publish.card import model_card
    from lab.training.frozen import check_precision, deterministic
    from lab.training.history import write_history
    from lab.training.lora import WEIGHTS, save_lora

    torch.set_num_threads(run.params.threads)
    settings = run.params.train
    check_precision(settings.precision)
    with deterministic(settings.deterministic):
        trainer = prepared(run, adapter)
        history = trainer.run(run.log_metrics, previews_of(run, trainer))

    path = f"models/adapters/{run.key}"
    folder, base = run.fresh(path), f"models/base/{run.params.base.name}"
    facts = {"gamma": adapter.gamma, "threshold": trainer.taca_config.threshold}
    facts |= {"rank": adapter.rank, "alpha": adapter.alpha}
    facts |= {"base": run.params.base.name, "base_md5": run.dep_hash(base)}
    facts |= told(settings, trainer.guidance) | ({"keep_gamma": True} if adapter.keep_gamma else {})
    save_lora(trainer.transformer, folder, {f"taca.{key}": str(value) for key, value in facts.items()})
    write_history(folder / "history.csv", history)
    run.log_model(path, str(model_card(run.key, folder / WEIGHTS, Path(base), {})))


def prepared(run, adapter):
    """The trainer of an adapter, with its base and its data."""
    from lab.data.encoded import EMPTY_CAPTION, read_buckets, read_empty_caption
    from lab.models.load import family_of_base, part_config
    from lab.training.frozen import load_frozen
    from lab.training.prepare import prepare
    from lab.training.preview import check_preview

    settings = run.params.train
    base, encoded = Path("models/base") / run.params.base.name, ENCODED
    if settings.preview is not None:
        family = family_of_base(base)
        check_preview(family, settings.preview.guidance, empty_caption=(encoded / EMPTY_CAPTION).exists())
    buckets = read_buckets(encoded)
    empty_caption = read_empty_caption(encoded) if settings.caption_dropout > 0 else None
    transformer = load_frozen(base, settings.precision)
    scheduler = part_config(base, "scheduler")
    return prepare(transformer, scheduler, buckets, adapter, settings, run.work, empty_caption)


def previews_of(run, trainer):
    """What draws preview images of the training; None where parameters ask for none."""
    from lab.data.encoded import read_empty_caption
    from lab.training.preview import PreviewConfig, Previews, load_preview_pipeline, needs_empty_caption

    settings = run.params.train
    if settings.preview is None:
        return None
    base = Path("models/base") / run.params.base.name
    config = PreviewConfig(**settings.preview.model_dump(), seed=settings.seed)
    return Previews(
        load_preview_pipeline(base, trainer.transformer, trainer.batches, settings.mixed_precision),
        trainer.batches,
        config,
        trainer.taca_config,
        settings.mixed_precision,
        read_empty_caption(ENCODED) if needs_empty_caption(trainer.family, config.guidance) else None,
        run.work / "previews",
        lambda path: run.log_artifact(path, "previews"),
    )


def told(settings, guidance: float | None) -> dict[str, object]:
    """What an adapter's file says of its training beyond Eq. 13: only what is not as the paper's loss alone has it."""
    facts = {}
    if settings.precision != "float32":
        facts["precision"] = settings.precision
    if settings.timesteps != "uniform":
        facts["timesteps"] = settings.timesteps
    if guidance is not None:
        facts["guidance"] = guidance
    return facts


if __name__ == "__main__":
    main()
