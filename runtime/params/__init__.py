"""Files of parameters: YAML as DVC reads it, checked against the caller's model; the fields that such models share."""

from runtime.params.fields import Name, Positive, Section, Seed, one_of
from runtime.params.loading import ParamsError, read_yaml, validate

__all__ = ["Name", "ParamsError", "Positive", "Section", "Seed", "one_of", "read_yaml", "validate"]
