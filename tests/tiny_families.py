"""A tiny random transformer of every family and what a forward pass of it is given.

Each is a function of a batch size and of a source of random numbers, which gives the model's class, its configuration
and its arguments but for the noise level.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import diffusers
import torch
from tiny_models import CASES as FIRST

TEXT_TOKENS = 6
AXES = (4, 2, 2)


@dataclass(frozen=True)
class FamilyCase:
    """A family's tiny model.

    Attributes:
        name: of the case.
        transformer: the class.
        config: what the class is built with.
        arguments: of a forward pass, from the batch size and a source of random tensors.
        given: the argument that says the noise level, and its value from 0..1000.
        prompt, latents: the arguments to replace for another prompt, and for other latents.
        image: the argument that brings the latents.
        drawn_tokens: how many of the last tokens of the latents are of the image that is drawn; all if None.
        lora: names of layers that an adapter learns.
        build: makes the model in the place of class and configuration.
        checkpointing: whether gradient checkpointing leaves the stock model's prediction as it is.
        tolerance: relative error of gradients.
        shared: whether all samples share the first noise level.
    """

    name: str
    transformer: str
    config: dict
    arguments: Callable[[int, Callable], dict]
    given: Callable[[torch.Tensor], dict]
    prompt: tuple[str, ...] = ("encoder_hidden_states",)
    latents: tuple[str, ...] = ("hidden_states",)
    drawn_tokens: int | None = None
    lora: tuple[str, ...] = ("to_q", "to_k", "to_v")
    build: Callable[..., torch.nn.Module] | None = None
    checkpointing: bool = True
    tolerance: float = 1e-12
    shared: bool = False

    def model(self, **changes: object) -> torch.nn.Module:
        """With changes to its configuration."""
        torch.manual_seed(0)
        build = self.build or partial(getattr(diffusers, self.transformer), **self.config)
        model = build(**changes).eval()
        with torch.no_grad():
            for weight in model.parameters():
                # Zeros, with which some layers begin, would hide what attention reads.
                if not weight.any():
                    weight.normal_(std=0.1)
        return model

    def inputs(self, levels: list[float], dtype: torch.dtype = torch.float64) -> dict:
        """Arguments of a pass at these noise levels, 0..1000."""
        generator = torch.Generator().manual_seed(1)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

        return {**self.arguments(len(levels), normal), **self.given(torch.tensor(levels, dtype=dtype))}

    def gammas(self, levels: list[float], gamma: float) -> torch.Tensor:
        """gamma(t) at a threshold of 970, of each sample or of all, float64."""
        levels = levels[:1] if self.shared else levels
        return torch.tensor([gamma if level >= 970 else 1.0 for level in levels], dtype=torch.float64)

    def other(self, arguments: dict, names: tuple[str, ...]) -> dict:
        """The same pass with other values of some arguments."""
        return arguments | {name: _replaced(arguments[name]) for name in names}

    def other_drawn(self, arguments: dict) -> dict:
        """The same pass with another image that is drawn."""
        other = self.other(arguments, self.latents)
        if self.drawn_tokens is not None:
            given, new = arguments["hidden_states"], other["hidden_states"]
            kept = given.shape[1] - self.drawn_tokens
            other["hidden_states"] = torch.cat([given[:, :kept], new[:, kept:]], dim=1)
        return other


def predict(model: torch.nn.Module, arguments: dict) -> torch.Tensor:
    """What the model predicts, a list of predictions as one tensor."""
    output = model(**arguments, return_dict=False)[0]
    return torch.stack(list(output)) if isinstance(output, list | tuple) else output


def _replaced(value):
    if isinstance(value, list | tuple):
        return type(value)(map(_replaced, value))
    if not torch.is_tensor(value):
        return value
    return torch.randn_like(value) if value.is_floating_point() else (value + 7) % 16


def raw(level: torch.Tensor) -> dict:
    return {"timestep": level}


def thousandths(level: torch.Tensor) -> dict:
    return {"timestep": level / 1000}


def text_mask(batch: int) -> torch.Tensor:
    """The last text tokens of some samples are padding, of each another number."""
    lengths = TEXT_TOKENS - torch.arange(batch) % 3
    return torch.arange(TEXT_TOKENS)[None, :] < lengths[:, None]


def grid(height: int, width: int, axes: int = 3) -> torch.Tensor:
    """Positions (height * width, axes) of image tokens, the row and column in the axes after the first."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    ids = torch.zeros(height * width, axes)
    ids[:, 1], ids[:, 2] = rows.flatten(), columns.flatten()
    return ids


