"""A base from the hub is the consent to fetch the weights of what judges its images."""

from compbench.scorers.choice import Choice
from compbench.weights import registry
from compbench.weights.registry import WeightFile
from stages.score import fetch_weights
from tests.compbench.weights.file_server import FileServer


def test_missing_weights_are_fetched_once_and_without_a_further_variable(tmp_path, monkeypatch):
    server = FileServer()
    server.files = {"net.pth": b"net"}
    # The published addresses cannot be had in a test.
    monkeypatch.setattr(registry, "files_of", lambda categories: (WeightFile("net.pth", f"{server.url}/net.pth"),))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    choice = Choice(weights=tmp_path)
    fetch_weights(choice, ["spatial"])
    assert (tmp_path / "net.pth").read_bytes() == b"net"
    server.seen.clear()
    fetch_weights(choice, ["spatial"])
    assert server.seen == []
    server.close()
