"""The node of ComfyUI, on its four models' call sites rebuilt in small; where `comfy` imports, on its own functions."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rebuilt import DIM, HEADS, Flux, Model, Patcher, QwenImage, Sd35, ZImage, attention

from comfyui_taca import NODE_CLASS_MAPPINGS
from comfyui_taca.nodes import APPLY_MODEL, BOTH, POSITIVE, Taca
from taca.attention import explicit_attention, scale_text_keys

ROOT = Path(__file__).parents[2]
WIDTH, N_TXT = HEADS * DIM, 5
ACTIVE, INACTIVE = 0.98, 0.5
# Latents of odd sizes: 3 x 4 patches.
LATENTS = {"flux": (16, 5, 8), "qwenimage": (16, 2, 5, 8), "sd35": (16, 5, 8), "zimage": (16, 5, 8)}
MODELS = {"flux": Flux, "qwenimage": QwenImage, "sd35": Sd35, "zimage": ZImage}


def inputs(name, batch=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    latent = torch.randn(batch, *LATENTS[name], generator=generator, dtype=dtype)
    return latent, torch.randn(batch, N_TXT, WIDTH, generator=generator, dtype=dtype)


def patched(name, gamma=2.0, threshold=970.0, branches=BOTH):
    return Taca().apply(Patcher(MODELS[name]()), gamma, threshold, branches)[0]


def expected(tokens, num_text_tokens, gamma):
    """Eq. 10 with every logit in memory, for the query, key and value that the rebuilt models make of tokens."""
    heads = (x.unflatten(-1, (HEADS, DIM)).transpose(1, 2) for x in (tokens * 1.1, tokens * 0.9, tokens + 0.2))
    is_text = torch.arange(tokens.shape[1]) < num_text_tokens
    return explicit_attention(*heads, is_text, gamma).transpose(1, 2).flatten(2)


def joint_call(model):
    """The longest attention call's length and output."""
    return max(model.calls, key=lambda call: call[0])