def z_image(batch: int, normal: Callable) -> dict:
    """Captions of different lengths, each padded to 32 tokens or 64."""
    return {
        "x": [normal(4, 1, 8, 8) for _ in range(batch)],
        "cap_feats": [normal(5 + 30 * sample, 12) for sample in range(batch)],
    }


def z_image_omni(batch: int, normal: Callable) -> dict:
    """A reference image before the image that is drawn, both also seen by SigLIP."""
    return {
        "x": [[normal(4, 1, 8, 8), normal(4, 1, 8, 8)] for _ in range(batch)],
        "cap_feats": [[normal(5 + 30 * sample, 12), normal(3, 12)] for sample in range(batch)],
        "siglip_feats": [[normal(2, 2, 10), None] for _ in range(batch)],
        "image_noise_mask": [[0, 1]] * batch,
    }


def flux_like(batch: int, normal: Callable) -> dict:
    return {
        "hidden_states": normal(batch, 16, 4),
        "encoder_hidden_states": normal(batch, TEXT_TOKENS, 12),
        "img_ids": grid(4, 4),
        "txt_ids": torch.zeros(TEXT_TOKENS, 3),
    }


def chroma(batch: int, normal: Callable) -> dict:
    mask = torch.cat([text_mask(batch), torch.ones(batch, 16, dtype=torch.bool)], dim=1)
    return {**flux_like(batch, normal), "attention_mask": mask}


def fibo(batch: int, normal: Callable) -> dict:
    return {**flux_like(batch, normal), "text_encoder_layers": [normal(batch, TEXT_TOKENS, 10) for _ in range(4)]}


def fibo_2(batch: int, normal: Callable) -> dict:
    """Prompts of which the resampler makes two tokens and three; a reference image."""
    lengths = torch.tensor([[8], [6]] * batch)[:batch]
    return {
        "hidden_states": normal(batch, 4, 8, 8),
        "encoder_hidden_states": normal(batch, 2, 8, 12),
        "encoder_attention_mask": torch.arange(8) < lengths,
        "context_latents": [normal(batch, 4, 4, 4)],
    }


def fibo_2_alike(batch: int, normal: Callable) -> dict:
    return {"hidden_states": normal(batch, 4, 8, 8), "encoder_hidden_states": normal(batch, 2, 8, 12)}


def qwen_image_21(batch: int, normal: Callable) -> dict:
    """Three text tokens, a reference image of two by two tokens, two text tokens, and the image."""
    slots = torch.tensor([[0, 0, 0, 1, 0, 0, 1, 1, 1, 1]], dtype=torch.bool).expand(batch, -1)
    return {
        "hidden_states": normal(batch, 4 + 16, 4),
        "encoder_hidden_states": normal(batch, 6, 12),
        "img_shapes": [[(1, 2, 2), (1, 4, 4)]] * batch,
        "img_mask": slots,
    }


def hunyuan_image(batch: int, normal: Callable) -> dict:
    return {
        "hidden_states": normal(batch, 4, 4, 4),
        "encoder_hidden_states": normal(batch, TEXT_TOKENS, 12),
        "encoder_attention_mask": text_mask(batch).long(),
        "encoder_hidden_states_2": normal(batch, 4, 10),
        "encoder_attention_mask_2": torch.arange(4).lt(3).expand(batch, -1).long(),
    }


def hunyuan_video_15(batch: int, normal: Callable) -> dict:
    """With a first frame."""
    return {
        **hunyuan_image(batch, normal),
        "hidden_states": normal(batch, 4, 2, 4, 4),
        "image_embeds": normal(batch, 3, 9),
    }


def hunyuan_video_15_of_text(batch: int, normal: Callable) -> dict:
    return hunyuan_video_15(batch, normal) | {"image_embeds": 0 * normal(batch, 3, 9)}


