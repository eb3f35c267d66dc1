"""The exception of the experiment."""

from compbench.errors import in_one_line


class LabError(Exception):
    """Parameters and data that do not go together: one sentence that says what is wrong and what to do.

    Attributes:
        argument: the argument at fault, where one is, as in `compbench.errors.CompbenchError`.
    """

    def __init__(self, message: str, argument: str | None = None):
        super().__init__(in_one_line(message))
        self.argument = argument
