"""Where families put text and image tokens, from the arguments of a forward pass."""

from collections.abc import Mapping

from torch import nn

from taca.processors.base import share_of
from taca.tokens import Run


def text_first(transformer: nn.Module, arguments: Mapping) -> Run:
    """All of `encoder_hidden_states`, then the image."""
    return Run(_shared(transformer, arguments["encoder_hidden_states"].shape[1]), text_first=True)


def text_last(transformer: nn.Module, arguments: Mapping) -> Run:
    """The image, then all of `encoder_hidden_states`."""
    return Run(_shared(transformer, arguments["encoder_hidden_states"].shape[1]), text_first=False)


def _shared(transformer: nn.Module, num_text_tokens: int) -> int:
    """This rank's share of the text tokens: all of them, but under context parallelism."""
    return share_of(num_text_tokens, getattr(transformer, "_parallel_config", None))