def framepack(batch: int, normal: Callable) -> dict:
    return {
        "hidden_states": normal(batch, 4, 2, 4, 4),
        "encoder_hidden_states": normal(batch, TEXT_TOKENS, 12),
        "encoder_attention_mask": text_mask(batch).long(),
        "pooled_projections": normal(batch, 10),
        "image_embeds": normal(batch, 3, 9),
        "indices_latents": torch.arange(2),
        "latents_clean": normal(batch, 4, 1, 4, 4),
        "indices_latents_clean": torch.arange(1),
        "latents_history_2x": normal(batch, 4, 2, 4, 4),
        "indices_latents_history_2x": torch.arange(2),
        "latents_history_4x": normal(batch, 4, 4, 4, 4),
        "indices_latents_history_4x": torch.arange(4),
    }


def masked(batch: int, normal: Callable) -> dict:
    """Lumina2's arguments."""
    return {
        "hidden_states": normal(batch, 4, 8, 8),
        "encoder_hidden_states": normal(batch, TEXT_TOKENS, 12),
        "encoder_attention_mask": text_mask(batch),
    }


def masked_video(batch: int, normal: Callable) -> dict:
    return {
        "hidden_states": normal(batch, 4, 2, 8, 8),
        "encoder_hidden_states": normal(batch, TEXT_TOKENS, 16),
        "encoder_attention_mask": text_mask(batch),
    }


def cogview(batch: int, normal: Callable) -> dict:
    size = torch.tensor([[8.0, 8.0]] * batch)
    return {
        "hidden_states": normal(batch, 4, 8, 8),
        "encoder_hidden_states": normal(batch, TEXT_TOKENS, 12),
        "original_size": size,
        "target_size": size,
        "crop_coords": torch.zeros(batch, 2),
    }


def spatial(batch: int, normal: Callable) -> dict:
    return {"hidden_states": normal(batch, 4, 8, 8), "encoder_hidden_states": normal(batch, TEXT_TOKENS, 12)}


def hidream(batch: int, normal: Callable) -> dict:
    return {
        "hidden_states": normal(batch, 4, 8, 8),
        "encoder_hidden_states_t5": normal(batch, TEXT_TOKENS, 12),
        "encoder_hidden_states_llama3": normal(4, batch, 5, 10),
        "pooled_embeds": normal(batch, 11),
    }


def cogvideo(batch: int, normal: Callable) -> dict:
    return {"hidden_states": normal(batch, 2, 4, 4, 4), "encoder_hidden_states": normal(batch, TEXT_TOKENS, 12)}


def flux_3(batch: int, normal: Callable) -> dict:
    """With a reference image."""
    return {
        "hidden_states": normal(batch, 16, 4),
        "encoder_hidden_states": normal(batch, TEXT_TOKENS, 12),
        "img_ids": grid(4, 4, 4),
        "txt_ids": torch.zeros(TEXT_TOKENS, 4),
        "image_cond_hidden_states": normal(batch, 4, 4),
        "image_cond_ids": grid(2, 2, 4),
    }


def krea_2(batch: int, normal: Callable) -> dict:
    return {
        "hidden_states": normal(batch, 16, 4),
        "encoder_hidden_states": normal(batch, TEXT_TOKENS, 2, 16),
        "position_ids": torch.cat([torch.zeros(TEXT_TOKENS, 3), grid(4, 4)]),
        "encoder_attention_mask": text_mask(batch),
    }


def glm_image(batch: int, normal: Callable) -> dict:
    return {
        "hidden_states": normal(batch, 4, 8, 8),
        "encoder_hidden_states": normal(batch, TEXT_TOKENS, 12),
        "prior_token_id": torch.arange(16).expand(batch, -1),
        "prior_token_drop": torch.zeros(batch, dtype=torch.bool),
        "target_size": torch.tensor([[8.0, 8.0]] * batch),
        "crop_coords": torch.zeros(batch, 2),
    }


def ernie(batch: int, normal: Callable) -> dict:
    return {
        "hidden_states": normal(batch, 4, 4, 4),
        "text_bth": normal(batch, TEXT_TOKENS, 12),
        "text_lens": text_mask(batch).sum(dim=1),
    }


def ideogram_4(batch: int, normal: Callable) -> dict:
    """Text, padded on the left, and image."""
    role = torch.tensor([[3] * TEXT_TOKENS + [2] * 16] * batch)
    role[1:, :2] = 0
    return {
        "hidden_states": normal(batch, TEXT_TOKENS + 16, 4),
        "encoder_hidden_states": normal(batch, TEXT_TOKENS + 16, 12),
        "position_ids": torch.cat([torch.zeros(TEXT_TOKENS, 3), grid(4, 4)]).long().expand(batch, -1, -1),
        "segment_ids": torch.where(role == 0, -1, 1),
        "indicator": role,
    }


