"""Where Stable Diffusion 3 and FLUX.1 differ for the experiment: one class a family, found by the transformer's class.

Latents of both are stored as the autoencoder makes them, (B, C, H, W), normalised by its shift and scale; what packs
them, and everything else that a transformer is given, stands here. Where TACA acts in them says `taca.families`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from torch import nn

from lab.errors import LabError

# The paper says "the attention layers" and names none: all projections of both streams are an assumption. FLUX's
# single-stream blocks have the first three alone.
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")


class Family(ABC):
    """What the experiment knows of one transformer class.

    Attributes:
        transformer: the class.
        pipeline: the class whose `save_lora_weights` writes what its `load_lora_weights` reads.
        targets: the layers that a LoRA adapter is for, unless params name others.
        classifier_free: whether the pipeline guides by a second pass, with the empty prompt.
        config: the transformer's own, of which sizes are read.
    """

    transformer: type[nn.Module]
    pipeline: type
    targets = ATTENTION
    classifier_free = False

    def __init__(self, config: Mapping):
        self.config = config

    @property
    @abstractmethod
    def patch(self) -> int:
        """Latent pixels a side of one image token."""

    @property
    @abstractmethod
    def default_size(self) -> int:
        """Latent pixels a side of what the base was made for."""

    @property
    def largest_size(self) -> float:
        """Latent pixels that a side may have at most."""
        return math.inf

    @property
    def guided(self) -> bool:
        """Whether the transformer embeds the guidance scale that it was distilled for."""
        return bool(self.config.get("guidance_embeds", False))

    @property
    @abstractmethod
    def latent_channels(self) -> int:
        """Channels of the latents, before packing."""

    @abstractmethod
    def arguments(
        self, noisy: torch.Tensor, timestep: torch.Tensor, batch: Mapping[str, torch.Tensor], guidance: float | None
    ) -> dict[str, torch.Tensor]:
        """What the transformer's forward pass is given.

        Args:
            noisy: latents (B, C, H, W).
            timestep: (B,) on the 0..1000 scale.
            batch: `prompt_embeds` (B, L, D) and `pooled_prompt_embeds` (B, P).
            guidance: the scale to embed; None for a transformer that embeds none.
        """

    @abstractmethod
    def embed(self, pipe, prompts: Sequence[str], max_sequence_length: int) -> dict[str, torch.Tensor]:
        """`prompt_embeds` (B, L, D) and `pooled_prompt_embeds` (B, P) by a pipeline's text encoders, in their dtype.

        Args:
            max_sequence_length: T5 tokens.
        """

    def velocity(self, output: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """The transformer's output as latents (B, C, height, width)."""
        return output

    def guidance(self, given: float | None) -> float | None:
        """The guidance scale to embed in training: `given`, or 1.0, at which nothing is guided; None without embedding.

        Raises:
            LabError: a scale is given, and the transformer embeds none.
        """
        if self.guided:
            return 1.0 if given is None else given
        if given is not None:
            raise LabError(
                f"`train.guidance` is {given}, but this {self.transformer.__name__} embeds no guidance: set it to null."
            )
        return None

    def check_drawn_guidance(self, key: str, given: float) -> None:
        """Makes sure that images can be guided, by what the transformer embeds or by a second pass.

        Args:
            key: of the parameter that has the scale.

        Raises:
            LabError: a scale above 1, which the pipeline would ignore.
        """
        if given > 1 and not (self.guided or self.classifier_free):
            raise LabError(
                f"`{key}` is {given:g}, but this {self.transformer.__name__} embeds no guidance, and its pipeline draws "
                "no second pass: set it to 1.0."
            )

    def check_encoded(self, sample: Mapping[str, torch.Tensor]) -> None:
        """Makes sure that encoded samples are for this transformer.

        Args:
            sample: a batch of `latents`, `prompt_embeds` and `pooled_prompt_embeds`.

        Raises:
            LabError: they were encoded for another base.
        """
        found = sample["latents"].shape[1], sample["prompt_embeds"].shape[-1], sample["pooled_prompt_embeds"].shape[-1]
        wanted = self.latent_channels, self.config["joint_attention_dim"], self.config["pooled_projection_dim"]
        if found != wanted:
            raise LabError(
                f"data/encoded was made for another base: its latents' channels and the widths of its text embeddings are "
                f"{found}, and this {self.transformer.__name__} takes {wanted}; run `dvc repro encode`."
            )

    def size_fault(self, height: int, width: int, vae_scale: int) -> str | None:
        """Why images of this size, in pixels, cannot be taken; None if they can.

        Args:
            vae_scale: pixels a side of one latent pixel.
        """
        unit = vae_scale * self.patch
        if height % unit or width % unit:
            return f"must be a multiple of {unit}, the autoencoder's {vae_scale} pixels times a patch of {self.patch}"
        if max(height, width) > self.largest_size * vae_scale:
            return f"must be at most {self.largest_size * vae_scale}, the base's last position"
        return None


