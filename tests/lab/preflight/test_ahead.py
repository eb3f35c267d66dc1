"""Which stages are looked at: those that run, and what may run after them."""

import pytest

from lab.preflight.ahead import stages_ahead


@pytest.mark.slow
def test_stages_that_are_up_to_date_are_left_out(toy, monkeypatch):
    monkeypatch.chdir(toy.root)
    assert set(stages_ahead(toy.root, ()).names) == {"write@a", "write@b", "join"}
    toy.repro()
    assert stages_ahead(toy.root, ()).names == []
    (toy.root / "out" / "a" / "3.txt").write_text("another")
    assert set(stages_ahead(toy.root, ()).names) == {"write@a", "join"}
    assert stages_ahead(toy.root, ("write",)).keys("write") == ["a"]
