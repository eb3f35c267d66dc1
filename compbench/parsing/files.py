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

    Raises: CompbenchError for a file that is missing or not in UTF-8, and naming the first line that is no parse, or
        that parses a prompt otherwise than one above it.
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
    found: dict[str, Tagged] = {}
    for number, one in enumerate(tagged, start=1):
        if found.setdefault(one.text, one) != one:
            raise CompbenchError(f"Line {number} of {path} is a second parse of {one.text!r}: keep one.")
    return found


def _tagged(path: Path, number: int, line: str) -> Tagged:
    try:
        return _read(json.loads(line))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CompbenchError(
            f"Line {number} of {path} is no parse (text, tokens, pos, noun_chunks and parser, with a pos for each "
            "token): run `make parse` again."
        ) from None


def _read(fields: dict) -> Tagged:
    """Raises: KeyError, TypeError, ValueError for what is no parse, or holds what no table can."""
    lists = {name: fields[name] for name in ("tokens", "pos", "noun_chunks")}
    if not all(isinstance(words, list) for words in lists.values()) or len(lists["tokens"]) != len(lists["pos"]):
        raise TypeError
    " ".join([fields["text"], fields["parser"], *lists["tokens"], *lists["pos"], *lists["noun_chunks"]]).encode()
    return Tagged(**fields | {name: tuple(words) for name, words in lists.items()})
