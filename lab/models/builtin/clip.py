"""A small open_clip model of the world: which caption belongs to which picture."""

import open_clip
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from lab.models.builtin.config import BuiltinConfig
from lab.models.builtin.dataset import CAPTIONS_PER_SCENE, Dataset
from lab.models.builtin.optimization import train
from lab.world.geometry import CANVAS

MEAN = STD = (0.5, 0.5, 0.5)


def clip_config(config: BuiltinConfig, tokenizer) -> dict:
    """The model's description in open_clip's own schema, which `local-dir:` loading reads."""
    return {
        "embed_dim": 96,
        "vision_cfg": {"image_size": CANVAS, "patch_size": 8, "layers": 4, "width": 96, "head_width": 32},
        "text_cfg": {
            "context_length": config.clip_max_length,
            "vocab_size": len(tokenizer),
            # Any name makes open_clip read the tokenizer that lies beside the weights.
            "hf_tokenizer_name": "local",
            "width": 96,
            "heads": 3,
            "layers": 2,
            "pool_type": "eos",
            "eos_id": tokenizer.eos_token_id,
            "pad_id": tokenizer.pad_token_id,
        },
    }


def build_clip(config: BuiltinConfig, tokenizer) -> open_clip.CLIP:
    """The untrained model."""
    description = clip_config(config, tokenizer)
    text = {key: value for key, value in description["text_cfg"].items() if key != "hf_tokenizer_name"}
    return open_clip.CLIP(description["embed_dim"], description["vision_cfg"], text)


def train_clip(data: Dataset, tokenizer, config: BuiltinConfig, work, log) -> open_clip.CLIP:
    """Symmetric contrastive loss (CLIP) over batches of twice `batch_size` pictures with one caption each."""
    torch.manual_seed(config.seed)
    model = build_clip(config, tokenizer)
    arguments = {"padding": "max_length", "truncation": True, "max_length": config.clip_max_length}
    captions = [text for texts in data.captions for text in texts]
    ids = tokenizer(captions, return_tensors="pt", **arguments).input_ids
    batch = 2 * config.batch_size

    def loss_of(generator, step):
        picture = torch.randperm(len(data.pixels), generator=generator)[:batch]
        caption = torch.randint(CAPTIONS_PER_SCENE, (len(picture),), generator=generator)
        # Pixels / 127.5 - 1 is what MEAN and STD make of an image.
        with torch.autocast("cpu", torch.bfloat16):
            image, text, scale = model(data.images(picture), ids[picture * CAPTIONS_PER_SCENE + caption])
        logits = scale.float() * image.float() @ text.float().T
        target = torch.arange(len(picture))
        return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2

    with sdpa_kernel(SDPBackend.MATH):
        train(
            "clip",
            {"clip": model},
            loss_of,
            steps=config.clip_steps,
            learning_rate=config.clip_learning_rate,
            seed=config.seed + 2,
            work=work,
            log=log,
        )
    return model.eval()
