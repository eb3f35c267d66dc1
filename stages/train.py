"""Stage `train@<adapter>`: one LoRA adapter under TACA (Eq. 12 and 13)."""

import json
import sys
from pathlib import Path

from lab.errors import LabError
from lab.params import load
from lab.params.settings import training_settings
from runtime.execution import stage
from taca.errors import TacaError


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
        history = trainer.run(run.log_metrics)

    path = f"models/adapters/{run.key}"
    folder, base = run.fresh(path), f"models/base/{run.params.base.name}"
    facts = {"gamma": adapter.gamma, "threshold": adapter.threshold, "rank": adapter.rank, "alpha": adapter.alpha}
    facts |= {"base": run.params.base.name, "base_md5": run.dep_hash(base)}
    facts |= told(settings, trainer.guidance)
    save_lora(trainer.transformer, folder, {f"taca.{key}": str(value) for key, value in facts.items()})
    write_history(folder / "history.csv", history)
    run.log_model(path, str(model_card(run.key, folder / WEIGHTS, Path(base), {})))


def prepared(run, adapter):
    """The trainer of an adapter, with its base and its data."""
    from lab.data.encoded import read_buckets, read_empty_caption
    from lab.models.load import part_config
    from lab.training.frozen import load_frozen
    from lab.training.prepare import prepare

    settings = run.params.train
    base, encoded = Path("models/base") / run.params.base.name, Path("data/encoded")
    buckets = read_buckets(encoded)
    empty_caption = read_empty_caption(encoded) if settings.caption_dropout > 0 else None
    transformer = load_frozen(base, settings.precision)
    scheduler = part_config(base, "scheduler")
    return prepare(transformer, scheduler, buckets, adapter, settings, run.work, empty_caption)


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
