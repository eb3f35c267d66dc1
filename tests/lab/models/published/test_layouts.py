"""The JSON files of the published bases make the published models, and the tiny checkpoints differ in sizes alone."""

import hashlib
import json

import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors import safe_open

from tests.published import make_checkpoint, published_config
from tests.published.checkpoint import build, published_files, published_tensors
from tests.published.layout import LAYOUTS
from tests.published.sizes import SIZES

# FLUX.1's transformer and T5: half of the bytes that their published indices state. The others are stored in one file
# without an index; 2,243,171,520 parameters of SD3.5-medium's transformer and a table of 384 x 384 positions, 1,536 wide.
COUNTS = {
    ("sd35-medium", "transformer"): 2_469_663_936,
    ("sd35-medium", "text_encoder"): 123_650_304,
    ("sd35-medium", "text_encoder_2"): 694_659_840,
    ("sd35-medium", "text_encoder_3"): 4_762_310_656,
    ("sd35-medium", "vae"): 83_819_683,
    ("flux-dev", "transformer"): 11_901_408_320,
    ("flux-dev", "text_encoder"): 123_060_480,
    ("flux-dev", "text_encoder_2"): 4_762_310_656,
    ("flux-dev", "vae"): 83_819_683,
}


def both(*names):
    return {f"{name}.{kind}" for name in names for kind in ("weight", "bias")}


def blocks(prefix, numbers, names):
    return {f"{prefix}.{number}.{name}" for number in numbers for name in names}


STREAMS = both("ff.net.0.proj", "ff.net.2", "norm1.linear", "norm1_context.linear")
IMAGE = {*both("to_q", "to_k", "to_v", "to_out.0"), "norm_q.weight", "norm_k.weight"}
TEXT = {*both("add_q_proj", "add_k_proj", "add_v_proj"), "norm_added_q.weight", "norm_added_k.weight"}
TO_TEXT = both("attn.to_add_out", "ff_context.net.0.proj", "ff_context.net.2")
JOINT = {f"attn.{name}" for name in IMAGE | TEXT}
FLUX_KEYS = {
    *both("x_embedder", "context_embedder", "norm_out.linear", "proj_out"),
    *both(*(f"time_text_embed.{part}_embedder.linear_{n}" for part in ("timestep", "text", "guidance") for n in "12")),
    *blocks("transformer_blocks", range(19), STREAMS | JOINT | TO_TEXT),
    *blocks(
        "single_transformer_blocks",
        range(38),
        {
            *both("attn.to_q", "attn.to_k", "attn.to_v", "norm.linear", "proj_mlp", "proj_out"),
            "attn.norm_q.weight",
            "attn.norm_k.weight",
        },
    ),
}
SD35_KEYS = {
    "pos_embed.pos_embed",
    *both("pos_embed.proj", "context_embedder", "norm_out.linear", "proj_out"),
    *both(*(f"time_text_embed.{part}_embedder.linear_{n}" for part in ("timestep", "text") for n in "12")),
    *blocks("transformer_blocks", range(24), STREAMS | JOINT),
    *blocks("transformer_blocks", range(23), TO_TEXT),  # the last one has no text to pass on
    *blocks("transformer_blocks", range(13), {f"attn2.{name}" for name in IMAGE}),
}
T5_KEYS = {
    "shared.weight",
    "encoder.final_layer_norm.weight",
    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
    *blocks("encoder.block", range(24), {f"layer.0.SelfAttention.{name}.weight" for name in "qkvo"}),
    *blocks("encoder.block", range(24), {f"layer.1.DenseReluDense.{name}.weight" for name in ("wi_0", "wi_1", "wo")}),
    *blocks("encoder.block", range(24), {"layer.0.layer_norm.weight", "layer.1.layer_norm.weight"}),
}


def clip_keys(layers):
    embeddings = {f"text_model.embeddings.{name}_embedding.weight" for name in ("token", "position")}
    parts = (*(f"self_attn.{name}_proj" for name in "qkv"), "self_attn.out_proj", "mlp.fc1", "mlp.fc2")
    layer = both(*parts, "layer_norm1", "layer_norm2")
    return {
        *embeddings,
        *both("text_model.final_layer_norm"),
        *blocks("text_model.encoder.layers", range(layers), layer),
    }


KEYS = {
    ("sd35-medium", "transformer"): SD35_KEYS,
    ("sd35-medium", "text_encoder"): clip_keys(12) | {"text_projection.weight"},
    ("sd35-medium", "text_encoder_2"): clip_keys(32) | {"text_projection.weight"},
    ("sd35-medium", "text_encoder_3"): T5_KEYS,
    ("flux-dev", "transformer"): FLUX_KEYS,
    ("flux-dev", "text_encoder"): clip_keys(12),
    ("flux-dev", "text_encoder_2"): T5_KEYS,
}


@pytest.mark.parametrize(("name", "part"), COUNTS)
def test_published_configs_make_models_of_the_published_size_and_keys(name, part):
    with torch.device("meta"):
        model = build(name, part, published_config(name, f"{part}/config.json"))
    tensors = published_tensors(model)
    assert sum(tensor.numel() for tensor in tensors.values()) == COUNTS[name, part]
    assert set(tensors) == KEYS.get((name, part), set(tensors))


@pytest.mark.parametrize("name", LAYOUTS)
def test_tiny_checkpoints_differ_from_the_published_configs_in_listed_sizes_alone(name, tmp_path):
    folder = make_checkpoint(name, tmp_path / name)
    for file in published_files(name):
        tiny, published = json.loads((folder / file).read_text()), published_config(name, file)
        changed = {key for key in {*tiny, *published} if tiny.get(key, ...) != published.get(key, ...)}
        assert changed == set(SIZES[name].get(file, {}))


@pytest.mark.parametrize("name", LAYOUTS)
def test_tiny_checkpoints_have_the_published_files_shards_and_formats(name, tmp_path):
    folder = make_checkpoint(name, tmp_path / name)
    for part, weights in LAYOUTS[name].weights.items():
        for variant in weights.variants:
            middle = f".{variant}" if variant else ""
            pattern = f"*model{middle}-*-of-*.safetensors" if weights.shards > 1 else f"*model{middle}.safetensors"
            files = sorted((folder / part).glob(pattern))
            assert len(files) == weights.shards
            for file in files:
                with safe_open(file, "pt") as opened:
                    dtypes = {opened.get_tensor(key).dtype for key in opened.keys()}  # noqa: SIM118 - no mapping
                assert dtypes == {getattr(torch, weights.dtype)}
    assert all((folder / file).is_file() for file in LAYOUTS[name].beside)


@pytest.mark.parametrize("name", LAYOUTS)
def test_tiny_checkpoints_are_the_same_bytes_for_a_seed_and_diffusers_draws_with_them(name, tmp_path):
    folders = [make_checkpoint(name, tmp_path / str(number), seed) for number, seed in enumerate((3, 3, 4))]
    first, second, other = (digest(folder) for folder in folders)
    assert first == second != other

    pipe = DiffusionPipeline.from_pretrained(folders[0], dtype=torch.float32, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    images = pipe(
        ["a red cube", "a blue ball"], height=64, width=64, num_inference_steps=2, max_sequence_length=32, output_type="pt"
    ).images
    assert images.shape == (2, 3, 64, 64)
    assert images.isfinite().all()
    assert not torch.equal(images[0], images[1])


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
