"""Typed parameters: `load()` reads `params.yaml`, refuses what is unknown or out of range, returns frozen `Params`."""

from collections.abc import Mapping
from pathlib import Path

from lab.params.cross import cross_faults
from lab.params.sections import Adapter, Arm, Params
from runtime import params as files

__all__ = ["Adapter", "Arm", "Params", "load", "validate"]


def load(path: str | Path = "params.yaml") -> Params:
    """Reads and validates a parameter file.

    Raises:
        ParamsError: one sentence per fault.
    """
    return validate(files.read_yaml(path), path)


def validate(document: Mapping, path: str | Path = "params.yaml") -> Params:
    """The parameters that `document` spells; `path` is named in messages.

    Raises:
        ParamsError: one sentence per fault.
    """
    return files.validate(document, Params, path, cross_faults)
