"""The exception of running and recording."""


class StageError(Exception):
    """Stops a stage or a flow with one sentence: what was wrong, what is allowed, what to do; no traceback.

    A server that does not answer is a `ConnectionError` or a `TimeoutError` instead: trying again can help.
    """
