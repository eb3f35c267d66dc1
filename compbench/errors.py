"""The exception of the benchmark."""


def in_one_line(message: str) -> str:
    """The message with its line ends spelled out: names of files and columns may hold some."""
    return message.replace("\r", "\\r").replace("\n", "\\n")


class CompbenchError(Exception):
    """Images, prompts, parses or weights that cannot be scored: one sentence that says what is wrong and what to do.

    A server that stays away is a `ConnectionError` instead: trying again can help.

    Attributes:
        argument: the argument at fault, where one is: whoever was told it under another name (an option, a key of a
            file) can say that.
    """

    def __init__(self, message: str, argument: str | None = None):
        super().__init__(in_one_line(message))
        self.argument = argument
