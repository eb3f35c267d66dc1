"""The prompt that goes with an image."""

ALT = "{alt}"  # in a prompt: the words that the image came with
MOST = 1000  # characters of them; whole pages stand in the web's, and a model's context is finite


def fill(prompt: str, alt: str) -> str:
    """The prompt for an image that came with the words `alt`, spaces and line ends between them made one space."""
    return prompt.replace(ALT, " ".join(alt.split())[:MOST])
