"""A training step of the product's own loop: seconds, memory, the GPU's busy share, and what TACA adds."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from ruamel.yaml import YAML
from safetensors.torch import save_file

from benchmarks.gpu.busy import Busy, memory, reset_memory
from benchmarks.gpu.models import SCHEDULERS, random_transformer
from benchmarks.gpu.scale import Scale
from lab.data.encoded import read_buckets
from lab.params import Params, validate
from lab.params.profile import OVERLAYS, PROFILES, compose
from lab.training import loop
from lab.training.frozen import deterministic
from lab.training.loop import Trainer
from lab.training.prepare import prepare
from taca import TacaConfig

WINDOWS = 4  # the first warms up, the last is profiled


class Case(NamedTuple):
    """A model, what it is trained with, gammas in the order in which they are measured, and the adapter's format."""

    model: str
    params: Params
    changes: dict
    rank: int
    gammas: tuple[float, ...]
    adapter: torch.dtype


def profile_params(name: str, *overlays: str) -> Params:
    """The parameters of a profile with its overlays."""
    text = compose(PROFILES / f"{name}.yaml", *(OVERLAYS / f"{overlay}.yaml" for overlay in overlays))
    return validate(YAML(typ="safe", pure=True).load(text), name)


def simple_tuner() -> Case:
    """SimpleTuner's published configuration of SD3.5-medium: the figures to compare with are 0.529 s and 34.6 GiB."""
    changes = {
        "targets": ["to_k", "to_q", "to_v", "to_out.0"],
        "batch_size": 3,
        "gradient_checkpointing": 0,
        "compile": False,
        "deterministic": False,
    }
    return Case("SD3.5", profile_params("sd35-medium"), changes, 128, (1.0, 1.2), torch.bfloat16)


def own(model: str, gammas: tuple[float, ...], profile: str, *overlays: str) -> Case:
    """A profile's own training of its larger adapter."""
    return Case(model, profile_params(profile, *overlays), {}, 64, gammas, torch.float32)


def training_rows(case: Case, scale: Scale, device: str) -> Iterator[dict]:
    """A row for each gamma; 1 is training without TACA."""
    with TemporaryDirectory() as folder, deterministic(settings_of(case, scale).deterministic):
        first = trainer_of(case, scale, device, Path(folder))
        for number, gamma in enumerate(case.gammas):
            work = Path(folder) / str(number)
            work.mkdir()
            trainer = again(first, gamma, work)
            yield {"model": case.model, "gamma": gamma, **facts(case, scale), **measured(trainer, scale, case, device)}


def settings_of(case: Case, scale: Scale):
    """Section `train` with as many steps as are measured."""
    steps = WINDOWS * scale.window[case.model]
    changes = {"steps": steps, "checkpoint_every": steps, "held_out": 1, "warmup_steps": 0, **case.changes}
    return case.params.train.model_copy(update=changes)


def facts(case: Case, scale: Scale) -> dict:
    """What is measured."""
    settings = settings_of(case, scale)
    names = ("precision", "batch_size", "gradient_accumulation", "gradient_checkpointing", "compile", "deterministic")
    return {"rank": case.rank, "adapter": str(case.adapter)} | {name: getattr(settings, name) for name in names}


def trainer_of(case: Case, scale: Scale, device: str, folder: Path) -> Trainer:
    """On random weights and random samples of one size."""
    settings = settings_of(case, scale)
    transformer = random_transformer(case.model, scale, device, settings.precision)
    if device == "cpu":
        # In evaluation bitsandbytes packs weights for the CPU anew, in a form that has no backward pass.
        transformer.train()
    rank = scale.rank or case.rank
    adapter = case.params.adapters["taca-r64"].model_copy(update={"rank": rank, "alpha": float(rank)})
    write_samples(folder, transformer.config, scale.latent_side, scale.text_tokens[case.model], settings.batch_size + 2)
    trainer = prepare(transformer, SCHEDULERS[case.model], read_buckets(folder), adapter, settings, folder)
    for parameter in trainer.parameters:
        parameter.data = parameter.data.to(case.adapter)
    return trainer


def write_samples(folder: Path, config: dict, side: int, tokens: int, count: int) -> None:
    """Encoded samples of random numbers, as stage `encode` writes them."""
    save_file(
        {
            "latents": torch.randn(count, 16, side, side),
            "prompt_embeds": torch.randn(count, tokens, config["joint_attention_dim"], dtype=torch.bfloat16),
            "pooled_prompt_embeds": torch.randn(count, config["pooled_projection_dim"], dtype=torch.bfloat16),
        },
        folder / "shard-00000.safetensors",
    )


def again(trainer: Trainer, gamma: float, work: Path) -> Trainer:
    """Another training of the same adapter, with a gamma of its own."""
    config = TacaConfig(gamma=gamma, threshold=trainer.taca_config.threshold)
    return Trainer(trainer.transformer, trainer.parameters, trainer.batches, trainer.config, config, work)


def measured(trainer: Trainer, scale: Scale, case: Case, device: str) -> dict:
    """Figures of a training from its start to its end, as its own metrics say them."""
    busy, paces, shares = Busy(device), [], []

    def log(metrics: dict, step: int) -> None:
        if "images_per_second" in metrics:
            paces.append(metrics)
            if len(paces) == WINDOWS - 1:
                busy.start()
            elif len(paces) == WINDOWS:
                shares.append(busy.stop())

    # The loop reads its losses, and the clock, at the end of each window.
    loop.READ_EVERY = scale.window[case.model]
    reset_memory(device)
    history = trainer.run(log)
    images = trainer.config.batch_size * trainer.config.gradient_accumulation
    return {
        "step_s": [images / pace["images_per_second"] for pace in paces[1:-1]],
        "data_wait_share": max(pace["data_wait_share"] for pace in paces[1:-1]),
        "busy": shares[0],
        "losses": [row["loss"] for row in history[1:]],
        **memory(device),
    }
