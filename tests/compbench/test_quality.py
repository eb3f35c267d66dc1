"""MUSIQ and MANIQA on pyiqa's own classes with random weights, reduced in width where that is not the question."""

import random
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from compbench.errors import CompbenchError
from compbench.scorers.quality import ImageQualityScorer, build
from compbench.weights.registry import NEEDS

pytest.importorskip("pyiqa", reason="pyiqa is an extra: `make quality`")

SMALL = {
    "musiq": {"hidden_size": 24, "mlp_dim": 24, "num_layers": 1},
    "maniqa": {"embed_dim": 48, "dim_mlp": 48, "test_sample": 4},
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """A connection would fail the test, not only where there is no network."""

    def refuse(*arguments):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def generators() -> tuple:
    """The state of every global source of randomness."""
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


def small(metric: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return build(metric, **SMALL[metric])


@pytest.fixture(scope="module")
def scorers() -> dict[str, ImageQualityScorer]:
    return {metric: ImageQualityScorer(metric, small(metric)) for metric in SMALL}


@pytest.mark.parametrize("metric", SMALL)
def test_score_is_one_number_for_each_image_whatever_its_size(scorers, metric):
    images = [noise(256, 256), noise(300, 240, 1)]
    scores = scorers[metric].score(images, [])
    assert scores == pytest.approx([scorers[metric].score([image], [])[0] for image in images], abs=1e-6)
    assert scores[0] != scores[1]


@pytest.mark.parametrize("metric", SMALL)
def test_score_depends_on_no_seed_and_draws_nothing(scorers, metric):
    scores = []
    for seed in (1, 2):
        for library in (random.seed, np.random.seed, torch.manual_seed):
            library(seed)
        before = generators()
        scores += scorers[metric].score([noise(256, 256)], [])
        assert generators() == before
    assert scores[0] == scores[1]


def test_musiq_is_pyiqas_own_metric_over_a_hundred(tmp_path):
    """At full size, through the published file's name, against pyiqa's own way of running it on a file."""
    import pyiqa

    torch.manual_seed(0)
    metric = pyiqa.create_metric("musiq", pretrained=False, device="cpu")
    torch.nn.init.constant_(metric.net.head.bias, 55.0)
    place(tmp_path, "musiq", metric.net)
    noise(200, 120).save(tmp_path / "image.png")
    expected = metric(str(tmp_path / "image.png")).item()
    found = ImageQualityScorer.from_weights(tmp_path, "musiq").score([Image.open(tmp_path / "image.png")], [])
    assert 40 < expected < 70
    assert found == pytest.approx([expected / 100], abs=1e-6)


def test_maniqa_weighs_the_patches_of_an_even_grid_of_crops(scorers):
    """Each patch of each crop has a score and a weight; the image's score is the scores' mean by these weights."""
    model, image = scorers["maniqa"].model, noise(232, 228)
    seen = {}
    hooks = [
        getattr(model, name).register_forward_hook(
            lambda _, given, out, name=name: seen.update({name: (given[0], out)})
        )
        for name in ("vit", "fc_score", "fc_weight")
    ]
    (found,) = scorers["maniqa"].score([image], [])
    for hook in hooks:
        hook.remove()
    normalized = torch.from_numpy(np.asarray(image) / 127.5 - 1).permute(2, 0, 1).float()
    corners = [(0, 0), (0, 4), (2, 0), (2, 4)]
    crops = [normalized[:, top : top + 224, left : left + 224] for top, left in corners]
    torch.testing.assert_close(seen["vit"][0], torch.stack(crops))
    scores, weights = (seen[name][1].double().flatten() for name in ("fc_score", "fc_weight"))
    assert len(scores) == 4 * 28 * 28
    assert found == pytest.approx(((scores * weights).sum() / weights.sum()).item(), rel=1e-5)


@pytest.mark.slow
def test_maniqa_of_full_size_comes_from_its_checkpoint_without_the_network(tmp_path):
    torch.manual_seed(0)
    model = build("maniqa")
    # The published checkpoint is 543 MB.
    assert sum(tensor.nbytes for tensor in model.state_dict().values()) == pytest.approx(543.3e6, rel=1e-3)
    place(tmp_path, "maniqa", model)
    scorers = ImageQualityScorer("maniqa", model), ImageQualityScorer.from_weights(tmp_path, "maniqa")
    assert [scorer.model.test_sample for scorer in scorers] == [20, 20]
    for scorer in scorers:
        scorer.model.test_sample = 1  # 20 crops take minutes on a CPU
    made, loaded = (scorer.score([noise(240, 240)], []) for scorer in scorers)
    assert made == loaded


def place(weights: Path, metric: str, model: torch.nn.Module) -> Path:
    """Writes the model's weights where the registry says that the metric's are."""
    (file,) = [file for file in NEEDS["quality"] if ("musiq" in file.path) == (metric == "musiq")]
    path = weights / file.path
    path.parent.mkdir(exist_ok=True)
    torch.save(model.state_dict(), path)
    return path


def test_every_key_of_a_checkpoint_is_accounted_for(tmp_path):
    state = build("musiq").state_dict()
    renamed = {key.replace("head.bias", "head.offset"): tensor for key, tensor in state.items()}
    path = place(tmp_path, "musiq", torch.nn.Linear(1, 1))
    other = "the musiq model that `make quality` installs: it lacks head.bias; has besides head.offset;"
    for wrong, words in ((renamed, other), ({}, "and 242 more")):
        torch.save(wrong, path)
        with pytest.raises(CompbenchError, match=words):
            ImageQualityScorer.from_weights(tmp_path, "musiq")


def test_checkpoint_that_would_run_code_is_refused(tmp_path):
    path = place(tmp_path, "musiq", torch.nn.Linear(1, 1))
    torch.save({"head": Path("x")}, path)
    with pytest.raises(CompbenchError, match="is not the published checkpoint of the musiq model"):
        ImageQualityScorer.from_weights(tmp_path, "musiq")


def test_missing_checkpoint_names_the_command(tmp_path):
    with pytest.raises(CompbenchError, match=r"is missing: run `python -m taca\.scoring\.weights quality --weights"):
        ImageQualityScorer.from_weights(tmp_path, "musiq")


def test_unknown_metric_is_named():
    with pytest.raises(CompbenchError, match="no image quality metric 'niqe'; choose musiq or maniqa"):
        build("niqe")


@pytest.mark.parametrize("metric", SMALL)
def test_without_pyiqa_its_licence_and_command_are_said(monkeypatch, metric):
    for name in ("pyiqa", "pyiqa.archs", "pyiqa.archs.musiq_arch"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(CompbenchError, match=r"PolyForm-Noncommercial-1.0.0.*`make quality`"):
        build(metric)
