"""The exceptions that the library raises for faults its user can mend."""


class StageError(Exception):
    """Stops a stage with one sentence: what was wrong, what is allowed, what to do. Shown without a traceback."""


class TransientError(StageError):
    """A fault that may pass by itself, such as a server that does not answer: trying again can help."""
