"""Text states times a factor in chosen blocks (arXiv 2601.02211): another way to let the prompt weigh more.

The paper writes c -> 2c. What is scaled here is what attention reads of the text, after the block's normalisation,
which would undo a factor before it: an assumption. Where keys are normalised too, the factor reaches the values alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import torch
from torch import nn

from taca.errors import TacaError
from taca.tokens import Tokens


@dataclass(frozen=True)
class TextStates:
    """Text states times `factor` in the attention of `blocks`, counted from 0; None: in all.

    Raises: TacaError: a factor that is not a finite number above 0, or blocks that are no whole numbers from 0.
    """

    factor: float = 2.0
    blocks: tuple[int, ...] | None = None

    def __post_init__(self):
        if not isinstance(self.factor, int | float) or not 0 < self.factor < inf:
            raise TacaError(f"`factor` must be a finite number above 0 (1 changes nothing), got {self.factor!r}.")
        blocks = () if self.blocks is None else self.blocks
        if not isinstance(blocks, tuple | list) or not all(isinstance(block, int) and block >= 0 for block in blocks):
            raise TacaError(f"`blocks` must be whole numbers from 0, got {self.blocks!r}.")

    @property
    def neutral(self) -> bool:
        """Whether it changes nothing."""
        return self.factor == 1 or self.blocks == ()

    def check_blocks(self, count: int) -> None:
        """Raises: TacaError: a transformer with `count` blocks has fewer than `blocks` says."""
        beyond = [block for block in self.blocks or () if block >= count]
        if beyond:
            raise TacaError(f"`blocks` has {beyond[0]}, but the last of the {count} blocks is {count - 1}.")

    def processors(
        self, sites: Mapping[nn.Module, object], active: torch.Tensor, tokens: Tokens, dtype: torch.dtype
    ) -> dict[nn.Module, "TextStatesProcessor"]:
        """A replacement processor for each attention of the chosen blocks; `active` are samples (B, 1, 1, 1)."""
        chosen = [module for block, module in enumerate(sites) if self.blocks is None or block in self.blocks]
        return {module: TextStatesProcessor(self.factor, active, tokens) for module in chosen}


class TextStatesProcessor:
    """What stands before a stock processor of SD3 or FLUX.1 and scales the text that it is given."""

    def __init__(self, factor: float, active: torch.Tensor, tokens: Tokens):
        self.factor = torch.where(active, factor, 1.0).reshape(-1, 1, 1)
        self.tokens = tokens

    def follow(self, attn: nn.Module) -> None:
        """Takes the module's stock processor, which does the rest."""
        self.stock = attn.processor

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: torch.Tensor | None = None,
    ):
        """As the stock processor; a single-stream block's `hidden_states` begin with the text."""
        if encoder_hidden_states is None:
            count = self.tokens.num_text_tokens
            text, image = hidden_states.split_with_sizes([count, hidden_states.shape[1] - count], dim=1)
            hidden_states = torch.cat([self._scaled(text), image], dim=1)
        else:
            encoder_hidden_states = self._scaled(encoder_hidden_states)
        rotary = {} if image_rotary_emb is None else {"image_rotary_emb": image_rotary_emb}
        return self.stock(attn, hidden_states, encoder_hidden_states, attention_mask=attention_mask, **rotary)

    def _scaled(self, text: torch.Tensor) -> torch.Tensor:
        # In float32 or better and rounded once, as keys are.
        return (text * self.factor.to(text.device, torch.promote_types(text.dtype, torch.float32))).to(text.dtype)
