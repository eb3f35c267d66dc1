"""Outputs that are models: stored once with their card, registered by name, and there as long as a version is."""

from pathlib import Path

import mlflow
import pytest
import torch
from diffusers import SD3Transformer2DModel
from mlflow.entities import ViewType

from flows.garbage.runs import deleted_runs, live_words
from lab.training.lora import add_lora, save_lora
from runtime.tracking.store import RunLog
from tests.runtime.tracking.test_run_log import artifact, begin, out, store, stored  # noqa: F401 - a fixture

CARD = "# taca-r16\n\nIts card.\n"
MD5 = "7" * 32 + ".dir"


def tiny():
    torch.manual_seed(0)
    return SD3Transformer2DModel(
        sample_size=4,
        patch_size=2,
        in_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        caption_projection_dim=16,
        pooled_projection_dim=16,
        pos_embed_max_size=4,
    )


@pytest.fixture
def adapter(store):  # noqa: F811
    """The folder of an adapter of the real class, as stage `train` leaves it."""
    folder, transformer = store / "ml-adapter", tiny()
    add_lora(transformer, 4, 4, ["to_q"], seed=0)
    save_lora(transformer, folder, {"taca.gamma": "1.2"})
    (folder / "history.csv").write_text("step,loss\n")
    return folder


def trained(store, adapter, **changes):  # noqa: F811
    """A finished run that has made the adapter."""
    log = RunLog(begin(store, **changes))
    made = out(adapter, "models/adapters/taca-r16", MD5, files=[["history.csv", "c" * 32, 1]]) | {"card": CARD}
    log.log_outs([made], tags={}, metrics={})
    log.end("FINISHED")
    return log


def test_registered_adapters_download_as_plain_diffusers_loads_them(store, adapter, monkeypatch):  # noqa: F811
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{store}/mlflow.db")
    log = trained(store, adapter)
    log.register({MD5, "8" * 32})
    log.register({MD5})
    (version,) = log._client.search_model_versions("name = 'taca-r16'")
    assert (version.version, version.run_id) in (("1", log.run_id), (1, log.run_id))
    log.register({MD5}, "gamma-1.3")
    assert log._client.search_model_versions("name = 'gamma-1.3-taca-r16'")
    assert len(log._client.search_model_versions("name = 'taca-r16'")) == 1
    folder = Path(mlflow.artifacts.download_artifacts("models:/taca-r16/1", dst_path=str(store / "ml-got")))
    assert (folder / "README.md").read_text() == CARD
    transformer = tiny()
    transformer.load_lora_adapter(str(folder), weight_name="pytorch_lora_weights.safetensors", prefix="transformer")
    assert any("lora_A" in name for name, _ in transformer.named_parameters())


def test_weights_are_stored_once_however_often_they_are_made(store, adapter):  # noqa: F811
    first, second = trained(store, adapter), trained(store, adapter)
    assert len(list((store / "mlartifacts").rglob("*.safetensors"))) == 1
    assert artifact(first, "outs/models/adapters/taca-r16.manifest.json").exists()
    models = [stored(log).outputs.model_outputs for log in (first, second)]
    assert models[0][0].model_id == models[1][0].model_id


@pytest.mark.long
def test_gc_keeps_the_run_that_a_version_names(store, adapter, monkeypatch):  # noqa: F811
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/mlflow.db")
    kept, other = trained(store, adapter), RunLog(begin(store, name="other"))
    kept.register({MD5})
    for log in (kept, other):
        log._client.delete_run(log.run_id)
    garbage = deleted_runs(store, live_words(store))
    assert garbage.items == (f"{other.run_id}  other  RUNNING",)
    garbage.remove()
    assert [run.info.run_id for run in kept._client.search_runs([kept.experiment_id], "", ViewType.ALL)] == [
        kept.run_id
    ]
