"""A base on the meta device: its configurations, and models of their classes without weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps

import diffusers
import torch
import transformers
from torch import nn

from lab.estimate.four_bit import quantize
from lab.models.family import Family, family_named
from lab.models.four_bits import four_bits
from lab.models.published.selection import INDEX, parts_of

LIBRARIES = {"diffusers": diffusers, "transformers": transformers}
PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "nf4": torch.bfloat16}


@dataclass(frozen=True)
class Base:
    """A pipeline of which only the JSON files are known.

    Attributes:
        read: a JSON file by its path in the pipeline's folder.
        size: bytes of all files from which it is loaded, as far as they are known.
    """

    read: Callable[[str], Mapping]
    size: int = 0

    @property
    def parts(self) -> dict[str, tuple[str, str]]:
        """Library and class of each part."""
        return parts_of(self.read(INDEX))

    @property
    def family(self) -> Family:
        """Raises: LabError for a transformer of no known family."""
        return family_named(self.parts["transformer"][1], self.config("transformer"))

    def config(self, part: str) -> Mapping:
        """The configuration of a part."""
        return self.read(f"{part}/config.json")

    def build(self, part: str, dtype: torch.dtype) -> nn.Module:
        """A part on the meta device."""
        library, name = self.parts[part]
        cls, config = getattr(LIBRARIES[library], name), dict(self.config(part))
        with torch.device("meta"):
            model = cls.from_config(config) if library == "diffusers" else cls(cls.config_class.from_dict(config))
        # Not by the class's own `to`, which warns of layers that it would have loaded in float32.
        return nn.Module.to(model.eval(), "meta", dtype)

    def transformer(self, precision: str) -> nn.Module:
        """The transformer in "float32", "bf16", "fp16" or "nf4"."""
        model = self.build("transformer", PRECISIONS[precision])
        if precision == "nf4":
            quantize(model, four_bits(torch.bfloat16).llm_int8_skip_modules)
        return model

    def pipeline(self, **parts: object):
        """The pipeline around some of its parts; the others are None, but for the scheduler."""
        config = self.read("scheduler/scheduler_config.json")
        scheduler = _FromTheFirst.from_config(dict(config))
        others = {name: None for name in self.parts if name != "scheduler"}
        pipe = self.family.pipeline(scheduler=scheduler, **others | parts)
        pipe.set_progress_bar_config(disable=True)
        return pipe


class _FromTheFirst(diffusers.FlowMatchEulerDiscreteScheduler):
    """SD3's pipeline has the scheduler look up the first timestep, which on the meta device has no value."""

    @wraps(diffusers.FlowMatchEulerDiscreteScheduler.set_timesteps)  # pipelines look at its arguments
    def set_timesteps(self, *args, **kwargs):
        super().set_timesteps(*args, **kwargs)
        self.set_begin_index(0)
