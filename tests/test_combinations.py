"""What TACA works with besides the stock model, and what it refuses."""

import pytest
import torch
from diffusers import FirstBlockCacheConfig
from diffusers.models.attention_dispatch import attention_backend
from tiny_models import CASES, predict
from tiny_sd3 import relative_error

from taca import TacaConfig, apply_taca, taca

CONFIG = TacaConfig(gamma=1.2, threshold=970.0)
DISPATCHED = [case for case in CASES if case.name in ("flux", "flux2", "qwenimage", "hunyuanvideo")]


@pytest.mark.parametrize("case", DISPATCHED, ids=lambda case: case.name)
@pytest.mark.parametrize("backend", ["native", "_native_math"])
@torch.no_grad()
def test_the_chosen_attention_backend_is_used(case, backend, monkeypatch):
    """Set on the model before or after TACA, or by the context manager; and it computes the same."""
    from diffusers.models import attention_dispatch as dispatch

    model, arguments = case.model().double(), case.inputs([980.0], torch.float64)
    with taca(model, CONFIG):
        expected = predict(model, arguments)
    registry = dispatch._AttentionBackendRegistry._backends
    name, calls = dispatch.AttentionBackendName(backend), []
    original = registry[name]
    monkeypatch.setitem(registry, name, lambda *args, **kwargs: calls.append(1) or original(*args, **kwargs))
    with attention_backend(backend), taca(model, CONFIG):
        assert relative_error(predict(model, arguments), expected) <= 1e-12
    by_context = len(calls)
    # `set_attention_backend` changes the process's default too; the context manager gives it back.
    with attention_backend("native"), taca(model, CONFIG):
        model.set_attention_backend(backend)
        assert relative_error(predict(model, arguments), expected) <= 1e-12
    sites = sum(hasattr(type(p), "_attention_backend") for p in model.attn_processors.values())
    # Two calls for each joint attention.
    assert by_context == 2 * sites
    assert len(calls) - by_context == 2 * sites


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@torch.no_grad()
def test_layerwise_casting_keeps_working(case):
    """Weights stored in float8, computed with in bfloat16."""
    model, arguments = case.model().bfloat16(), case.inputs([980.0], torch.bfloat16)
    with taca(model, CONFIG):
        expected = predict(model, arguments)
        model.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16)
        actual = predict(model, arguments)
    stock = predict(model, arguments)
    assert actual.isfinite().all()
    assert not torch.equal(actual, stock)
    assert relative_error(actual.float(), expected.float()) < 0.5


@pytest.mark.parametrize("case", [case for case in CASES if case.name in ("flux", "qwenimage")], ids=lambda c: c.name)
@torch.no_grad()
def test_output_caches_are_refused_before_and_after(case):
    """They would replay a step with gamma in one without."""
    model = case.model()
    model.enable_cache(FirstBlockCacheConfig(threshold=0.1))
    with pytest.raises(ValueError, match="FirstBlockCacheConfig keeps parts"):
        apply_taca(model, CONFIG)
    model.disable_cache()
    with taca(model, CONFIG):
        model.enable_cache(FirstBlockCacheConfig(threshold=0.1))
        with pytest.raises(ValueError, match="disable_cache"):
            predict(model, case.inputs([980.0]))
