"""The table of families."""

import inspect

import pytest
from diffusers import SD3Transformer2DModel
from tiny_families import CASES
from tiny_sd3 import transformer

from taca.families import FAMILIES, attention_modules, family_of
from taca.processors.derived import derived


def test_every_joint_attention_of_sd3_is_a_site_and_no_other():
    """The image-only second attention of the first block is none."""
    model = transformer()
    names = {module: name for name, module in model.named_modules()}
    found = [names[module] for module in attention_modules(model, family_of(model))]
    assert found == [f"transformer_blocks.{block}.attn" for block in range(3)]


def test_subclass_belongs_to_the_family_of_its_class():
    class Mine(SD3Transformer2DModel):
        pass

    assert family_of(Mine(**transformer(num_layers=1).config)) is FAMILIES[0]


def test_a_stock_processor_that_calls_another_attention_is_refused_by_name():
    """As one of a later diffusers may."""

    class LaterAttnProcessor:
        def __call__(self, attn, hidden_states):
            return another_attention(hidden_states)  # noqa: F821

    with pytest.raises(
        ValueError, match=r"LaterAttnProcessor.__call__ of diffusers [\d.]+ calls no attention that TACA"
    ):
        derived(LaterAttnProcessor)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_processor_takes_the_arguments_of_its_stock_processor(case):
    """diffusers passes on only the keyword arguments that it finds in the signature."""
    model = case.model()
    for module, site in attention_modules(model, family_of(model)).items():
        kinds = (type(module.processor), site.replacement(module))
        stock, ours = (inspect.signature(kind.__call__).parameters for kind in kinds)
        assert list(ours) == list(stock)
