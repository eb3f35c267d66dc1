"""The pipeline as one arm draws with it: its adapter loaded, its kernels chosen, TACA applied."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from lab.generation.acceleration import offload_groups
from lab.generation.adapter import adapter
from lab.generation.load import load_drawing
from lab.models.blocks import compile_each_block
from taca.hooks import TacaConfig, by_method, taca
from taca.methods import Method
from taca.text_states import TextStates


@dataclass(frozen=True)
class Setup:
    """How the base is loaded and computed, the same for all arms; as section `generate` of the parameters has it."""

    dtype: str
    quantization: str
    compile: bool
    offload: str


@contextmanager
def arm_pipeline(
    base: Path,
    lora: Path | None,
    setup: Setup,
    gamma: float,
    threshold: float,
    adapter_scope: str,
    method: Method | TextStates | None = None,
    until: float | None = None,
) -> Iterator[object]:
    """Yields the base without its text encoders; arguments and errors are those of `drawing`."""
    pipe = load_drawing(base, setup.dtype, setup.quantization, setup.offload)
    with drawing(pipe, lora, setup, gamma, threshold, adapter_scope, method, until):
        yield pipe


@contextmanager
def drawing(
    pipe,
    lora: Path | None,
    setup: Setup,
    gamma: float,
    threshold: float,
    adapter_scope: str,
    method: Method | TextStates | None = None,
    until: float | None = None,
) -> Iterator[object]:
    """Lets a loaded pipeline draw as an arm does.

    Args:
        lora: the folder of the arm's adapter, None without one.
        adapter_scope: "early" (only while t >= threshold, and below `until`) or "all".
        method: what acts in the place of gamma; None: TACA.
        until: the noise level from which on it does not; with a method only.

    Raises:
        LabError: the machine cannot do what `setup` asks for.
    """
    with nullcontext() if lora is None else adapter(pipe, lora) as name:
        if setup.offload == "group":
            offload_groups(pipe.transformer)
        if setup.compile:
            compile_each_block(pipe.transformer)
        early = name if adapter_scope == "early" else None
        if method is None:
            acting = taca(pipe, TacaConfig(gamma=gamma, threshold=threshold, adapter=early))
        else:
            acting = by_method(pipe, method, threshold=threshold, until=until, adapter=early)
        with acting:
            yield pipe
