"""Writes a random checkpoint in a published repository's layout, from its JSON files and the sizes changed in them."""

import json
from pathlib import Path

from tests.published.layout import LAYOUTS
from tests.published.sizes import SIZES
from tests.published.tokenizers import write_clip_tokenizer, write_t5_tokenizer

CONFIGS = Path(__file__).parent / "configs"


def published_config(name: str, file: str) -> dict:
    """A JSON file as published, such as `transformer/config.json` of `flux-dev`."""
    return json.loads((CONFIGS / name / file).read_text())


def published_files(name: str) -> list[str]:
    """Every JSON file that is kept of a published repository."""
    return sorted(path.relative_to(CONFIGS / name).as_posix() for path in (CONFIGS / name).rglob("*.json"))


def build(name: str, part: str, config: dict):
    """The model of one part of the pipeline, of the class that `model_index.json` names, with random weights."""
    import diffusers
    import transformers

    library, cls = published_config(name, "model_index.json")[part]
    if library == "diffusers":
        return getattr(diffusers, cls).from_config(config)
    cls = getattr(transformers, cls)
    return cls(cls.config_class.from_dict(dict(config)))


def make_checkpoint(name: str, folder: Path, seed: int = 0) -> Path:
    """Writes the checkpoint `sd35-medium` or `flux-dev` into `folder`, which is made, and returns `folder`.

    Equal seeds give equal bytes. Images have 64 x 64 pixels unless a caller of FLUX.1 says otherwise: its pipeline's
    default size is its own, and 1024.
    """
    import torch

    layout = LAYOUTS[name]
    for file in published_files(name):
        _write_json(folder / file, {**published_config(name, file), **SIZES[name].get(file, {})})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part, weights in layout.weights.items():
            model = build(name, part, json.loads((folder / part / "config.json").read_text()))
            dtype = getattr(torch, weights.dtype)
            tensors = {key: value.to(dtype).contiguous() for key, value in published_tensors(model).items()}
            for variant in weights.variants:
                _write_weights(tensors, folder / part, _stem(name, part), weights.shards, variant)
    _write_tokenizers(name, folder)
    for file in (*layout.beside, *layout.other):
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(f"{file}: no pipeline loads this\n".encode())
    return folder


def _stem(name: str, part: str) -> str:
    library, _ = published_config(name, "model_index.json")[part]
    return "diffusion_pytorch_model" if library == "diffusers" else "model"


def published_tensors(model) -> dict:
    """Every weight once, under the name that published files give it."""
    # Published before transformers took the prefix from the class that has nothing else.
    prefix = "text_model." if type(model).__name__ == "CLIPTextModel" else ""
    tied = set(getattr(model, "_tied_weights_keys", None) or ())
    return {prefix + key: value for key, value in model.state_dict().items() if key not in tied}


def _write_weights(tensors: dict, folder: Path, stem: str, shards: int, variant: str | None) -> None:
    from safetensors.torch import save_file

    variant = f".{variant}" if variant else ""
    if shards == 1:
        save_file(tensors, folder / f"{stem}{variant}.safetensors", metadata={"format": "pt"})
        return
    keys = list(tensors)
    weight_map = {}
    for number in range(shards):
        file = f"{stem}{variant}-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = keys[number * len(keys) // shards : (number + 1) * len(keys) // shards]
        save_file({key: tensors[key] for key in part}, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    size = sum(value.numel() * value.element_size() for value in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
    _write_json(folder / f"{stem}.safetensors.index{variant}.json", index)


def _write_tokenizers(name: str, folder: Path) -> None:
    write_clip_tokenizer(folder / "tokenizer", pad_token="<|endoftext|>")
    if name == "flux-dev":
        write_t5_tokenizer(folder / "tokenizer_2")
    else:
        write_clip_tokenizer(folder / "tokenizer_2", pad_token="!")
        write_t5_tokenizer(folder / "tokenizer_3")


def _write_json(path: Path, document: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n")
