"""A small scored world: prompts, the scenes that they ask for, an arm's folder of drawings, and a tiny CLIP model."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from compbench.scorers.interface import Prompt
from lab.world.geometry import place_pair, scatter
from lab.world.render import render
from lab.world.scene import Scene, SceneObject
from lab.world.vocabulary import COLORS, SHAPES, TEXTURES


def look_of(phrase: str, color: str) -> tuple[str, str, str]:
    """(shape, color, texture) of a phrase; what it leaves open is filled in."""
    words = phrase.split()
    return (
        next(word for word in words if word in SHAPES),
        next((word for word in words if word in COLORS), color),
        next((word for word in words if word in TEXTURES), "plain"),
    )


def draw(prompt: Prompt, seed: int = 0):
    """An image that shows exactly what the prompt says."""
    rng = np.random.default_rng(seed)
    looks = [look_of(phrase, color) for phrase, color in zip(prompt.phrases, ("red", "blue"), strict=True)]
    if prompt.relation is None:
        places = scatter(rng, [11.0, 11.0])
    else:
        places = place_pair(rng, prompt.relation, looks[0][0], looks[1][0])
    objects = tuple(SceneObject(*look, *place) for look, place in zip(looks, places, strict=True))
    return render(Scene("pair", objects, prompt.relation, 245))


# In each category a prompt shares no look or relation with the next one, so that the next one's image is a wrong one.
PROMPTS = [
    ("color", ("red circle", "blue square"), None),
    ("color", ("green star", "orange heart"), None),
    ("color", ("purple cross", "cyan triangle"), None),
    ("shape", ("circle", "star"), None),
    ("shape", ("square", "heart"), None),
    ("texture", ("striped circle", "dotted square"), None),
    ("texture", ("checkered square", "plain circle"), None),
    ("spatial", ("circle", "star"), "on the left of"),
    ("spatial", ("circle", "star"), "on the right of"),
    ("spatial", ("square", "triangle"), "on the top of"),
    ("non_spatial", ("red circle", "blue square"), "touching"),
    ("non_spatial", ("green star", "orange heart"), "larger than"),
    ("complex", ("striped red circle", "blue square"), "on the left of"),
    ("complex", ("green star", "dotted purple heart"), "on the bottom of"),
]


@pytest.fixture(scope="session")
def prompts() -> list[Prompt]:
    """Two or three prompts in each category."""
    return [
        Prompt(
            index=i,
            prompt=f"a {phrases[0]} {relation or 'and'} a {phrases[1]}",
            category=category,
            phrases=phrases,
            objects=tuple(look_of(phrase, "red")[0] for phrase in phrases),
            relation=relation,
        )
        for i, (category, phrases, relation) in enumerate(PROMPTS)
    ]


@pytest.fixture(scope="session")
def drawn(prompts):
    """The image that each prompt asks for, by the prompt's index."""
    return {prompt.index: draw(prompt, prompt.index) for prompt in prompts}


@pytest.fixture
def arm_folder(tmp_path, prompts, drawn) -> Path:
    """A folder as `generate` leaves it, each image showing what its prompt says."""
    folder = tmp_path / "images" / "arm"
    rows, counts = [], {}
    for prompt in prompts:
        index = counts[prompt.category] = counts.get(prompt.category, -1) + 1
        path = f"{prompt.category}/samples/{prompt.prompt}_{index:06d}.png"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        drawn[prompt.index].save(folder / path)
        rows.append(
            {
                "index": index,
                "prompt": prompt.prompt,
                "category": prompt.category,
                "prompt_index": prompt.index,
                "seed": 42,
                "path": path,
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), folder / "index.parquet")
    return folder


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory) -> Path:
    """A base's folder whose `clip/` is a random open_clip model of a few thousand parameters."""
    import open_clip
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("base") / "clip"
    folder.mkdir()
    words = ["a", "and", "on", "the", "left", "right", "top", "bottom", "of", "touching", "larger", "than"]
    vocabulary = {
        word: i for i, word in enumerate(["<pad>", "<s>", "</s>", "<unk>", *words, *COLORS, *SHAPES, *TEXTURES])
    }
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", vocabulary["<s>"]), ("</s>", vocabulary["</s>"])]
    )
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    vision = {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 16, "layers": 1}
    text = {"context_length": 16, "vocab_size": len(vocabulary), "width": 32, "heads": 2, "layers": 1}
    text |= {"hf_tokenizer_name": "local", "eos_id": vocabulary["</s>"], "pool_type": "eos"}
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    torch.manual_seed(0)
    model = open_clip.CLIP(**config)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    preprocess = {"mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    return folder.parent
