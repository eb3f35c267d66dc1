"""Files of parses: a JSON line for each prompt, as `make parse` writes them."""

import json
import lzma
from collections.abc import Sequence
from pathlib import Path

from compbench.errors import CompbenchError
from compbench.parsing.tagged import Tagged
from compbench.text import decode, split_lines


def find_parses(path: Path, prompts: Sequence[str]) -> list[Tagged]:
    """The parse of each prompt, from the file.

    Raises: CompbenchError for a file that is missing or damaged, and for the first prompt that it does not hold.
    """
    parses = read_parses(path)
    for prompt in prompts:
        if prompt not in parses:
            raise CompbenchError(
                f"{path} holds no parse of the prompt {prompt!r}; it must hold every prompt's: run `make parse "
                "PROMPTS=<the folder with the prompt files>`."
            )
    return [parses[prompt] for prompt in prompts]


def read_parses(path: Path) -> dict[str, Tagged]:
    """All parses of a file, by prompt.

    Raises: CompbenchError for a file that is missing or not in UTF-8, and naming the first line that is no parse.
    """
    try:
        content = path.read_bytes()
        content = lzma.decompress(content) if path.suffix == ".xz" else content
    except (OSError, lzma.LZMAError) as error:
        raise CompbenchError(
            f"The parses file {path} cannot be read ({error}); the parser must be rules, spacy, or the path of a file "
            "that `make parse` wrote.",
            "parser",
        ) from None
    *lines, last = split_lines(decode(content, path))
    tagged = [_tagged(path, number, line) for number, line in enumerate([*lines, last] if last else lines, start=1)]
    return {one.text: one for one in tagged}


def _tagged(path: Path, number: int, line: str) -> Tagged:
    try:
        fields = json.loads(line)
        lists = {name: tuple(fields[name]) for name in ("tokens", "pos", "noun_chunks")}
        tagged = Tagged(**fields | lists)
        words = [tagged.text, tagged.parser, *tagged.tokens, *tagged.pos, *tagged.noun_chunks]
    except (ValueError, KeyError, TypeError):
        tagged, words = None, []
    if tagged is None or len(tagged.tokens) != len(tagged.pos) or not all(isinstance(word, str) for word in words):
        raise CompbenchError(
            f"Line {number} of {path} is no parse (text, tokens, pos, noun_chunks and parser, with a pos for each "
            "token): run `make parse` again."
        )
    return tagged
