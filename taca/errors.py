"""The one exception that the library raises for a fault its user can mend."""


class StageError(Exception):
    """Stops a stage with one sentence: what was wrong, what is allowed, what to do. Shown without a traceback."""
