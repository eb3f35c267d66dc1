"""A LoRA adapter that works only in the forward passes in which TACA acts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from taca.errors import TacaError


class ScopedAdapter:
    """Switches one adapter of a transformer on or off for single passes; other adapters stay as they are.

    Switched off, its layers run their base layer alone: nothing is multiplied by zero, nothing is unloaded.

    Args:
        transformer: with the adapter loaded, as `pipe.load_lora_weights(..., adapter_name=name)` does.
        name: the adapter's.

    Raises:
        TacaError: the transformer has no such adapter, or an adapter is fused into the weights.
    """

    def __init__(self, transformer: nn.Module, name: str):
        self.name = name
        self._layers(transformer)

    def _layers(self, transformer: nn.Module) -> list:
        """The adapter's layers, found anew each time: it may have been unloaded and loaded again."""
        try:
            from peft.tuners.tuners_utils import BaseTunerLayer
            from peft.utils import ModulesToSaveWrapper
        except ImportError:
            raise TacaError(f"`adapter` is {self.name!r}, and peft is not installed: install it with pip.") from None

        kinds = (BaseTunerLayer, ModulesToSaveWrapper)
        tuned = [module for module in transformer.modules() if isinstance(module, kinds)]
        layers = [layer for layer in tuned if self.name in _adapters_of(layer)]
        if not layers:
            known = sorted({found for layer in tuned for found in _adapters_of(layer)})
            raise TacaError(
                f"`adapter` is {self.name!r}, and this {type(transformer).__name__} has "
                f"{', '.join(map(repr, known)) if known else 'none'}: load it first, by that `adapter_name`."
            )
        # A layer with any fused adapter would be unfused for good when it is switched off.
        if any(layer.merged for layer in layers if isinstance(layer, BaseTunerLayer)):
            raise TacaError(
                f"An adapter is fused into the weights, so {self.name!r} cannot be disabled in later steps: "
                "call `pipe.unfuse_lora()` first."
            )
        return layers

    @contextmanager
    def switched(self, transformer: nn.Module, on: bool) -> Iterator[None]:
        """The adapter on or off; on exit it is what it was."""
        layers = self._layers(transformer)
        # Not by peft's `set_adapter` and `enable_adapters`, which also change which weights require gradients.
        # Invariant: a layer's forward pass reads these two fields, and nothing else says which adapters are on.
        before = [(layer._active_adapter, layer._disable_adapters) for layer in layers]
        try:
            for layer in layers:
                active = [] if layer.disable_adapters else [name for name in layer.active_adapters if name != self.name]
                if on:
                    # Of whole modules that adapters bring (peft's `modules_to_save`) one alone can be in place.
                    active = [self.name] if "modules_to_save" in layer.adapter_layer_names else [*active, self.name]
                layer._active_adapter = active
                layer._disable_adapters = not layer._active_adapter
            yield
        finally:
            for layer, (active, disabled) in zip(layers, before, strict=True):
                layer._active_adapter, layer._disable_adapters = active, disabled


def _adapters_of(layer: Any) -> set[str]:
    """Names of the adapters that a layer of peft holds weights of."""
    return {name for weights in layer.adapter_layer_names for name in getattr(layer, weights, {})}
