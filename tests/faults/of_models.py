"""Faults of bases, adapters, training and drawing."""

import json

import torch
from safetensors.torch import load_file, save

from tests.faults.fault import Fault, Place, cut, edited, removed, written

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
    Fault(
        "a base that its parameters do not make",
        "python -m stages.base",
        (
            "base: models/base/builtin is not what its parameters and code make: `make base` trains it (40 "
            "minutes on two cores), or take the change back; where an edit of code changes no byte of it, `dvc "
            "commit base` says so."
        ),
        edited({"base.seed": 1}),
        recorded=True,
    ),
    Fault(
        "a base's folder without a part",
        "python -m stages.base",
        "base: model_index.json names the part vae, and there is no file of it: choose a complete pipeline.",
        lambda place: own_base(place, "vae"),
        recorded=True,
    ),
    Fault(
        "a base that is no text-to-image pipeline",
        "python -m stages.base",
        (
            "base: own is a StableDiffusionPipeline without a transformer, which is where TACA acts: choose a "
            "Stable Diffusion 3 or FLUX.1 base, or use `taca.apply_taca` on a pipeline that has one."
        ),
        lambda place: own_base(place, None, json.dumps({"_class_name": "StableDiffusionPipeline"})),
        recorded=True,
    ),
    Fault(
        "a base whose index is no JSON",
        "python -m stages.base",
        (
            "base: own/model_index.json is no JSON (Expecting property name enclosed in double quotes: line 1 "
            "column 2 (char 1)): choose a complete pipeline."
        ),
        lambda place: own_base(place, None, "{"),
        recorded=True,
    ),
    Fault(
        "a base that is gone",
        ENCODE,
        ("encode: models/base/builtin is missing; run `dvc repro`, which makes what a stage reads before the stage."),
        removed(BASE),
    ),
    Fault(
        "a base's weights that are cut off",
        ENCODE,
        (
            "encode: The base models/base/builtin cannot be loaded (Unable to load weights from checkpoint file "
            "for 'models/base/builtin/vae/diffusion_pytorch_model.safetensors' at "
            "'models/base/builtin/vae/diffusion_pytorch_model.safetensors'): bring its files back, those of the "
            "built-in one with `git restore models/base/builtin`."
        ),
        cut(f"{BASE}/vae/diffusion_pytorch_model.safetensors"),
        recorded=True,
    ),
    Fault(
        "a base's configuration that is no JSON",
        ENCODE,
        (
            "encode: The base models/base/builtin cannot be loaded (Expecting property name enclosed in double "
            "quotes: line 1 column 2 (char 1)): bring its files back, those of the built-in one with `git restore"
            " models/base/builtin`."
        ),
        written(f"{BASE}/transformer/config.json", "{"),
        recorded=True,
    ),
    Fault(
        "a base without a text encoder",
        ENCODE,
        (
            "encode: The base models/base/builtin cannot be loaded (…): bring its files back, those of the "
            "built-in one with `git restore models/base/builtin`."
        ),
        removed(f"{BASE}/text_encoder"),
        recorded=True,
    ),
    Fault(
        "a resolution that the base cannot take",
        ENCODE,
        (
            "encode: `encode.resolution` is 60, but must be a multiple of 8, the autoencoder's 4 pixels times a "
            "patch of 2."
        ),
        edited({"encode.resolution": 60}),
        recorded=True,
    ),
    Fault(
        "a shape that the base cannot take",
        ENCODE,
        (
            "encode: `encode.aspects` makes images of 456 x 8 pixels, but a side must be at most 64, the base's "
            "last position: lower `encode.resolution`, or leave the longest shapes out."
        ),
        edited({"encode.aspects": [50.0]}),
        recorded=True,
    ),
    Fault(
        "more images held out than there are",
        TRAIN,
        ("train@taca-r16: `train.held_out` is 12, but there are 12 encoded samples; lower it or raise `sample.size`."),
        edited({"train.held_out": 12}),
        recorded=True,
    ),
    Fault(
        "layers that the base has not",
        TRAIN,
        (
            "train@taca-r16: `train.targets` has 'to_nothing', which no layer of this SD3Transformer2DModel is "
            "called; name layers by the ends of their names, such as to_q, or set it to null for the family's "
            "own."
        ),
        edited({"train.targets": ["to_nothing"]}),
        recorded=True,
    ),
    Fault(
        "a loss that is no number",
        TRAIN,
        (
            "train@taca-r16: The training loss is nan at step 1; lower `train.learning_rate` or check the data, "
            "then run `dvc repro` again."
        ),
        edited({"train.learning_rate": 1e30, "train.steps": 12, "train.mixed_precision": "no"}),
        recorded=True,
    ),
    Fault(
        "4 bits without a GPU",
        TRAIN,
        (
            "train@taca-r16: `train.precision` is nf4, which needs an NVIDIA GPU, and PyTorch sees none: take "
            "full precision, or a machine that has one."
        ),
        edited({"train.precision": "nf4", "train.mixed_precision": "bf16"}),
        recorded=True,
    ),
    Fault(
        "a guidance scale for a base that embeds none",
        TRAIN,
        ("train@taca-r16: `train.guidance` is 3.5, but this SD3Transformer2DModel embeds no guidance: set it to null."),
        edited({"train.guidance": 3.5}),
        recorded=True,
    ),
    Fault(
        "a shard of the encoded data that is cut off",
        TRAIN,
        "train@taca-r16: data/encoded/…is damaged (…): run `dvc repro encode`, which makes it again.",
        lambda place: cut(shard(place))(place),
        recorded=True,
    ),
    Fault(
        "encoded data that are empty",
        TRAIN,
        "train@taca-r16: data/encoded holds no encoded samples: run `dvc repro encode`, which makes them.",
        lambda place: [path.unlink() for path in (place.root / "data/encoded").glob("*")],
        recorded=True,
    ),
    Fault(
        "no empty caption for a training that drops captions",
        TRAIN,
        "train@taca-r16: `train.caption_dropout` needs the empty caption: set `encode.empty_caption` to true.",
        edited({"train.caption_dropout": 0.1, "encode.empty_caption": True}),
        recorded=True,
    ),
    Fault(
        "a stage that a launcher has started twice",
        DRAW,
        (
            "generate@taca-r16: it is one process on one device, but WORLD_SIZE says that there are 2: start it without"
            " a launcher, and use more GPUs by `make flow`, which runs one stage on each."
        ),
        environment={"WORLD_SIZE": "2"},
    ),
    Fault(
        "a size that the base cannot draw",
        DRAW,
        (
            "generate@taca-r16: `generate.height` and `generate.width` 60 x 60 must be a multiple of 8, the "
            "autoencoder's 4 pixels times a patch of 2."
        ),
        edited({"generate.height": 60, "generate.width": 60}),
        recorded=True,
    ),
    Fault(
        "drawing in 4 bits without a GPU",
        DRAW,
        (
            "generate@taca-r16: `generate.quantization` is nf4, which needs an NVIDIA GPU, and PyTorch sees none:"
            " take full precision, or a machine that has one."
        ),
        edited({"generate.quantization": "nf4", "generate.workers": 1}),
        recorded=True,
    ),
    Fault(
        "offloading without a GPU",
        DRAW,
        "generate@taca-r16: `generate.offload` is group, but torch finds no GPU here: set it to none.",
        edited({"generate.offload": "group", "generate.workers": 1}),
        recorded=True,
    ),
    Fault(
        "an adapter's file that is cut off",
        DRAW,
        (
            "generate@taca-r16: The adapter models/adapters/taca-r16 cannot be loaded into this base (…): train "
            "or fetch it again."
        ),
        cut(WEIGHTS),
        recorded=True,
    ),
    Fault(
        "an adapter for another base",
        DRAW,
        (
            "generate@taca-r16: The adapter models/adapters/taca-r16 cannot be loaded into this base (…): train "
            "or fetch it again."
        ),
        changed_tensors(
            WEIGHTS,
            lambda found: {
                key: value[..., :8].contiguous() if "lora_A" in key else value for key, value in found.items()
            },
        ),
        recorded=True,
    ),
    Fault(
        "an adapter for no layer",
        DRAW,
        (
            "generate@taca-r16: The adapter models/adapters/taca-r16 cannot be loaded into this base (…): train "
            "or fetch it again."
        ),
        changed_tensors(WEIGHTS, lambda found: {"something": torch.zeros(2)}),
        recorded=True,
    ),
    Fault(
        "an adapter with numbers that are none",
        DRAW,
        (
            "generate@taca-r16: The adapter models/adapters/taca-r16 holds weights that are no finite numbers: "
            "train or fetch it again."
        ),
        changed_tensors(WEIGHTS, lambda found: {key: value * float("nan") for key, value in found.items()}),
        recorded=True,
    ),
    Fault(
        "an adapter that is gone",
        DRAW,
        (
            "generate@taca-r16: models/adapters/taca-r16 is missing; run `dvc repro`, which makes what a stage "
            "reads before the stage."
        ),
        removed(ADAPTER),
    ),
    Fault(
        "an adapter trained in another precision",
        DRAW,
        (
            "generate@taca-r16: The adapter taca-r16 was trained on a base in float32, but is drawn with one in "
            "bf16: set `generate.dtype` and `generate.quantization` to that, or `generate.other_precision` to "
            "true."
        ),
        edited({"generate.other_precision": False, "generate.dtype": "bfloat16"}),
        recorded=True,
    ),
    Fault(
        "prompts that are gone",
        DRAW,
        (
            "generate@taca-r16: data/prompts.parquet is missing; run `dvc repro`, which makes what a stage reads "
            "before the stage."
        ),
        removed("data/prompts.parquet"),
    ),
    Fault(
        "prompts that are damaged",
        DRAW,
        ("generate@taca-r16: The table data/prompts.parquet cannot be read (…): make it again."),
        cut("data/prompts.parquet"),
        recorded=True,
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
