"""Faults of bases, adapters, training and drawing."""

import io
import json

import torch
from safetensors.torch import load_file, save

from tests.faults.fault import Fault, Place, both, cut, edited, removed, written

BASE, ADAPTER = "models/base/builtin", "models/adapters/taca-r16"
WEIGHTS = f"{ADAPTER}/pytorch_lora_weights.safetensors"
ENCODE, TRAIN, DRAW = "python -m stages.encode", "python -m stages.train taca-r16", "python -m stages.generate taca-r16"


def shard(place: Place) -> str:
    return next((place.root / "data/encoded").glob("*0*.safetensors")).relative_to(place.root).as_posix()


def changed_tensors(path: str, change) -> None:
    def arrange(place: Place) -> None:
        tensors = load_file(place.root / path)
        place.write(path, save(change(tensors)))

    return arrange


FAULTS = [
    Fault("a base that its parameters do not make", "python -m stages.base", "", edited({"base.seed": 1})),
    Fault("a base's folder without a part", "python -m stages.base", "", lambda place: own_base(place, "vae")),
    Fault(
        "a base that is no text-to-image pipeline",
        "python -m stages.base",
        "",
        lambda place: own_base(place, None, json.dumps({"_class_name": "StableDiffusionPipeline"})),
    ),
    Fault("a base whose index is no JSON", "python -m stages.base", "", lambda place: own_base(place, None, "{")),
    Fault("a base that is gone", ENCODE, "", removed(BASE)),
    Fault("a base's weights that are cut off", ENCODE, "", cut(f"{BASE}/vae/diffusion_pytorch_model.safetensors")),
    Fault("a base's configuration that is no JSON", ENCODE, "", written(f"{BASE}/transformer/config.json", "{")),
    Fault("a base without a text encoder", ENCODE, "", removed(f"{BASE}/text_encoder")),
    Fault("a resolution that the base cannot take", ENCODE, "", edited({"encode.resolution": 60})),
    Fault("a shape that the base cannot take", ENCODE, "", edited({"encode.aspects": [50.0]})),
    Fault("more images held out than there are", TRAIN, "", edited({"train.held_out": 12})),
    Fault("a batch larger than the sample", TRAIN, "", edited({"train.batch_size": 50})),
    Fault("layers that the base has not", TRAIN, "", edited({"train.targets": ["to_nothing"]})),
    Fault(
        "a loss that is no number",
        TRAIN,
        "",
        edited({"train.learning_rate": 1e30, "train.steps": 12, "train.mixed_precision": "no"}),
    ),
    Fault("4 bits without a GPU", TRAIN, "", edited({"train.precision": "nf4"})),
    Fault("a guidance scale for a base that embeds none", TRAIN, "", edited({"train.guidance": 3.5})),
    Fault("a shard of the encoded data that is cut off", TRAIN, "", lambda place: cut(shard(place))(place)),
    Fault(
        "encoded data that are empty",
        TRAIN,
        "",
        lambda place: [path.unlink() for path in (place.root / "data/encoded").glob("*")],
    ),
    Fault(
        "no empty caption for a training that drops captions",
        TRAIN,
        "",
        edited({"train.caption_dropout": 0.1, "encode.empty_caption": True}),
    ),
    Fault("an arm drawn by two processes", DRAW, "", environment={"WORLD_SIZE": "2"}),
    Fault("a size that the base cannot draw", DRAW, "", edited({"generate.height": 60, "generate.width": 60})),
    Fault("drawing in 4 bits without a GPU", DRAW, "", edited({"generate.quantization": "nf4"})),
    Fault("offloading without a GPU", DRAW, "", edited({"generate.offload": "group"})),
    Fault("an adapter's file that is cut off", DRAW, "", cut(WEIGHTS)),
    Fault(
        "an adapter for another base",
        DRAW,
        "",
        changed_tensors(
            WEIGHTS,
            lambda found: {
                key: value[..., :8].contiguous() if "lora_A" in key else value for key, value in found.items()
            },
        ),
    ),
    Fault("an adapter for no layer", DRAW, "", changed_tensors(WEIGHTS, lambda found: {"something": torch.zeros(2)})),
    Fault(
        "an adapter with numbers that are none",
        DRAW,
        "",
        changed_tensors(WEIGHTS, lambda found: {key: value * float("nan") for key, value in found.items()}),
    ),
    Fault("an adapter that is gone", DRAW, "", removed(ADAPTER)),
    Fault("an adapter trained in another precision", DRAW, "", edited({"generate.other_precision": False})),
    Fault("prompts that are gone", DRAW, "", removed("data/prompts.parquet")),
    Fault("prompts that are damaged", DRAW, "", cut("data/prompts.parquet")),
    Fault("a prompt that is too long for the base", DRAW, "", edited({"generate.max_sequence_length": 4096})),
    Fault("earlier images that are not there", DRAW, "", environment={"TACA_EARLIER_IMAGES": "/nowhere"}),
    Fault(
        "a published adapter that is not there",
        "python -m stages.check",
        "",
        edited(
            {
                "published_adapters": {
                    "theirs": {"repo": None, "revision": None, "file": "theirs.safetensors", "sha256": None}
                }
            }
        ),
    ),
    Fault(
        "a published adapter with another hash",
        "python -m stages.fetch theirs",
        "",
        lambda place: theirs(place, "0" * 64),
    ),
    Fault(
        "a published adapter that is no adapter",
        "python -m stages.fetch theirs",
        "",
        lambda place: theirs(place, None, b"not safetensors"),
    ),
]


def theirs(place: Place, digest: str | None, content: bytes | None = None) -> None:
    place.write("theirs.safetensors", (place.root / WEIGHTS).read_bytes() if content is None else content)
    place.edit(
        {
            "published_adapters": {
                "theirs": {"repo": None, "revision": None, "file": "theirs.safetensors", "sha256": digest}
            }
        }
    )


def own_base(place: Place, part: str | None, index: str | None = None) -> None:
    import shutil

    shutil.copytree(place.root / BASE, place.root / "own")
    if part is not None:
        shutil.rmtree(place.root / "own" / part)
    if index is not None:
        place.write("own/model_index.json", index)
    place.edit(
        {
            "base": {"name": "own", "source": "folder", "folder": "own", "dtype": "float32"},
            "generate.dtype": "float32",
            "score.attribute": "blip-vqa",
            "score.spatial": "unidet",
            "score.clip": "openai",
            "score.weights": "weights",
        }
    )
