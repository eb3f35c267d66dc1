"""The exception of the library."""


class TacaError(ValueError):
    """A model, a setting or a combination that TACA cannot act on: what was wrong, what is allowed, what to do."""
