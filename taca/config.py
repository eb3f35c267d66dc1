"""Configuration of TACA."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from os import PathLike
from typing import Any, Literal

from taca.errors import TacaError
from taca.reals import real


@dataclass(frozen=True)
class TacaConfig:
    """Scale of the image-to-text logits and the timesteps it applies to.

    Attributes:
        gamma: factor on the image-to-text attention logits; 1 changes nothing.
        threshold: TACA acts at timesteps t >= threshold, on the scheduler's 0..1000 scale (1000 is pure noise). A
            threshold belongs to a resolution: `for_pipeline` converts it to another.
        adapter: name of a loaded LoRA adapter that is enabled at those timesteps and disabled at all others.
        branches: "both" scales both branches of classifier-free guidance, as the paper does. "conditional" scales only
            the branch of the prompt; it needs the pipeline, not just its transformer.
        threshold_of: "noise" compares noise levels. Timesteps that are indices of training steps (CogVideoX) are
            converted, which needs the pipeline or the scheduler. "index" compares timesteps unconverted. For
            flow-matching schedulers the two are the same.

    Raises:
        TacaError: gamma is not a finite number above 0, threshold is not a number from 0 to 1000, adapter is not a
            name, or branches or threshold_of is not one of its two values.
    """

    gamma: float = 1.2
    threshold: float = 970.0
    adapter: str | None = None
    branches: Literal["both", "conditional"] = "both"
    threshold_of: Literal["noise", "index"] = "noise"

    def __post_init__(self):
        gamma, threshold = real(self.gamma), real(self.threshold)
        if not 0 < gamma < math.inf:
            raise TacaError(f"`gamma` must be a finite number above 0 (1 changes nothing), got {self.gamma!r}.")
        if not 0 <= threshold <= 1000:
            raise TacaError(
                f"`threshold` must be a number from 0 to 1000, the scheduler's scale, got {self.threshold!r}."
            )
        if self.adapter is not None and (not isinstance(self.adapter, str) or not self.adapter):
            raise TacaError(f"`adapter` must be the name of a loaded adapter, or None, got {self.adapter!r}.")
        if self.branches not in ("both", "conditional"):
            raise TacaError(f"`branches` must be both or conditional, got {self.branches!r}.")
        if self.threshold_of not in ("noise", "index"):
            raise TacaError(f"`threshold_of` must be noise or index, got {self.threshold_of!r}.")
        # Any real number is taken, a Fraction say; torch takes floats.
        object.__setattr__(self, "gamma", gamma)
        object.__setattr__(self, "threshold", threshold)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON or YAML."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TacaConfig":
        """The configuration with the given fields, such as those of `to_dict`. Missing fields have their defaults.

        Raises:
            TacaError: not a mapping, an unknown field, or a value that the field does not take.
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
        """The configuration that an adapter was trained with, read from the header of its file without its weights.

        Args:
            repo_or_path: a repository of the Hugging Face Hub, a folder, or a safetensors file.
            adapter: the `adapter_name` with which `load_lora_weights` loads the adapter.
            weight_name: the file inside a repository or folder, `pytorch_lora_weights.safetensors` if None.
            revision, token, local_files_only: as in `load_lora_weights`; a local path needs none.

        Raises:
            TacaError: there is no such file, or it does not record gamma and threshold, as files trained elsewhere.
        """
        from taca.adapter_files import trained_with

        told = trained_with(repo_or_path, weight_name, revision, token, local_files_only)
        return cls(gamma=told["gamma"], threshold=told["threshold"], adapter=adapter)

    @classmethod
    def for_pipeline(
        cls, pipe: object, height: int, width: int, *, num_inference_steps: int | None = None, **values: Any
    ) -> "TacaConfig":
        """A configuration whose threshold is converted from 1024 x 1024 pixels to another size.

        Example:
            >>> TacaConfig.for_pipeline(pipe, 512, 512).threshold  # Stable Diffusion 3.5: 941.75
            >>> TacaConfig.for_pipeline(pipe, 1440, 1440, gamma=1.3, threshold=950.0)

        Args:
            pipe: a text-to-image or text-to-video pipeline, as for `active_steps`.
            height, width: those of the pipeline's call, in pixels. Of a video, only the tokens of one latent frame
                count, which assumes that the layout of each frame is decided at the frame's resolution.
            num_inference_steps: needed if the schedule's shift depends on it, as FLUX.2's does.
            **values: the fields; `threshold` is the threshold at 1024 x 1024 pixels, 4,096 tokens.

        Raises:
            TacaError: another kind of pipeline, a size that is no whole number or is smaller than one token, or
                missing steps.
        """
        from taca.resolutions import threshold_for

        config = cls.from_dict(values)
        return replace(config, threshold=threshold_for(pipe, height, width, config.threshold, num_inference_steps))


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
