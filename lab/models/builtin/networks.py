"""The untrained parts of the pipeline, each of the class that Stable Diffusion 3.5 uses."""

from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from lab.models.builtin.config import BuiltinConfig
from lab.world.geometry import CANVAS

HEAD_DIM = 32
LATENT_SIZE = CANVAS // 4
PATCH_SIZE = 2


def autoencoder(config: BuiltinConfig) -> AutoencoderKL:
    """Pixels (B, 3, 64, 64) in [-1, 1] to latents (B, `latent_channels`, 16, 16) and back."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 64, 64),
        layers_per_block=1,
        latent_channels=config.latent_channels,
        norm_num_groups=4,
        sample_size=CANVAS,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        force_upcast=False,
    )


def transformer(config: BuiltinConfig) -> SD3Transformer2DModel:
    """MM-DiT with QK-norm and, as SD3.5-medium has, image-only second attention in its first block."""
    model = SD3Transformer2DModel(
        sample_size=LATENT_SIZE,
        patch_size=PATCH_SIZE,
        in_channels=config.latent_channels,
        out_channels=config.latent_channels,
        num_layers=config.layers,
        attention_head_dim=HEAD_DIM,
        num_attention_heads=config.width // HEAD_DIM,
        joint_attention_dim=2 * config.text_width,
        caption_projection_dim=config.width,
        pooled_projection_dim=2 * config.text_width,
        pos_embed_max_size=LATENT_SIZE // PATCH_SIZE,
        dual_attention_layers=(0,),
        qk_norm="rms_norm",
    )
    # adaLN-Zero (DiT, section 3.2): every block starts as the identity, which diffusers leaves to the trainer.
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and (name.endswith("linear") or name == "proj_out"):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return model


def clip_text_encoder(config: BuiltinConfig, tokenizer) -> CLIPTextModelWithProjection:
    """CLIP-type encoder; the pipeline takes its last but one layer's states and its pooled projection."""
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.text_width,
            intermediate_size=2 * config.text_width,
            projection_dim=config.text_width,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=config.clip_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def t5_text_encoder(config: BuiltinConfig, tokenizer) -> T5EncoderModel:
    """T5-type encoder as wide as both CLIP encoders together, as the pipeline's concatenation wants it."""
    return T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=2 * config.text_width,
            d_kv=32,
            d_ff=4 * config.text_width,
            num_layers=1,
            num_heads=4,
            relative_attention_num_buckets=16,
            relative_attention_max_distance=32,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            is_encoder_decoder=False,
            use_cache=False,
        )
    )


def scheduler(config: BuiltinConfig) -> FlowMatchEulerDiscreteScheduler:
    """Flow-matching Euler scheduler with SD3's static shift."""
    return FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=config.shift)