class StableDiffusion3(Family):
    """Stable Diffusion 3 and 3.5: latents as they are, the timestep on the scheduler's scale."""

    transformer = SD3Transformer2DModel
    pipeline = StableDiffusion3Pipeline
    classifier_free = True

    @property
    def patch(self) -> int:
        return self.config["patch_size"]

    @property
    def default_size(self) -> int:
        return self.config["sample_size"]

    @property
    def largest_size(self) -> int:
        return self.config["pos_embed_max_size"] * self.patch

    @property
    def latent_channels(self) -> int:
        return self.config["in_channels"]

    def arguments(self, noisy, timestep, batch, guidance):
        return {
            "hidden_states": noisy,
            "timestep": timestep,
            "encoder_hidden_states": batch["prompt_embeds"],
            "pooled_projections": batch["pooled_prompt_embeds"],
        }

    @torch.no_grad()
    def embed(self, pipe, prompts, max_sequence_length):
        prompt_embeds, _, pooled, _ = pipe.encode_prompt(
            prompt=list(prompts),
            prompt_2=None,
            prompt_3=None,
            do_classifier_free_guidance=False,
            max_sequence_length=max_sequence_length,
        )
        return {"prompt_embeds": prompt_embeds, "pooled_prompt_embeds": pooled}


class Flux1(Family):
    """FLUX.1: latents in packed patches of 2 x 2, the timestep from 0 to 1, positions of both streams, guidance."""

    transformer = FluxTransformer2DModel
    pipeline = FluxPipeline
    patch = 2
    default_size = 128

    @property
    def latent_channels(self) -> int:
        return self.config["in_channels"] // self.patch**2

    def arguments(self, noisy, timestep, batch, guidance):
        packed = {} if guidance is None else {"guidance": torch.full_like(timestep, guidance)}
        height, width = noisy.shape[-2:]
        return packed | {
            "hidden_states": _packed(noisy),
            "timestep": timestep / 1000,
            "encoder_hidden_states": batch["prompt_embeds"],
            "pooled_projections": batch["pooled_prompt_embeds"],
            "img_ids": _positions(height // self.patch, width // self.patch, noisy.device),
            # Text tokens have no position: rotary embedding turns them by nothing.
            "txt_ids": torch.zeros(batch["prompt_embeds"].shape[1], 3, device=noisy.device),
        }

    @torch.no_grad()
    def embed(self, pipe, prompts, max_sequence_length):
        prompt_embeds, pooled, _ = pipe.encode_prompt(
            prompt=list(prompts), prompt_2=None, max_sequence_length=max_sequence_length
        )
        return {"prompt_embeds": prompt_embeds, "pooled_prompt_embeds": pooled}

    def velocity(self, output, height, width):
        return _unpacked(output, height, width)


def _packed(latents: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) to tokens (B, H/2 * W/2, C * 4), row by row, the four pixels of a channel side by side."""
    patches = latents.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # (B, C, H/2, 2, W/2, 2)
    return patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def _unpacked(tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """What `_packed` undoes."""
    patches = tokens.unflatten(2, (-1, 2, 2)).unflatten(1, (height // 2, width // 2))  # (B, H/2, W/2, C, 2, 2)
    return patches.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def _positions(rows: int, columns: int, device: torch.device) -> torch.Tensor:
    """(rows * columns, 3): nothing, row and column of each image token."""
    grid = torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij")
    row, column = (axis.flatten().float() for axis in grid)
    return torch.stack([torch.zeros_like(row), row, column], dim=1)


FAMILIES = (StableDiffusion3, Flux1)


def family_named(class_name: str, config: Mapping) -> Family:
    """The family of a transformer class by its name, as a pipeline's `model_index.json` has it.

    Raises:
        LabError: the experiment knows no such family.
    """
    for family in FAMILIES:
        if family.transformer.__name__ == class_name:
            return family(config)
    known = " and ".join(family.transformer.__name__ for family in FAMILIES)
    raise LabError(
        f"The base's transformer is a {class_name}, and the experiment knows {known} alone: choose a base of these, or "
        "use `taca.apply_taca` on a pipeline of your own."
    )


def family_of(transformer: nn.Module) -> Family:
    """The family of a transformer; raises as `family_named`."""
    return family_named(type(transformer).__name__, transformer.config)


def shift_of(scheduler: Mapping, image_tokens: int) -> float:
    """The factor s by which a pipeline shifts sigma to s * sigma / (1 + (s - 1) * sigma) at a resolution.

    Args:
        scheduler: the configuration of a `FlowMatchEulerDiscreteScheduler`, whose file may leave out what is its default.
        image_tokens: of one image.
    """
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(dict(scheduler)).config
    if not scheduler["use_dynamic_shifting"]:
        return scheduler["shift"]
    fewest, most = scheduler["base_image_seq_len"], scheduler["max_image_seq_len"]
    slope = (scheduler["max_shift"] - scheduler["base_shift"]) / (most - fewest)
    mu = scheduler["base_shift"] + slope * (image_tokens - fewest)
    return math.exp(mu) if scheduler["time_shift_type"] == "exponential" else mu
