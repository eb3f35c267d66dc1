"""What the published repositories hold besides their JSON: shards, number formats, and files that no pipeline loads."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Weights:
    """How one part of the pipeline is stored; a variant is stored like the rest, under its own names."""

    shards: int
    dtype: str
    variants: tuple[str | None, ...] = (None,)


@dataclass(frozen=True)
class Layout:
    """One repository; `beside` lists single-file copies, which no pipeline of diffusers loads."""

    repo: str
    weights: dict[str, Weights]
    beside: tuple[str, ...]
    other: tuple[str, ...] = field(default=(".gitattributes", "LICENSE.md", "README.md"))


LAYOUTS = {
    "sd35-medium": Layout(
        repo="stabilityai/stable-diffusion-3.5-medium",
        weights={
            "transformer": Weights(1, "bfloat16"),
            "vae": Weights(1, "bfloat16"),
            "text_encoder": Weights(1, "float16", (None, "fp16")),
            "text_encoder_2": Weights(1, "float16", (None, "fp16")),
            "text_encoder_3": Weights(2, "float16", (None, "fp16")),
        },
        beside=(
            "sd3.5_medium.safetensors",
            "text_encoders/clip_g.safetensors",
            "text_encoders/clip_l.safetensors",
            "text_encoders/t5xxl_fp16.safetensors",
        ),
    ),
    "flux-dev": Layout(
        repo="black-forest-labs/FLUX.1-dev",
        weights={
            "transformer": Weights(3, "bfloat16"),
            "vae": Weights(1, "bfloat16"),
            "text_encoder": Weights(1, "bfloat16"),
            "text_encoder_2": Weights(2, "bfloat16"),
        },
        beside=("flux1-dev.safetensors", "ae.safetensors"),
        other=(".gitattributes", "LICENSE.md", "README.md", "dev_grid.jpg"),
    ),
}