def joy_image(batch: int, normal: Callable) -> dict:
    """With a reference image."""
    return {"hidden_states": normal(batch, 2, 4, 1, 4, 4), "encoder_hidden_states": normal(batch, TEXT_TOKENS, 12)}


def joy_image_plus(batch: int, normal: Callable) -> dict:
    return {
        "hidden_states": normal(batch, 8, 4, 1, 2, 2),
        "encoder_hidden_states": normal(batch, TEXT_TOKENS, 12),
        "encoder_hidden_states_mask": text_mask(batch).long(),
        "shape_list": [[(1, 2, 2), (1, 2, 2)]] * batch,
    }


def motif(batch: int, normal: Callable) -> dict:
    return {
        "hidden_states": normal(batch, 4, 2, 4, 4),
        "encoder_hidden_states": normal(batch, TEXT_TOKENS, 12),
        "encoder_attention_mask": text_mask(batch),
        "image_embeds": normal(batch, 3, 9),
    }


def easy_animate(batch: int, normal: Callable) -> dict:
    return {
        "hidden_states": normal(batch, 4, 2, 4, 4),
        "encoder_hidden_states": normal(batch, TEXT_TOKENS, 12),
        "encoder_hidden_states_t5": normal(batch, 4, 10),
    }


def nucleus(batch: int, normal: Callable) -> dict:
    return {
        "hidden_states": normal(batch, 16, 16),
        "encoder_hidden_states": normal(batch, TEXT_TOKENS, 12),
        "encoder_hidden_states_mask": text_mask(batch),
        "img_shapes": [(1, 4, 4)] * batch,
    }


def omnigen(batch: int, normal: Callable) -> dict:
    """Prompts with a reference image of four tokens, in each sample elsewhere."""
    length = TEXT_TOKENS + 4 + 1 + 16
    return {
        "hidden_states": normal(batch, 4, 8, 8),
        "input_ids": torch.arange(1, TEXT_TOKENS + 5).expand(batch, -1).clone(),
        "input_img_latents": [normal(1, 4, 4, 4) for _ in range(batch)],
        "input_image_sizes": {sample: [[2 + sample, 6 + sample]] for sample in range(batch)},
        "attention_mask": torch.ones_like(normal(batch, length, length)).tril(),
        "position_ids": torch.arange(length).expand(batch, -1),
    }


def prx(batch: int, normal: Callable) -> dict:
    return {
        "hidden_states": normal(batch, 4, 8, 8),
        "encoder_hidden_states": normal(batch, TEXT_TOKENS, 12),
        "attention_mask": text_mask(batch),
    }


def cosmos_3(batch: int, normal: Callable) -> dict:
    """Of one sample, however many are asked for."""
    image = torch.arange(TEXT_TOKENS, TEXT_TOKENS + 16)
    return {
        "input_ids": torch.arange(1, TEXT_TOKENS + 1),
        "text_indexes": torch.arange(TEXT_TOKENS),
        "position_ids": torch.arange(TEXT_TOKENS + 16).expand(3, -1),
        "und_len": TEXT_TOKENS,
        "sequence_length": TEXT_TOKENS + 16,
        "vision_tokens": [normal(1, 4, 1, 8, 8)],
        "vision_token_shapes": [(1, 4, 4)],
        "vision_sequence_indexes": image,
        "vision_mse_loss_indexes": image,
        "vision_noisy_frame_indexes": [torch.arange(1)],
    }


def minimax_h3(batch: int, normal: Callable) -> dict:
    """Text, two rows of a reference image, three of sound, and the video."""
    tags = torch.tensor([1] * TEXT_TOKENS + [0] * 2 + [2] * 3 + [0] * 8)
    return {
        "hidden_states": normal(batch, 10, 16),
        "audio_hidden_states": normal(batch, 3, 4),
        "encoder_hidden_states": normal(batch, TEXT_TOKENS, 12),
        "timestep_indices": torch.tensor([0] * TEXT_TOKENS + [1] * 2 + [0] * 11),
        "token_tags": tags,
        "position_ids": torch.arange(len(tags))[:, None].expand(-1, 3),
        "video_indices": (tags == 0).nonzero().flatten(),
        "audio_indices": (tags == 2).nonzero().flatten(),
        "text_indices": (tags == 1).nonzero().flatten(),
    }


