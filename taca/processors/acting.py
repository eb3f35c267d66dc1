"""What acts in a forward pass: it makes the replacement processors of the attention modules that it changes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from taca.methods import Method
from taca.processors.by_method import methodical
from taca.schedule import gamma_of
from taca.tokens import Tokens

Replacements = dict[nn.Module, Any]
"""Attention modules and what replaces their stock processor."""


class Acting(Protocol):
    """TACA's gamma, or something in its place."""

    @property
    def neutral(self) -> bool:
        """Whether it changes nothing."""

    def processors(
        self, sites: Mapping[nn.Module, Any], active: torch.Tensor, tokens: Tokens, dtype: torch.dtype
    ) -> Replacements:
        """Replacement processors for a pass.

        Args:
            sites: attention modules in the order of the blocks, and their `AttentionSite`.
            active: on which samples it acts, (B, 1, 1, 1).
            tokens: where the text tokens of the pass are.
            dtype: of factors.
        """


@dataclass(frozen=True)
class ByGamma:
    """TACA."""

    gamma: float

    @property
    def neutral(self) -> bool:
        return self.gamma == 1

    def processors(self, sites, active, tokens, dtype) -> Replacements:
        # A tensor also where all samples share gamma, so that compiled blocks are compiled once for any batch.
        gamma = gamma_of(active, self.gamma, dtype)
        return {module: site.replacement(module)(gamma, tokens) for module, site in sites.items()}


@dataclass(frozen=True)
class ByMethod:
    """A method of `taca.methods`."""

    method: Method

    @property
    def neutral(self) -> bool:
        return self.method.neutral

    def processors(self, sites, active, tokens, dtype) -> Replacements:
        return {
            module: methodical(site.replacement(module))(self.method, layer, active, tokens)
            for layer, (module, site) in enumerate(sites.items())
        }
