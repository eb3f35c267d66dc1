"""What stands beside an adapter that someone else trained, where MLflow keeps it as a model."""

from stages.fetch import card


def test_the_card_says_where_an_adapter_comes_from():
    facts = {"repo": "ldiex/TACA", "file": "r16.safetensors", "sha256": "0" * 64, "rank": [16], "difference": None}
    text = card("authors-r16", "flux-dev", facts)
    assert text.startswith("# authors-r16\n")
    assert "base flux-dev" in text
    assert "| repo | ldiex/TACA |\n" in text
    assert f"| sha256 | {'0' * 64} |\n" in text
    assert "difference" not in text
