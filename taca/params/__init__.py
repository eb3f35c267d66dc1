"""Typed parameters: `load()` reads `params.yaml`, refuses what is unknown or out of range, returns frozen `Params`."""

from taca.params.loading import ParamsError, load, read_yaml, validate
from taca.params.sections import Adapter, Arm, Params

__all__ = ["Adapter", "Arm", "Params", "ParamsError", "load", "read_yaml", "validate"]
