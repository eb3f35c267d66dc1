"""Images of a folder and the prompts that their names say."""

import unicodedata

import pytest

from compbench.layout import list_images
from compbench.scorers.interface import Prompt


@pytest.mark.parametrize(("asked", "disk"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFC", "NFC")])
def test_an_image_is_its_prompts_however_its_accents_are_stored(tmp_path, asked, disk):
    """macOS takes é apart in file names; the row says the prompt as it was asked for."""
    prompt, name = (unicodedata.normalize(form, "a café with a red naïve façade") for form in (asked, disk))
    samples = tmp_path / "samples"
    samples.mkdir()
    (samples / f"{name}_000000.png").touch()
    (row,) = list_images(tmp_path, samples, [Prompt(4, prompt, "color", parser="rules")], "color", {})
    assert (row.prompt, row.prompt_index, row.path) == (prompt, 4, f"samples/{name}_000000.png")


def test_prompts_that_differ_in_their_accents_alone_have_each_its_own_images(tmp_path):
    texts = [unicodedata.normalize(form, "a caf\u00e9") for form in ("NFD", "NFC")]
    prompts = [Prompt(number, text, "color", parser="rules") for number, text in enumerate(texts)]
    for number, text in enumerate(texts):
        (tmp_path / f"{text}_{number:06d}.png").touch()
    rows = list_images(tmp_path, tmp_path, prompts, "color", {})
    assert [(row.index, row.prompt_index) for row in rows] == [(0, 0), (1, 1)]
