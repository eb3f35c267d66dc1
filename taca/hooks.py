"""TACA on a diffusers transformer: `apply_taca`, `remove_taca`, and `taca(...)` for a while.

The transformer's forward pass is hooked where the timestep is seen, outside of its blocks. A pass in which TACA acts on
any sample runs with the processors of `taca.processors` in place; every other pass is the stock model's. PyTorch's own
module hooks are used, and not those of diffusers: these replace `forward`, and a pipeline that offloads its models
loses the replacement after the first image, without a word.
"""

import inspect
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from numbers import Real

import torch
from torch import nn

from taca.families import Family, attention_modules, check_stock, family_of
from taca.processors.swap import Processors, swapped, swapped_in_recomputation
from taca.schedule import gamma_at, is_active

_TACA_HOOK = "_taca_hook"


@dataclass(frozen=True)
class TacaConfig:
    """How strongly and when image tokens turn to text tokens.

    Attributes:
        gamma: factor on the image-to-text attention logits; 1 changes nothing.
        threshold: TACA acts at timesteps t >= threshold, on the scheduler's 0..1000 scale (1000 is pure noise).

    Raises:
        ValueError: gamma is not a finite number above 0, or threshold not a number from 0 to 1000.
    """

    gamma: float = 1.2
    threshold: float = 970.0

    def __post_init__(self):
        if not _is_number(self.gamma) or not 0 < self.gamma < math.inf:
            raise ValueError(f"`gamma` must be a finite number above 0 (1 changes nothing), got {self.gamma!r}.")
        if not _is_number(self.threshold) or not 0 <= self.threshold <= 1000:
            raise ValueError(
                f"`threshold` must be a number from 0 to 1000, the scheduler's scale, got {self.threshold!r}."
            )


class TacaHook:
    """Decides before each forward pass of a transformer whether TACA acts in it, and undoes what it did afterwards."""

    def __init__(self, transformer: nn.Module, config: TacaConfig, family: Family):
        self.config = config
        self.family = family
        self.sites = attention_modules(transformer, family)
        self.signature = inspect.signature(type(transformer).forward)
        # One set for all steps of all images: compiled blocks recognise it.
        self.processors = self._processors(float(config.gamma))
        self.undo = ExitStack()
        self.handles = []

    def register(self, transformer: nn.Module) -> None:
        """Hooks the forward pass; the later hook also runs when the pass fails."""
        self.handles.append(transformer.register_forward_pre_hook(self.pre_forward, with_kwargs=True))
        self.handles.append(transformer.register_forward_hook(self.post_forward, always_call=True))

    def remove(self) -> None:
        """Leaves the transformer as it was before `register`."""
        for handle in self.handles:
            handle.remove()
        self.undo.close()

    def pre_forward(self, transformer: nn.Module, args: tuple, kwargs: dict) -> None:
        """Puts the processors in place for a pass in which TACA acts."""
        # Something is left to undo here only if the last pass was interrupted (Ctrl-C).
        self.undo.close()
        processors = self._choose(self.signature.bind(transformer, *args, **kwargs).arguments)
        if processors is not None:
            check_stock(self.sites)
            self.undo.enter_context(swapped(processors))
            self.undo.enter_context(swapped_in_recomputation(transformer, processors))

    def post_forward(self, transformer: nn.Module, args: tuple, output: object) -> None:
        """Puts the stock processors back."""
        self.undo.close()

    def _choose(self, arguments: dict) -> Processors | None:
        """The processors for a pass with these arguments of `forward`, None if it is the stock model's."""
        config = self.config
        if config.gamma == 1:
            return None
        if arguments.get("timestep") is None:
            raise ValueError("TACA acts by `timestep`, and this forward pass got none: pass it.")
        timestep = torch.as_tensor(arguments["timestep"]) * self.family.timestep_scale
        active = is_active(timestep, config.threshold).flatten().tolist()
        if not any(active):
            return None
        if all(active):
            return self.processors
        hidden_states = arguments["hidden_states"]
        dtype = torch.promote_types(hidden_states.dtype, torch.float32)
        gamma = gamma_at(timestep.to(hidden_states.device), config.gamma, config.threshold, dtype)
        return self._processors(gamma.reshape(-1, 1, 1, 1))

    def _processors(self, gamma: float | torch.Tensor) -> Processors:
        kinds = {site: site.processor(gamma, self.family.text_first) for site in self.family.sites}
        return {module: kinds[site] for module, site in self.sites.items()}


def apply_taca(transformer: nn.Module, config: TacaConfig) -> None:
    """Lets TACA act in every forward pass of a transformer until `remove_taca`.

    Args:
        transformer: of a class in `taca.families.FAMILIES`, such as `pipe.transformer`.

    Raises:
        ValueError: a pipeline or an unknown class, no joint attention, processors other than the stock ones, or TACA
            applied already. The transformer is then as it was.
    """
    family = family_of(transformer)
    if hasattr(transformer, _TACA_HOOK):
        raise ValueError(f"TACA is already applied to this {type(transformer).__name__}: call `remove_taca` first.")
    hook = TacaHook(transformer, config, family)
    try:
        hook.register(transformer)
        setattr(transformer, _TACA_HOOK, hook)
    except BaseException:
        hook.remove()
        raise


def remove_taca(transformer: nn.Module) -> None:
    """Makes a transformer the stock one again.

    Raises:
        ValueError: TACA is not applied to it.
    """
    family_of(transformer)
    if not hasattr(transformer, _TACA_HOOK):
        raise ValueError(f"TACA is not applied to this {type(transformer).__name__}: call `apply_taca` first.")
    getattr(transformer, _TACA_HOOK).remove()
    delattr(transformer, _TACA_HOOK)


@contextmanager
def taca(transformer: nn.Module, config: TacaConfig) -> Iterator[nn.Module]:
    """Lets TACA act in a transformer inside a `with` block. Raises what `apply_taca` raises."""
    apply_taca(transformer, config)
    try:
        yield transformer
    finally:
        remove_taca(transformer)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