HEADS = {"attention_head_dim": 8, "num_attention_heads": 2}
MOTIF = {
    **HEADS,
    "in_channels": 4,
    "out_channels": 4,
    "num_layers": 1,
    "num_single_layers": 2,
    "num_decoder_layers": 1,
    "text_embed_dim": 12,
    "image_embed_dim": 9,
    "rope_axes_dim": AXES,
    "enable_text_cross_attention_dual": True,
}


def motif_model(**changes: object) -> torch.nn.Module:
    """Whose embedding of the timestep takes no float64."""
    model = diffusers.MotifVideoTransformer3DModel(**{**MOTIF, **changes})
    embedding = model.time_text_embed
    embedding.time_proj.register_forward_hook(
        lambda *call: call[-1].to(embedding.timestep_embedder.linear_1.weight.dtype)
    )
    return model


Z_IMAGE = {
    "in_channels": 4,
    "dim": 16,
    "n_layers": 2,
    "n_refiner_layers": 1,
    "n_heads": 2,
    "n_kv_heads": 2,
    "cap_feat_dim": 12,
    "axes_dims": list(AXES),
    "axes_lens": [128, 16, 16],
}

FLUX = {**HEADS, "in_channels": 4, "num_layers": 2, "num_single_layers": 2, "joint_attention_dim": 12}
CHROMA = {
    **FLUX,
    "axes_dims_rope": AXES,
    "approximator_num_channels": 16,
    "approximator_hidden_dim": 8,
    "approximator_layers": 1,
}
HUNYUAN = {**HEADS, "in_channels": 4, "out_channels": 4, "num_layers": 2, "num_refiner_layers": 1, "text_embed_dim": 12}
VIDEO_15 = {**HUNYUAN, "text_embed_2_dim": 10, "image_embed_dim": 9, "rope_axes_dim": AXES}
FIBO_2 = {
    "in_channels": 4,
    "dim": 16,
    "n_layers": 2,
    "n_refiner_layers": 1,
    "n_heads": 2,
    "cap_feat_dim": 12,
    "injection_layer_ids": (0,),
    "perceiver_num_layers": 1,
    "min_num_gist_tokens": 2,
    "max_num_gist_tokens": 3,
    "gist_step": 1,
    "gist_min_text_len": 6,
    "gist_max_text_len": 8,
    "axes_dims": AXES,
    "axes_lens": (16, 16, 16),
}

