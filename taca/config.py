"""Configuration of TACA."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from numbers import Real
from os import PathLike
from typing import Any, Literal

from taca.errors import TacaError


@dataclass(frozen=True)
class TacaConfig:
    """Scale of the image-to-text logits and the timesteps it applies to.

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

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON or YAML."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TacaConfig":
        """What `to_dict` gave; fields that are left out have their defaults.

        Raises:
            TacaError: no mapping, an unknown field, or a value that the field does not take.
        """
        if not isinstance(values, Mapping):
            raise TacaError(f"A configuration is made from a dict of its fields, got {type(values).__name__}.")
        known = [field.name for field in fields(cls)]
        unknown = [name for name in values if name not in known]
        if unknown:
            raise TacaError(f"TacaConfig has no field {unknown[0]!r}: it has {', '.join(known)}.")
        return cls(**values)

    @classmethod
    def from_adapter(
        cls,
        repo_or_path: str | PathLike[str],
        *,
        adapter: str,
        weight_name: str | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
    ) -> "TacaConfig":
        """The configuration that an adapter was trained with, from the header of its file; no weight is read.

        Args:
            repo_or_path: a repository of the Hugging Face Hub, a folder, or a safetensors file.
            adapter: the name that `load_lora_weights` gives the adapter, as `adapter_name`.
            weight_name: the file inside a repository or folder, `pytorch_lora_weights.safetensors` if None.
            revision, token, local_files_only: as in `load_lora_weights`; a local path needs none.

        Raises:
            TacaError: there is no such file, or it does not say gamma and threshold, as files trained elsewhere do not.
        """
        from taca.adapter_files import trained_with

        told = trained_with(repo_or_path, weight_name, revision, token, local_files_only)
        return cls(gamma=told["gamma"], threshold=told["threshold"], adapter=adapter)


def config_of(config: TacaConfig | None, values: Mapping[str, Any]) -> TacaConfig:
    """The configuration that a caller passed, as one object or field by field.

    Raises:
        TacaError: both, or something else than a TacaConfig.
    """
    if config is None:
        return TacaConfig.from_dict(values)
    if not isinstance(config, TacaConfig):
        raise TacaError(
            f"`config` must be a TacaConfig, got {type(config).__name__}: pass TacaConfig(gamma=1.2) or gamma=1.2."
        )
    if values:
        raise TacaError(f"`config` and {', '.join(f'`{name}`' for name in values)} were both passed: pass one of them.")
    return config


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
