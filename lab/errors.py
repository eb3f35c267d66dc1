"""The exception of the experiment."""


class LabError(Exception):
    """Parameters and data that do not go together: one sentence that says what is wrong and what to do."""
