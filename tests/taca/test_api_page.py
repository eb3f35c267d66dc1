"""The API reference is what the docstrings say."""

import importlib.util
from pathlib import Path

import taca

DOCS = Path(__file__).parents[2] / "docs"


def made() -> str:
    spec = importlib.util.spec_from_file_location("make_api", DOCS / "make_api.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.reference()


def test_the_page_is_what_the_docstrings_make():
    assert (DOCS / "api.md").read_text() == made(), "run `python docs/make_api.py`"


def test_it_has_every_public_name_with_what_it_raises():
    page = made()
    for name in taca.__all__:
        if name.startswith("__"):
            continue
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert section.startswith(f"\n```python\n{name}("), name
        assert "**Raises**" in section or name == "taca", name
    assert "### TacaConfig.from_adapter" in page
