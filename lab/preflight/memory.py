"""The GPU memory that stages need at least, from the shapes of the base's weights."""

from collections.abc import Mapping

from lab.models.published.selection import INDEX, parts_of
from lab.params import Params
from lab.preflight.base import Base

BYTES = {"float32": 4.0, "float16": 2.0, "fp16": 2.0, "bfloat16": 2.0, "bf16": 2.0, "nf4": 0.5}  # a weight
AUTOENCODER = "vae"
TRANSFORMER = "transformer"


def least_memory(params: Params, base: Base) -> dict[str, float]:
    """Bytes by program: the weights that are on the GPU at once. What is computed with them comes on top."""
    weights = count_weights(base)
    texts = sum(number for part, number in weights.items() if part not in (AUTOENCODER, TRANSFORMER))
    generate = params.generate
    drawing = generate.dtype if generate.quantization == "none" else generate.quantization
    needed = {
        "encode": BYTES[params.encode.dtype] * texts + BYTES["float32"] * weights[AUTOENCODER],
        "train": BYTES[params.train.precision] * weights[TRANSFORMER],
        "generate": BYTES[generate.dtype] * texts,
    }
    if generate.offload == "none":
        needed["generate"] = max(needed["generate"], BYTES[drawing] * weights[TRANSFORMER])
    return needed


def count_weights(base: Base) -> Mapping[str, int]:
    """The number of weights of each part of the pipeline that has any, from its configuration."""
    import diffusers
    import torch
    import transformers

    libraries, counts = {"diffusers": diffusers, "transformers": transformers}, {}
    for part, (library, name) in parts_of(base.read(INDEX)).items():
        kind = getattr(libraries[library], name)
        if not issubclass(kind, torch.nn.Module):
            continue
        config = base.read(f"{part}/config.json")
        with torch.device("meta"):
            model = kind.from_config(config) if library == "diffusers" else kind(kind.config_class.from_dict(config))
        counts[part] = sum(parameter.numel() for parameter in model.parameters())
    return counts
