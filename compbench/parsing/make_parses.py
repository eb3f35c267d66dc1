"""Tags the prompts of a folder with spaCy, a JSON line each: `python make_parses.py FOLDER OUTPUT [MODEL]`.

MODEL is a model's folder, where it is not installed under its own name. An OUTPUT that ends in .xz is compressed.

`make parse` runs it in an environment whose spaCy is the benchmark's, where this project is not installed: it imports
nothing of it.
"""

import json
import lzma
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import spacy
from spacy.language import Language

MODEL = "en_core_web_sm"


def main() -> None:
    folder, output = Path(sys.argv[1]), Path(sys.argv[2])
    model = sys.argv[3] if len(sys.argv) > 3 else MODEL
    prompts = read_prompts(folder)
    if not prompts:
        sys.exit(f"{folder} holds no prompts; PROMPTS must be a folder with <category>_val.txt or _train.txt files.")
    lines = [json.dumps(parse) + "\n" for parse in parses(spacy.load(model), prompts)]
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_suffix(".unfinished")
    content = "".join(lines).encode()
    unfinished.write_bytes(lzma.compress(content, preset=9) if output.suffix == ".xz" else content)
    os.replace(unfinished, output)
    print(f"{output}: {len(lines)} prompts")


def read_prompts(folder: Path) -> list[str]:
    """Each prompt of the val and train files in the folder and its folders once, in the order of the files' names."""
    found = (path for split in ("val", "train") for path in folder.rglob(f"*_{split}.txt"))
    # Hidden ones are no text: macOS leaves a ._color_val.txt beside a color_val.txt.
    files = sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    lines = [line.strip() for path in files for line in _lines(path)]
    return list(dict.fromkeys(line for line in lines if line))


def _lines(path: Path) -> list[str]:
    """As `compbench.text` reads them, which cannot be imported here: no line ends at U+2028."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        sys.exit(f"The file {path} is not in UTF-8 (byte {error.start + 1}): save it in UTF-8.")
    return [line.removeprefix("\ufeff") for line in text.split("\n")]


def parses(nlp: Language, texts: Iterable[str]) -> Iterator[dict]:
    """The fields of `compbench.parsing.Tagged`, for each text."""
    # One by one, as the benchmark does: batches pad, and padding can turn a close call between two tags.
    parser = f"spacy {spacy.__version__} {MODEL} {nlp.meta['version']}"
    for text in texts:
        doc = nlp(text)
        yield {
            "text": text,
            "tokens": [token.text for token in doc],
            "pos": [token.pos_ for token in doc],
            "noun_chunks": [chunk.text for chunk in doc.noun_chunks],
            "parser": parser,
        }


if __name__ == "__main__":
    main()
