"""The command, and weights of a reduced width for it."""

import pytest

from tests.compbench.command.running import Command
from tests.compbench.command.tiny_published import shrink, write_weights


@pytest.fixture(scope="session")
def weights(tmp_path_factory, base_folder):
    folder = tmp_path_factory.mktemp("published") / "weights"
    write_weights(folder, base_folder / "clip")
    return folder


@pytest.fixture
def command(tmp_path, weights, monkeypatch):
    shrink(monkeypatch)
    return Command(tmp_path, weights)
