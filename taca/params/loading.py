"""Reads `params.yaml`: YAML faults first, then each value by itself (`messages`), then values together (`cross`)."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from taca.errors import StageError
from taca.params.cross import cross_faults
from taca.params.messages import sentences
from taca.params.sections import Params


class ParamsError(StageError):
    """Parameters that cannot be used; `faults` holds one sentence each, the message is these lines."""

    def __init__(self, faults: list[str]):
        super().__init__("\n".join(faults))
        self.faults = faults


def read_yaml(path: str | Path) -> dict:
    """The mapping in a YAML 1.2 file, read by the reader that DVC uses, so that both see the same values.

    Raises:
        ParamsError: the file is missing, is no YAML, repeats a key, or is no mapping.
    """
    try:
        document = YAML(typ="safe", pure=True).load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError([f"{path}: there is no such file; run from the repository's root."]) from None
    except DuplicateKeyError as error:
        key = error.problem.split('"')[1]
        line = error.problem_mark.line + 1
        raise ParamsError([f"{path}: line {line} repeats the key `{key}`; keep one of the two."]) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParamsError([f"{path}: not valid YAML{_where(error)}; correct it there."]) from None
    if not isinstance(document, dict):
        raise ParamsError([f"{path}: must be a mapping of keys to values, but is {document!r}."])
    return document


def validate(document: Mapping, path: str | Path = "params.yaml") -> Params:
    """The parameters that `document` spells; `path` is named in messages.

    Raises:
        ParamsError: one sentence per fault.
    """
    try:
        params = Params.model_validate(document)
    except ValidationError as error:
        raise ParamsError([f"{path}: {fault}" for fault in sentences(error, document)]) from None
    faults = cross_faults(params)
    if faults:
        raise ParamsError([f"{path}: {fault}" for fault in faults])
    return params


def load(path: str | Path = "params.yaml") -> Params:
    """Reads and validates a parameter file.

    Raises:
        ParamsError: one sentence per fault.
    """
    return validate(read_yaml(path), path)


def _where(error: Exception) -> str:
    if not isinstance(error, MarkedYAMLError):
        return f" ({str(error).splitlines()[0]})"
    mark = error.problem_mark or error.context_mark
    return f" at line {mark.line + 1} ({error.problem})"