@pytest.mark.parametrize("name", MODELS)
class TestEveryModel:
    def test_an_active_pass_is_equation_10(self, name):
        patcher = patched(name)
        model = patcher.model.diffusion_model
        x, context = inputs(name)
        patcher.predict(x, context, ACTIVE)
        text, image = context, model.image_tokens(x)
        if name == "zimage":
            text, image = (attend_alone(model.padded(tokens)) for tokens in (text, image))
        _, output = joint_call(model)
        torch.testing.assert_close(
            output, expected(torch.cat([text, image], 1), text.shape[1], 2.0), rtol=0, atol=1e-12
        )

    def test_an_inactive_pass_is_bitwise_the_stock_one(self, name):
        x, context = inputs(name, dtype=torch.float32)
        stock = Patcher(MODELS[name]()).predict(x, context, INACTIVE)
        assert torch.equal(patched(name).predict(x, context, INACTIVE), stock)
        assert not torch.equal(patched(name).predict(x, context, ACTIVE), stock)

    def test_text_alone_and_image_alone_are_bitwise_the_stock_calls(self, name):
        x, context = inputs(name, dtype=torch.float32)
        stock, with_taca = Patcher(MODELS[name]()), patched(name)
        stock.predict(x, context, ACTIVE)
        with_taca.predict(x, context, ACTIVE)
        calls = list(zip(stock.model.diffusion_model.calls, with_taca.model.diffusion_model.calls, strict=True))
        longest = joint_call(stock.model.diffusion_model)[0]
        assert [torch.equal(a, b) for (n, a), (_, b) in calls] == [n != longest for (n, _), _ in calls]

    def test_positive_only_leaves_the_negative_rows_as_they_are(self, name):
        x, context = inputs(name, batch=4)
        chunks = (1, 0)  # negative, positive; two images each
        stock = Patcher(MODELS[name]()).predict(x, context, ACTIVE, chunks)
        both = patched(name).predict(x, context, ACTIVE, chunks)
        positive = patched(name, branches=POSITIVE).predict(x, context, ACTIVE, chunks)
        torch.testing.assert_close(positive[:2], stock[:2])
        torch.testing.assert_close(positive[2:], both[2:])
        assert not torch.allclose(both[:2], stock[:2])
        alone = patched(name, branches=POSITIVE).predict(x[:2], context[:2], ACTIVE, (1,))
        assert torch.equal(alone, Patcher(MODELS[name]()).predict(x[:2], context[:2], ACTIVE, (1,)))

    def test_positive_only_is_refused_where_a_guider_has_three_prompts(self, name):
        """Whether all are in one pass or each in its own: the third comes in the same step."""
        x, context = inputs(name, batch=3)
        patcher = patched(name, branches=POSITIVE)
        for rows, chunks in ((3, (2, 1, 0)), (1, (2,))):
            with pytest.raises(ValueError, match="which of this guider's three prompts is the positive one"):
                patcher.predict(x[:rows], context[:rows], ACTIVE, chunks)
        patched(name).predict(x, context, ACTIVE, (2, 1, 0))

    def test_an_override_that_is_set_already_makes_the_calls(self, name):
        made = []

        def other(func, *args, **kwargs):
            made.append(args[1].shape)
            return func(*args, **kwargs)

        x, context = inputs(name)
        output = patched(name).predict(x, context, ACTIVE, override=other)
        torch.testing.assert_close(output, patched(name).predict(x, context, ACTIVE))
        # The joint call is two; the others are as many as without TACA.
        assert len(made) == len(stock_calls(name, x, context)) + 1

    def test_a_compiled_model_is_taken(self, name):
        patcher = Patcher(torch.compile(MODELS[name](), backend="eager"))
        Taca().apply(patcher, 1.2, 970.0, BOTH)

    def test_tokens_that_another_node_adds_are_refused(self, name):
        patcher = patched(name)
        x, context = inputs(name)
        model = patcher.model.diffusion_model
        tokens = model.image_tokens
        model.image_tokens = lambda latent: torch.cat([tokens(latent), tokens(latent)], 1)
        with pytest.raises(ValueError, match=r"TACA expects \d+ text and \d+ image tokens"):
            patcher.predict(x, context, ACTIVE)


def attend_alone(tokens):
    return Model().attend(tokens, None)


def stock_calls(name, x, context):
    patcher = Patcher(MODELS[name]())
    patcher.predict(x, context, ACTIVE)
    return patcher.model.diffusion_model.calls


@pytest.mark.parametrize("name", ["flux", "qwenimage", "zimage"])
@pytest.mark.parametrize("sizes", [[(4, 4)], [(3, 6), (7, 2)]])
def test_reference_latents_are_image_tokens(name, sizes):
    x, context = inputs(name)
    references = [torch.randn(*x.shape[:-2], *size, dtype=x.dtype) for size in sizes]
    patcher = patched(name)
    patcher.predict(x, context, ACTIVE, ref_latents=references)
    model = patcher.model.diffusion_model
    length, output = joint_call(model)
    num_text = N_TXT if name != "zimage" else 8 + 4 * len(sizes)
    if name != "zimage":
        tokens = torch.cat([context, *(model.image_tokens(latent) for latent in (x, *references))], 1)
        torch.testing.assert_close(output, expected(tokens, num_text, 2.0), rtol=0, atol=1e-12)
    assert length > num_text


@pytest.mark.parametrize("captions", [0, 1, 3])
@pytest.mark.parametrize("features", [0, 1])
def test_z_images_references_with_captions_and_vision_features_are_counted(captions, features):
    x, context = inputs("zimage")
    patcher = patched("zimage")
    patcher.model.diffusion_model.siglip_embedder = torch.nn.Identity()
    patcher.predict(
        x,
        context,
        ACTIVE,
        ref_latents=[x[..., :4, :6], x[..., :2, :2]],
        ref_contexts=[context[:, : 2 + n] for n in range(captions)],
        siglip_feats=[torch.randn(1, 2, 3, WIDTH, dtype=x.dtype)] * features,
    )  # a count that is wrong is refused


