"""What TACA is told."""

import math
from dataclasses import dataclass
from numbers import Real
from typing import Literal

from taca.errors import TacaError


@dataclass(frozen=True)
class TacaConfig:
    """How strongly and when image tokens turn to text tokens.

    Attributes:
        gamma: factor on the image-to-text attention logits; 1 changes nothing.
        threshold: TACA acts at timesteps t >= threshold, on the scheduler's 0..1000 scale (1000 is pure noise).
        adapter: name of a loaded LoRA adapter that is to work at those timesteps alone, and off at all others.
        branches: "both" scales both branches of classifier-free guidance, as the paper does, "conditional" one of them;
            this takes the pipeline in the place of its transformer.

    Raises:
        TacaError: gamma is not a finite number above 0, threshold not a number from 0 to 1000, adapter not a name, or
            branches none of the two.
    """

    gamma: float = 1.2
    threshold: float = 970.0
    adapter: str | None = None
    branches: Literal["both", "conditional"] = "both"

    def __post_init__(self):
        if not _is_number(self.gamma) or not 0 < self.gamma < math.inf:
            raise TacaError(f"`gamma` must be a finite number above 0 (1 changes nothing), got {self.gamma!r}.")
        if not _is_number(self.threshold) or not 0 <= self.threshold <= 1000:
            raise TacaError(
                f"`threshold` must be a number from 0 to 1000, the scheduler's scale, got {self.threshold!r}."
            )
        if self.adapter is not None and (not isinstance(self.adapter, str) or not self.adapter):
            raise TacaError(f"`adapter` must be the name of a loaded adapter, or None, got {self.adapter!r}.")
        if self.branches not in ("both", "conditional"):
            raise TacaError(f"`branches` must be both or conditional, got {self.branches!r}.")
        # Any real number is taken, a Fraction say; torch takes floats.
        object.__setattr__(self, "gamma", float(self.gamma))
        object.__setattr__(self, "threshold", float(self.threshold))


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
