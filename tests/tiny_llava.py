"""A LLaVA of a few thousand random weights in the layout in which llava-hf/llava-1.5-7b-hf is published.

`CONFIG`, `PREPROCESSOR`, `PROCESSOR` and `TEMPLATE` are that repository's JSON files as of its commit
b234b804b114d9e37bb655e11cbbb5f5e971b7a9, written down from memory; the tiny one differs in sizes alone.
"""

import copy
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlavaConfig, LlavaForConditionalGeneration, PreTrainedTokenizerFast

CONFIG = {
    "architectures": ["LlavaForConditionalGeneration"],
    "ignore_index": -100,
    "image_seq_length": 576,
    "image_token_index": 32000,
    "model_type": "llava",
    "pad_token_id": 32001,
    "projector_hidden_act": "gelu",
    "text_config": {
        "_name_or_path": "lmsys/vicuna-7b-v1.5",
        "architectures": ["LlamaForCausalLM"],
        "max_position_embeddings": 4096,
        "model_type": "llama",
        "rms_norm_eps": 1e-05,
        "torch_dtype": "float16",
        "vocab_size": 32064,
    },
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "vision_config": {
        "hidden_size": 1024,
        "image_size": 336,
        "intermediate_size": 4096,
        "model_type": "clip_vision_model",
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "patch_size": 14,
        "projection_dim": 768,
        "vocab_size": 32000,
    },
    "vision_feature_layer": -2,
    "vision_feature_select_strategy": "default",
}
PREPROCESSOR = {
    "crop_size": {"height": 336, "width": 336},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_processor_type": "CLIPImageProcessor",
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "processor_class": "LlavaProcessor",
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 336},
}
PROCESSOR = {
    "image_token": "<image>",
    "num_additional_image_tokens": 1,
    "patch_size": 14,
    "processor_class": "LlavaProcessor",
    "vision_feature_select_strategy": "default",
}
TEMPLATE = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
    "{# Render all images first #}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}{# Render all text next #}{% for content in message['content'] | "
    "selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' '}}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
SIDE = 28
WORDS = 290  # of the tokenizer: bytes, and those that are special
# Sizes alone.
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 512,
    "vocab_size": WORDS,
}
VISION = {
    "hidden_size": 32,
    "image_size": SIDE,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "projection_dim": 16,
}


def save_tiny_llava(folder: Path, seed: int = 0) -> Path:
    """Writes the model, sharded as published, its processor and tokenizer."""
    folder.mkdir(exist_ok=True)
    tokenizer = byte_tokenizer()
    config = copy.deepcopy(CONFIG)
    config["text_config"] |= TEXT
    config["vision_config"] |= VISION
    config |= {"image_token_index": tokenizer.image_token_id, "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(LlavaConfig(**config)).eval()
    with torch.no_grad():
        for weight in model.parameters():  # larger than a beginning's, so that answers depend on images
            weight.copy_(torch.randn_like(weight) * 0.35)
    model.save_pretrained(folder, max_shard_size="40KB")
    _name_as_published(folder)
    written = {
        "config.json": config,
        "preprocessor_config.json": PREPROCESSOR
        | {"crop_size": {"height": SIDE, "width": SIDE}, "size": {"shortest_edge": SIDE}},
        "processor_config.json": PROCESSOR,
        "chat_template.json": {"chat_template": TEMPLATE},
        "generation_config.json": {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": tokenizer.pad_token_id},
    }
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    for name, document in written.items():
        (folder / name).write_text(json.dumps(document, indent=2) + "\n")
    return folder


def _name_as_published(folder: Path) -> None:
    """The vision tower's tensors had one more level in their names when this repository was written."""

    def published(name: str) -> str:
        return name.replace("vision_tower.", "vision_tower.vision_model.", 1)

    for shard in folder.glob("*.safetensors"):
        save_file({published(name): tensor for name, tensor in load_file(shard).items()}, shard, {"format": "pt"})
    index = folder / "model.safetensors.index.json"
    document = json.loads(index.read_text())
    document["weight_map"] = {published(name): file for name, file in document["weight_map"].items()}
    index.write_text(json.dumps(document, indent=2) + "\n")


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Of a token for each byte, and LLaVA's special ones."""
    special = ["<unk>", "<s>", "</s>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {token: number for number, token in enumerate([*special, *alphabet])}
    bare = Tokenizer(models.BPE(words, [], unk_token="<unk>"))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    bare.add_special_tokens([AddedToken(token, special=True) for token in (*special, "<image>", "<pad>")])
    return PreTrainedTokenizerFast(
        tokenizer_object=bare,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image>"},
    )