@pytest.mark.parametrize("rows", ["one", "each"])
def test_a_masks_rows_go_with_their_queries(rows):
    x, context = inputs("flux")
    length = N_TXT + 12
    mask = torch.zeros(1, 1 if rows == "one" else length, length, dtype=x.dtype)
    mask[..., N_TXT - 2 : N_TXT] = -torch.inf
    if rows == "each":
        mask[:, -3:, 4:9] = -1.0
    patcher = patched("flux")
    patcher.predict(x, context, ACTIVE, attention_mask=mask)
    tokens = torch.cat([context, patcher.model.diffusion_model.image_tokens(x)], 1)
    q, k, v = (t.unflatten(-1, (HEADS, DIM)).transpose(1, 2) for t in (tokens * 1.1, tokens * 0.9, tokens + 0.2))
    scaled = k.clone()
    scaled[:, :, :N_TXT] *= 2.0
    text, image = (attention(q, key, v, HEADS, mask, skip_reshape=True) for key in (k, scaled))
    reference = torch.cat([text[:, :N_TXT], image[:, N_TXT:]], 1)
    torch.testing.assert_close(joint_call(patcher.model.diffusion_model)[1], reference, rtol=0, atol=1e-12)


def test_the_threshold_is_on_the_0_to_1000_scale():
    x, context = inputs("flux")
    stock = Patcher(Flux()).predict(x, context, ACTIVE)
    acts = [not torch.equal(patched("flux").predict(x, context, sigma), stock) for sigma in (1.0, 0.97, 0.9699)]
    assert acts == [True, True, False]
    assert torch.equal(patched("flux", gamma=1.0).predict(x, context, INACTIVE), stock)


def test_each_sample_has_the_gamma_of_its_own_sigma():
    x, context = inputs("flux", batch=2)
    output = patched("flux").predict(x, context, [ACTIVE, INACTIVE])
    torch.testing.assert_close(output[:1], patched("flux").predict(x[:1], context[:1], ACTIVE))
    torch.testing.assert_close(output[1:], Patcher(Flux()).predict(x[1:], context[1:], INACTIVE))


def test_keys_are_scaled_as_the_library_scales_them():
    """bfloat16 has no 1.2; the node carries its own copy of the rule, since it is copied without the library."""
    x, context = inputs("flux", dtype=torch.bfloat16)
    patcher, keys = patched("flux", gamma=1.2), []
    patcher.predict(x, context, ACTIVE, override=lambda func, *a, **kw: (keys.append(a[1]), func(*a, **kw))[1])
    plain, scaled = keys
    assert torch.equal(scaled[:, :, :N_TXT], scale_text_keys(plain[:, :, :N_TXT], 1.2))
    assert torch.equal(scaled[:, :, N_TXT:], plain[:, :, N_TXT:])


