"""Stage `train@<adapter>`: one LoRA adapter under TACA (Eq. 12 and 13)."""

import json
import sys
from pathlib import Path

from lab.errors import LabError
from lab.params import load
from runtime.execution import stage
from taca.errors import TacaError


def main() -> None:
    with stage("train", sys.argv[1:], load, (LabError, TacaError)) as run:
        adapter = run.params.adapters[run.key]
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

    from lab.data.encode import read_encoded
    from lab.models.load import load_transformer
    from lab.training.history import write_history
    from lab.training.loop import TrainConfig, Trainer
    from lab.training.lora import add_lora, save_lora
    from taca import TacaConfig

    torch.set_num_threads(run.params.threads)
    settings = run.params.train
    base = Path("models/base") / run.params.base.name
    transformer = load_transformer(base)
    parameters = add_lora(transformer, adapter.rank, adapter.alpha, settings.lora_modules, settings.seed)
    config = TrainConfig(**settings.model_dump(exclude={"lora_modules"}))
    taca_config = TacaConfig(gamma=adapter.gamma, threshold=adapter.threshold)
    trainer = Trainer(transformer, parameters, read_encoded(Path("data/encoded")), config, taca_config, run.work)
    history = trainer.run(run.log_metrics)

    folder = run.fresh(f"models/adapters/{run.key}")
    facts = {"gamma": adapter.gamma, "threshold": adapter.threshold, "rank": adapter.rank, "alpha": adapter.alpha}
    facts |= {"base": run.params.base.name, "base_md5": run.dep_hash(base.as_posix())}
    save_lora(transformer, folder, {f"taca.{key}": str(value) for key, value in facts.items()})
    write_history(folder / "history.csv", history)


if __name__ == "__main__":
    main()
