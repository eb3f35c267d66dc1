"""Reads a file of parameters: YAML faults first, then each value by itself (`messages`), then values together."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from runtime.errors import StageError
from runtime.params.messages import sentences

Model = TypeVar("Model", bound=BaseModel)
CONFLICT = re.compile(rb"^(<{7}|={7}|>{7})( |\r?$)", re.MULTILINE)
CONFLICTING = (
    "is the mark of a conflict that a merge has left; keep what is right (of dvc.lock either side will do: "
    "`git checkout --ours dvc.lock`, then `dvc repro`)."
)


class ParamsError(StageError):
    """Parameters that cannot be used; `faults` holds one sentence each, the message is these lines."""

    def __init__(self, faults: list[str]):
        super().__init__("\n".join(faults))
        self.faults = faults


def read_yaml(path: str | Path, quick: bool = False) -> dict:
    """The mapping in a YAML 1.2 file, read by the reader that DVC uses, so that both see the same values.

    Args:
        quick: by the parser in C, five times as fast, with the same values for what a program has written.

    Raises:
        ParamsError: the file is missing or cannot be read, is no YAML, repeats a key, or is no mapping.
    """
    try:
        document = YAML(typ="safe", pure=not quick).load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError([f"{path}: there is no such file; run from the repository's root."]) from None
    except OSError as error:
        raise ParamsError([f"{path}: cannot be read ({error.strerror}); put a file there that can."]) from None
    except DuplicateKeyError as error:
        key = error.problem.split('"')[1]
        line = error.problem_mark.line + 1
        raise ParamsError([f"{path}: line {line} repeats the key `{key}`; keep one of the two."]) from None
    except (YAMLError, ValueError, RecursionError) as error:
        if mark := CONFLICT.search(Path(path).read_bytes()):
            line = Path(path).read_bytes()[: mark.start()].count(b"\n") + 1
            raise ParamsError([f"{path}: line {line} {CONFLICTING}"]) from None
        raise ParamsError([f"{path}: not valid YAML{_where(error)}; correct it there."]) from None
    if not isinstance(document, dict):
        raise ParamsError([f"{path}: must be a mapping of keys to values, but is {document!r}."])
    return document


def validate(
    document: Mapping, model: type[Model], path: str | Path, together: Callable[[Model], list[str]] = lambda params: []
) -> Model:
    """The parameters that `document` spells.

    Args:
        path: named in messages.
        together: one sentence for each fault between values that are right by themselves.

    Raises:
        ParamsError: one sentence per fault.
    """
    try:
        params = model.model_validate(document)
    except ValidationError as error:
        raise ParamsError([f"{path}: {fault}" for fault in sentences(error, document, model)]) from None
    faults = together(params)
    if faults:
        raise ParamsError([f"{path}: {fault}" for fault in faults])
    return params


def _where(error: Exception) -> str:
    if not isinstance(error, MarkedYAMLError):
        return f" ({str(error).splitlines()[0]})"
    mark = error.problem_mark or error.context_mark
    return f" at line {mark.line + 1} ({error.problem})"