class TestRefusals:
    def test_other_models_by_name(self):
        for diffusion_model, name in (
            (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
            (Lumina2(), "Lumina 2"),
        ):
            with pytest.raises(ValueError, match=f"TACA does not know the model {name}: connect FLUX"):
                Taca().apply(Patcher(diffusion_model), 1.2, 970.0, BOTH)

    def test_a_second_node(self):
        with pytest.raises(ValueError, match="has TACA already: remove one"):
            Taca().apply(patched("flux"), 1.2, 970.0, BOTH)

    @pytest.mark.parametrize(
        "values", [(0.0, 970.0, BOTH), (float("nan"), 970.0, BOTH), (1.2, 1001.0, BOTH), (1.2, 970.0, "negative only")]
    )
    def test_values_outside_their_range(self, values):
        with pytest.raises(ValueError, match="of the node TACA must be"):
            Taca().apply(Patcher(Flux()), *values)


class Lumina2(ZImage):
    pad_tokens_multiple = None


Lumina2.__module__, Lumina2.__qualname__ = ZImage.__module__, ZImage.__qualname__


def test_the_model_that_comes_in_is_left_alone():
    before = Patcher(Flux())
    after = Taca().apply(before, 1.2, 970.0, BOTH)[0]
    assert not before.get_wrappers(APPLY_MODEL, "taca")
    assert after.model is before.model


@pytest.mark.long
def test_the_folder_works_where_it_is_copied_to(tmp_path):
    """Without this repository and its packages; ComfyUI imports it by its path."""
    shutil.copytree(ROOT / "comfyui_taca", tmp_path / "custom_nodes" / "comfyui_taca")
    code = (
        "import sys, importlib.util as u; sys.modules.update(taca=None, diffusers=None);"
        "s = u.spec_from_file_location('copied', 'custom_nodes/comfyui_taca/__init__.py',"
        "submodule_search_locations=['custom_nodes/comfyui_taca']);"
        "m = u.module_from_spec(s); sys.modules['copied'] = m; s.loader.exec_module(m);"
        "print(list(m.NODE_CLASS_MAPPINGS))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "['TACA']", done.stderr


def test_the_workflow_passes_the_model_through_the_node():
    workflow = json.loads((ROOT / "comfyui_taca" / "workflow.json").read_text())
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for link, source, out, target, into, kind in workflow["links"]:
        assert link in nodes[source]["outputs"][out]["links"]
        assert nodes[target]["inputs"][into]["link"] == link
        assert nodes[source]["outputs"][out]["type"] == nodes[target]["inputs"][into]["type"] == kind
    (node,) = (node for node in workflow["nodes"] if node["type"] in NODE_CLASS_MAPPINGS)
    values = dict(zip(("gamma", "threshold", "branches"), node["widgets_values"], strict=True))
    assert values == {"gamma": 1.2, "threshold": 970.0, "branches": BOTH}
    targets = {nodes[target]["type"] for _, source, _, target, _, _ in workflow["links"] if source == node["id"]}
    assert targets == {"KSampler"}
    # The sampler gets the model from this node alone.
    assert sum(kind == "MODEL" for *_, kind in workflow["links"]) == 2


class TestInComfyUI:
    """Runs where ComfyUI itself is installed."""

    @pytest.fixture(autouse=True)
    def comfy(self):
        pytest.importorskip("comfy.ldm.modules.attention", reason="ComfyUI is not installed")

    def test_the_names_that_the_node_relies_on(self):
        from comfy.model_patcher import ModelPatcher
        from comfy.patcher_extension import WrappersMP

        assert WrappersMP.APPLY_MODEL == APPLY_MODEL
        assert {"clone", "add_wrapper_with_key", "get_wrappers", "get_model_object"} <= set(dir(ModelPatcher))

    @pytest.mark.parametrize("skip_reshape", [True, False])
    def test_the_override_within_its_attention_is_equation_10(self, skip_reshape):
        from comfy.ldm.modules.attention import attention_pytorch

        from comfyui_taca.attention import Override

        shape = (1, HEADS, 12, DIM) if skip_reshape else (1, 12, WIDTH)
        q, k, v = (torch.randn(shape) for _ in range(3))
        options = {"optimized_attention_override": Override(4, 8, torch.tensor([2.0]), None)}
        output = attention_pytorch(q, k, v, HEADS, skip_reshape=skip_reshape, transformer_options=options)
        heads = (q, k, v) if skip_reshape else (x.unflatten(-1, (HEADS, DIM)).transpose(1, 2) for x in (q, k, v))
        reference = explicit_attention(*heads, torch.arange(12) < 4, 2.0).transpose(1, 2).flatten(2)
        torch.testing.assert_close(output, reference)
