"""Every transformer that diffusers exports is in the table, or refused for a reason that its attention proves."""

import inspect
from pathlib import Path

import diffusers
import pytest
import torch
from diffusers.models.modeling_utils import ModelMixin
from observed_taca import joint_attention
from tiny_families import TEXT_TOKENS, predict

from taca.families import FAMILIES, family_of
from taca.refusals import REFUSALS


def exported() -> set[str]:
    names = diffusers._import_structure["models"]
    kinds = {name: getattr(diffusers, name, None) for name in names}
    return {
        name
        for name, kind in kinds.items()
        if inspect.isclass(kind)
        and issubclass(kind, ModelMixin)
        and kind.__module__.startswith("diffusers.models.transformers.")
    }


def test_no_class_is_unlisted_and_none_is_listed_twice():
    taken = {family.transformer for family in FAMILIES}
    # An older diffusers lacks some of them.
    assert exported() == {name for name in taken | set(REFUSALS) if hasattr(diffusers, name)}
    assert not taken & set(REFUSALS)


def test_the_table_of_the_documentation_is_that_of_the_code():
    page = (Path(__file__).parents[2] / "docs/library.md").read_text()
    rows = [f"| `{family.transformer}` | {family.layout} |" for family in FAMILIES]
    assert "\n".join(rows) in page


def embeds(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, TEXT_TOKENS, 16, dtype=torch.float64)


def video() -> torch.Tensor:
    return torch.randn(2, 4, 2, 4, 4, dtype=torch.float64)


def image() -> torch.Tensor:
    return torch.randn(2, 4, 8, 8, dtype=torch.float64)


WAN = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": 16,
    "freq_dim": 8,
    "ffn_dim": 16,
    "num_layers": 2,
}
CROSS = {
    "WanTransformer3DModel": (WAN, video),
    "SkyReelsV2Transformer3DModel": (WAN, video),
    "ChronoEditTransformer3DModel": (WAN, video),
    "SanaTransformer2DModel": (
        {
            "in_channels": 4,
            "out_channels": 4,
            "num_layers": 2,
            "num_attention_heads": 2,
            "attention_head_dim": 8,
            "num_cross_attention_heads": 2,
            "cross_attention_head_dim": 8,
            "cross_attention_dim": 16,
            "caption_channels": 16,
            "sample_size": 8,
        },
        image,
    ),
    "AllegroTransformer3DModel": (
        {
            "num_attention_heads": 2,
            "attention_head_dim": 12,
            "in_channels": 4,
            "out_channels": 4,
            "num_layers": 2,
            "cross_attention_dim": 24,
            "caption_channels": 16,
            "sample_width": 4,
            "sample_height": 4,
            "sample_frames": 2,
        },
        video,
    ),
}


@pytest.mark.parametrize("name", CROSS)
@torch.no_grad()
def test_no_image_query_meets_text_and_image_keys(name):
    config, latents = CROSS[name]
    torch.manual_seed(0)
    model = getattr(diffusers, name)(**config).double().eval()
    arguments = {
        "hidden_states": latents(),
        "encoder_hidden_states": embeds(),
        "timestep": torch.tensor([980.0, 980.0], dtype=torch.float64),
    }
    if name == "AllegroTransformer3DModel":
        arguments |= {
            "attention_mask": torch.ones(2, 2, 4, 4),
            "encoder_attention_mask": torch.ones(2, TEXT_TOKENS),
            "image_rotary_emb": None,
        }
    other = arguments | {"encoder_hidden_states": embeds()}
    assert not torch.equal(predict(model, arguments), predict(model, other))
    assert not joint_attention(
        lambda given: predict(model, given), arguments, other, arguments | {"hidden_states": latents()}
    )
    with pytest.raises(ValueError, match=f"{name} reads the prompt by cross-attention"):
        family_of(model)
