"""A small scored world: an arm's folder of drawings, and a tiny CLIP model."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lab.world.vocabulary import COLORS, SHAPES, TEXTURES
from tests.drawn import drawn, prompts  # noqa: F401 - fixtures


@pytest.fixture
def arm_folder(tmp_path, prompts, drawn) -> Path:  # noqa: F811 - its fixtures
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
