"""What the tiny checkpoints change in the published JSON files: sizes, and nothing else."""

# Letters in CLIP's byte-level alphabet, in the middle and at the end of a word, and its two special tokens.
CLIP_VOCABULARY = 514
T5_VOCABULARY = 256
WIDTH = 40  # of T5's states; more than both CLIPs have together, so that SD3 pads those, as at full size

_CLIP = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "projection_dim": 16,
    "vocab_size": CLIP_VOCABULARY,
}
_T5 = {
    "d_model": WIDTH,
    "d_ff": 64,
    "d_kv": 8,
    "num_heads": 2,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "vocab_size": T5_VOCABULARY,
}
_VAE = {"block_out_channels": [8, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 4, "sample_size": 64}

SIZES: dict[str, dict[str, dict]] = {
    "sd35-medium": {
        "transformer/config.json": {
            "attention_head_dim": 8,
            "num_attention_heads": 2,
            "caption_projection_dim": 16,
            "num_layers": 4,
            "dual_attention_layers": [0, 1],
            "joint_attention_dim": WIDTH,
            "pooled_projection_dim": 32,
            "pos_embed_max_size": 16,
            "sample_size": 8,
        },
        "vae/config.json": _VAE,
        "text_encoder/config.json": _CLIP,
        "text_encoder_2/config.json": _CLIP,
        "text_encoder_3/config.json": _T5,
    },
    "flux-dev": {
        "transformer/config.json": {
            "attention_head_dim": 8,
            "axes_dims_rope": [4, 2, 2],  # a default of the class, and parts of a head
            "num_attention_heads": 2,
            "num_layers": 2,
            "num_single_layers": 2,
            "joint_attention_dim": WIDTH,
            "pooled_projection_dim": 16,
        },
        "vae/config.json": _VAE,
        "text_encoder/config.json": _CLIP,
        "text_encoder_2/config.json": _T5,
    },
}