CASES = (
    FamilyCase(
        "zimage",
        "ZImageTransformer2DModel",
        Z_IMAGE,
        z_image,
        lambda level: {"t": (1000 - level) / 1000},
        prompt=("cap_feats",),
        latents=("x",),
    ),
    FamilyCase(
        "zimage-omni",
        "ZImageTransformer2DModel",
        {**Z_IMAGE, "siglip_feat_dim": 10},
        z_image_omni,
        lambda level: {"t": (1000 - level) / 1000},
        prompt=("cap_feats",),
        latents=("x",),
    ),
    FamilyCase("chroma", "ChromaTransformer2DModel", CHROMA, flux_like, thousandths),
    # diffusers forgets the mask of single blocks when it checkpoints them.
    FamilyCase("chroma-padded", "ChromaTransformer2DModel", CHROMA, chroma, thousandths, checkpointing=False),
    FamilyCase(
        "qwenimage21",
        "QwenImage21Transformer2DModel",
        {**HEADS, "in_channels": 4, "out_channels": 4, "num_layers": 2, "context_in_dim": 12, "axes_dims_rope": AXES},
        qwen_image_21,
        thousandths,
        drawn_tokens=16,
    ),
    FamilyCase(
        "hunyuanimage",
        "HunyuanImageTransformer2DModel",
        {**HUNYUAN, "num_single_layers": 1, "text_embed_2_dim": 10, "rope_axes_dim": (4, 4)},
        hunyuan_image,
        raw,
        prompt=("encoder_hidden_states", "encoder_hidden_states_2"),
        # diffusers passes the checkpointing function what it does not take.
        checkpointing=False,
    ),
    FamilyCase(
        "hunyuanvideo15",
        "HunyuanVideo15Transformer3DModel",
        VIDEO_15,
        hunyuan_video_15,
        raw,
        prompt=("encoder_hidden_states", "encoder_hidden_states_2"),
    ),
    FamilyCase(
        "hunyuanvideo15-text",
        "HunyuanVideo15Transformer3DModel",
        VIDEO_15,
        hunyuan_video_15_of_text,
        raw,
        prompt=("encoder_hidden_states", "encoder_hidden_states_2"),
    ),
    FamilyCase("bria", "BriaTransformer2DModel", {**FLUX, "axes_dims_rope": AXES}, flux_like, raw),
    FamilyCase(
        "briafibo",
        "BriaFiboTransformer2DModel",
        {**FLUX, "axes_dims_rope": AXES, "text_encoder_dim": 10},
        fibo,
        raw,
        prompt=("encoder_hidden_states", "text_encoder_layers"),
    ),
    FamilyCase(
        "briafibo2",
        "BriaFibo2Transformer2DModel",
        FIBO_2,
        fibo_2,
        thousandths,
        latents=("hidden_states", "context_latents"),
    ),
    FamilyCase("briafibo2-alike", "BriaFibo2Transformer2DModel", FIBO_2, fibo_2_alike, thousandths),
    FamilyCase(
        "ovis",
        "OvisImageTransformer2DModel",
        {**FLUX, "axes_dims_rope": AXES, "out_channels": 4},
        flux_like,
        thousandths,
    ),
    FamilyCase("longcat", "LongCatImageTransformer2DModel", {**FLUX, "axes_dims_rope": AXES}, flux_like, thousandths),
    FamilyCase(
        "lumina2",
        "Lumina2Transformer2DModel",
        {
            "in_channels": 4,
            "hidden_size": 16,
            "num_layers": 2,
            "num_refiner_layers": 1,
            "num_attention_heads": 2,
            "num_kv_heads": 1,
            "multiple_of": 8,
            "axes_dim_rope": AXES,
            "axes_lens": (32, 16, 16),
            "cap_feat_dim": 12,
        },
        masked,
        lambda level: {"timestep": 1 - level / 1000},
    ),
    FamilyCase(
        "cogview4",
        "CogView4Transformer2DModel",
        {
            **HEADS,
            "in_channels": 4,
            "out_channels": 4,
            "num_layers": 2,
            "text_embed_dim": 12,
            "time_embed_dim": 8,
            "condition_dim": 4,
            "rope_axes_dim": (8, 8),
        },
        cogview,
        raw,
    ),
    FamilyCase(
        "cogview3plus",
        "CogView3PlusTransformer2DModel",
        {
            **HEADS,
            "in_channels": 4,
            "out_channels": 4,
            "num_layers": 2,
            "text_embed_dim": 12,
            "time_embed_dim": 8,
            "condition_dim": 4,
            "sample_size": 8,
            "pos_embed_max_size": 8,
        },
        cogview,
        raw,
    ),
    FamilyCase(
        "auraflow",
        "AuraFlowTransformer2DModel",
        {
            **HEADS,
            "sample_size": 8,
            "num_mmdit_layers": 2,
            "num_single_dit_layers": 1,
            "joint_attention_dim": 12,
            "caption_projection_dim": 16,
            "pos_embed_max_size": 64,
        },
        spatial,
        thousandths,
    ),
    FamilyCase(
        "hidream",
        "HiDreamImageTransformer2DModel",
        {
            **HEADS,
            "patch_size": 2,
            "in_channels": 4,
            "out_channels": 4,
            "num_layers": 2,
            "num_single_layers": 2,
            "caption_channels": [12, 10],
            "text_emb_dim": 11,
            "axes_dims_rope": AXES,
            "max_resolution": (4, 4),
            "llama_layers": [0, 1, 2, 3],
        },
        hidream,
        lambda level: {"timesteps": level},
        prompt=("encoder_hidden_states_t5", "encoder_hidden_states_llama3"),
    ),
    FamilyCase(
        "mochi",
        "MochiTransformer3DModel",
        {
            **HEADS,
            "in_channels": 4,
            "num_layers": 2,
            "text_embed_dim": 16,
            "pooled_projection_dim": 8,
            "time_embed_dim": 8,
        },
        masked_video,
        lambda level: {"timestep": 1000 - level},
    ),
    FamilyCase(
        "consisid",
        "ConsisIDTransformer3DModel",
        {
            **HEADS,
            "in_channels": 4,
            "out_channels": 4,
            "time_embed_dim": 8,
            "text_embed_dim": 12,
            "num_layers": 2,
            "sample_width": 4,
            "sample_height": 4,
            "sample_frames": 5,
            "max_text_seq_length": TEXT_TOKENS,
        },
        cogvideo,
        raw,
    ),
    FamilyCase(
        "framepack",
        "HunyuanVideoFramepackTransformer3DModel",
        {
            **HUNYUAN,
            "num_single_layers": 1,
            "pooled_projection_dim": 10,
            "guidance_embeds": False,
            "rope_axes_dim": AXES,
            "image_proj_dim": 9,
            "has_image_proj": True,
            "has_clean_x_embedder": True,
        },
        framepack,
        raw,
        latents=("hidden_states", "latents_clean", "latents_history_2x", "latents_history_4x"),
    ),
    FamilyCase(
        "flux3",
        "Flux3Transformer2DModel",
        {
            **HEADS,
            "in_channels": 4,
            "cond_in_channels": 4,
            "num_layers": 1,
            "num_single_layers": 2,
            "joint_attention_dim": 12,
            "timestep_channels": 16,
            "axes_dims_rope": (2, 2, 2, 2),
        },
        flux_3,
        thousandths,
        # QK-norm is computed in float32.
        tolerance=1e-6,
        latents=("hidden_states", "image_cond_hidden_states"),
        lora=("to_qkv", "to_q", "to_k", "to_v"),
    ),
    FamilyCase(
        "krea2",
        "Krea2Transformer2DModel",
        {
            **HEADS,
            "in_channels": 4,
            "num_layers": 2,
            "num_key_value_heads": 1,
            "intermediate_size": 16,
            "timestep_embed_dim": 8,
            "text_hidden_dim": 16,
            "num_text_layers": 2,
            "text_num_attention_heads": 2,
            "text_num_key_value_heads": 2,
            "text_intermediate_size": 16,
            "num_layerwise_text_blocks": 1,
            "num_refiner_text_blocks": 1,
            "axes_dims_rope": AXES,
        },
        krea_2,
        thousandths,
    ),
    FamilyCase(
        "glmimage",
        "GlmImageTransformer2DModel",
        {
            **HEADS,
            "in_channels": 4,
            "out_channels": 4,
            "num_layers": 2,
            "text_embed_dim": 12,
            "time_embed_dim": 8,
            "condition_dim": 4,
            "prior_vq_quantizer_codebook_size": 16,
        },
        glm_image,
        lambda level: {"timestep": level - 1},
    ),
    FamilyCase(
        "ernieimage",
        "ErnieImageTransformer2DModel",
        {
            "hidden_size": 16,
            "num_attention_heads": 2,
            "num_layers": 2,
            "ffn_hidden_size": 16,
            "in_channels": 4,
            "out_channels": 4,
            "text_in_dim": 12,
            "rope_axes_dim": AXES,
        },
        ernie,
        raw,
        prompt=("text_bth",),
    ),
    FamilyCase(
        "ideogram4",
        "Ideogram4Transformer2DModel",
        {
            **HEADS,
            "in_channels": 4,
            "num_layers": 2,
            "intermediate_size": 16,
            "adaln_dim": 8,
            "llm_features_dim": 12,
            "mrope_section": (2, 1, 1),
        },
        ideogram_4,
        lambda level: {"timestep": 1 - level / 1000},
    ),
    FamilyCase(
        "joyimage",
        "JoyImageEditTransformer3DModel",
        {
            "in_channels": 4,
            "hidden_size": 16,
            "num_attention_heads": 2,
            "text_dim": 12,
            "num_layers": 2,
            "rope_dim_list": list(AXES),
        },
        joy_image,
        raw,
        lora=("img_attn_qkv", "txt_attn_qkv"),
    ),
    FamilyCase(
        "joyimageplus",
        "JoyImageEditPlusTransformer3DModel",
        {
            "in_channels": 4,
            "hidden_size": 16,
            "num_attention_heads": 2,
            "text_dim": 12,
            "num_layers": 2,
            "rope_dim_list": list(AXES),
        },
        joy_image_plus,
        raw,
        lora=("img_attn_qkv", "txt_attn_qkv"),
    ),
    FamilyCase(
        "motifvideo",
        "MotifVideoTransformer3DModel",
        {},
        motif,
        raw,
        build=motif_model,
    ),
    FamilyCase(
        "easyanimate",
        "EasyAnimateTransformer3DModel",
        {
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "in_channels": 4,
            "out_channels": 4,
            "patch_size": 2,
            "sample_width": 4,
            "sample_height": 4,
            "num_layers": 2,
            "mmdit_layers": 1,
            "time_embed_dim": 8,
            "text_embed_dim": 12,
            "text_embed_dim_t5": 10,
            "time_position_encoding_type": "3d_rope",
        },
        easy_animate,
        raw,
        prompt=("encoder_hidden_states", "encoder_hidden_states_t5"),
    ),
    FamilyCase(
        "nucleusmoe",
        "NucleusMoEImageTransformer2DModel",
        {
            **HEADS,
            "in_channels": 16,
            "out_channels": 4,
            "num_layers": 2,
            "num_key_value_heads": 1,
            "joint_attention_dim": 12,
            "axes_dims_rope": AXES,
            "moe_enabled": False,
            "capacity_factors": [8.0, 8.0],
        },
        nucleus,
        thousandths,
        lora=("to_q", "to_k", "add_k_proj"),
    ),
    FamilyCase(
        "omnigen",
        "OmniGenTransformer2DModel",
        {
            "in_channels": 4,
            "hidden_size": 16,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "intermediate_size": 16,
            "num_layers": 2,
            "pad_token_id": 0,
            "vocab_size": 16,
            "time_step_dim": 8,
            "rope_scaling": {"long_factor": [1.0] * 4, "short_factor": [1.0] * 4},
            "pos_embed_max_size": 8,
        },
        omnigen,
        lambda level: {"timestep": 1 - level / 1000},
        prompt=("input_ids",),
        latents=("hidden_states", "input_img_latents"),
    ),
    FamilyCase(
        "prx",
        "PRXTransformer2DModel",
        {"in_channels": 4, "context_in_dim": 12, "hidden_size": 16, "num_heads": 2, "depth": 2, "axes_dim": [4, 4]},
        prx,
        thousandths,
        lora=("img_qkv_proj", "txt_kv_proj"),
    ),
    FamilyCase(
        "cosmos3",
        "Cosmos3OmniTransformer",
        {
            "head_dim": 8,
            "hidden_size": 16,
            "intermediate_size": 16,
            "latent_channel": 4,
            "patch_latent_dim": 16,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "num_hidden_layers": 2,
            "rope_axes_dim": (2, 1, 1),
            "vocab_size": 16,
        },
        cosmos_3,
        lambda level: {"vision_timesteps": level[:1].expand(16)},
        prompt=("input_ids",),
        latents=("vision_tokens",),
        lora=("to_k", "to_v", "add_q_proj"),
        shared=True,
    ),
    FamilyCase(
        "minimaxh3",
        "MiniMaxH3Transformer3DModel",
        {
            **HEADS,
            "hidden_size": 16,
            "num_layers": 2,
            "num_refiner_layers": 1,
            "ffn_dim": 16,
            "in_channels": 4,
            "audio_in_channels": 4,
            "text_dim": 12,
            "freq_dim": 8,
            "time_embed_hidden_dim": 8,
            "time_embed_dim": 8,
            "rope_freq_dim": 1,
        },
        minimax_h3,
        lambda level: {"timestep": torch.stack([1 - level[0] / 1000, torch.ones_like(level[0])])},
        shared=True,
    ),
)

# An older diffusers lacks some of the classes.
CASES = tuple(case for case in CASES if hasattr(diffusers, case.transformer))
# Those of `tiny_models`, which have tests of their own too.
CASES += tuple(
    FamilyCase(
        case.name,
        type(case.model()).__name__,
        {},
        case.arguments,
        raw if case.timestep_scale == 1 else thousandths,
        build=case.build,
        lora=("to_qkv_mlp_proj", "to_q", "to_k", "to_v"),
    )
    for case in FIRST
)
