"""Writes the trained base as diffusers and open_clip read it, with a card that says what to pass."""

import json
from pathlib import Path

from safetensors.torch import save_file

from lab.models.builtin.clip import MEAN, STD, clip_config
from lab.models.builtin.config import BuiltinConfig
from lab.models.builtin.pipeline import BuiltinBase

CARD = """---
library_name: diffusers
pipeline_tag: text-to-image
license: apache-2.0
---
# The built-in base

A Stable Diffusion 3.5-type pipeline of {parameters:.1f} million transformer parameters that draws the built-in world of
TACA: one to four objects with colour, shape and texture on a light ground, {size} x {size} pixels. It is trained from
nothing by the `base` stage, on drawn scenes alone. It knows the words of that world and nothing else.

```python
from diffusers import StableDiffusion3Pipeline

pipe = StableDiffusion3Pipeline.from_pretrained("models/base/builtin")
image = pipe(
    "red circle on the left of blue square",
    max_sequence_length={t5},    # pass it: diffusers' default of 256 tokens would drown the {image_tokens} image tokens
    guidance_scale=3.0,
    num_inference_steps=30,
).images[0]
```

| | |
|---|---|
| image tokens : text tokens | {image_tokens} : {text_tokens} ({clip} CLIP + {t5} T5, padding counted) |
| longest prompt | {words} words; a relation such as "on the left of" counts as one, and articles are left out |
| storage | transformer and autoencoder float16, text encoders float32 |
| scheduler | flow matching, shift {shift} |
| `clip/` | a small model of the same world for `open_clip.create_model_from_pretrained("local-dir:.../clip")` |
"""


def save_builtin(base: BuiltinBase, config: BuiltinConfig, folder: Path) -> None:
    """Writes `folder` as a `StableDiffusion3Pipeline` directory with `clip/` and `README.md` in it."""
    base.pipeline.save_pretrained(folder, safe_serialization=True)
    _save_clip(base, config, folder / "clip")
    (folder / "README.md").write_text(_card(base, config))


def _save_clip(base: BuiltinBase, config: BuiltinConfig, folder: Path) -> None:
    folder.mkdir(parents=True)
    tokenizer = base.pipeline.tokenizer
    description = {
        "model_cfg": clip_config(config, tokenizer),
        "preprocess_cfg": {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(description, indent=2) + "\n")
    weights = {key: value.half().contiguous() for key, value in base.clip.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    tokenizer.save_pretrained(folder)


def _card(base: BuiltinBase, config: BuiltinConfig) -> str:
    transformer = base.pipeline.transformer
    side = transformer.config.sample_size // transformer.config.patch_size
    return CARD.format(
        parameters=sum(p.numel() for p in transformer.parameters()) / 1e6,
        size=base.pipeline.vae.config.sample_size,
        image_tokens=side**2,
        text_tokens=config.clip_max_length + config.t5_max_length,
        clip=config.clip_max_length,
        t5=config.t5_max_length,
        words=config.clip_max_length - 2,
        shift=config.shift,
    )
