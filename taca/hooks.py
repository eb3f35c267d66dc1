"""TACA on a diffusers transformer: `apply_taca`, `remove_taca`, and `taca(...)` for a while.

The transformer's forward pass is hooked where the timestep is seen, outside of its blocks. A pass in which TACA acts on
any sample runs with the processors of `taca.processors` in place; every other pass is the stock model's. PyTorch's own
module hooks are used, and not those of diffusers: these replace `forward`, and a pipeline that offloads its models
loses the replacement after the first image, without a word.
"""

import copy
import inspect
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn, TypeVar

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from taca.adapters import ScopedAdapter
from taca.branches import Branches
from taca.combinations import check_combinations, check_gradients, check_token_split
from taca.config import TacaConfig, config_of
from taca.errors import TacaError
from taca.families import PIPELINES, Family, attention_modules, check_stock, family_of, latents_of, transformer_of
from taca.methods import Method
from taca.noise import noise_of
from taca.processors.acting import Acting, ByGamma, ByMethod, Replacements
from taca.processors.by_method import METHOD_FAMILIES
from taca.processors.swap import checkpointing, swapped, swapped_in_recomputation
from taca.reals import real
from taca.schedule import is_active
from taca.series import Series
from taca.text_states import TextStates

_TACA_HOOK = "_taca_hook"
_Model = TypeVar("_Model")


class TacaHook:
    """Decides before each forward pass of a transformer whether TACA acts in it, and undoes what it did afterwards."""

    def __init__(
        self,
        transformer: nn.Module,
        config: TacaConfig,
        family: Family,
        scheduler: object | None,
        pipeline: object | None,
        acting: Acting,
        until: float | None = None,
    ):
        check_combinations(transformer)
        self.config = config
        self.acting = acting
        # The noise level from which on nothing acts.
        self.until = until
        self.family = family
        self.scheduler = getattr(pipeline, "scheduler", scheduler)
        # Whoever copies the transformer wants no copy of its pipeline.
        self.pipeline = None if pipeline is None else weakref.ref(pipeline)
        self.sites = attention_modules(transformer, family)
        self.adapter = None if config.adapter is None else ScopedAdapter(transformer, config.adapter)
        self.signature = inspect.signature(type(transformer).forward)
        # The last set that was made: the steps of one image, and mostly of the next, share it.
        self.processors: tuple[object, Replacements] = (None, {})
        self.undo = ExitStack()
        # The one that is making a pass.
        self.thread: threading.Thread | None = None
        self.handles: list[RemovableHandle] = []
        self.branches = None if config.branches == "both" else Branches(transformer, family.text, family.batches)
        self.series = Series(config.threshold)

    def register(self, transformer: nn.Module) -> None:
        """Hooks the forward pass; the later hook also runs when the pass fails."""
        self.handles.append(transformer.register_forward_pre_hook(self.pre_forward, with_kwargs=True))
        self.handles.append(transformer.register_forward_hook(self.post_forward, always_call=True))

    def remove(self, transformer: nn.Module) -> None:
        """Leaves the transformer as it was before `register`."""
        for handle in self.handles:
            handle.remove()
        self.undo.close()
        if self.branches is not None:
            self.branches.close(transformer)

    @torch.compiler.disable
    def pre_forward(self, transformer: nn.Module, args: tuple, kwargs: dict) -> None:
        """Puts the processors in place for a pass in which TACA acts."""
        self._begin(transformer)
        changes = not self.acting.neutral
        if not changes and self.adapter is None:
            return
        arguments = self._arguments(transformer, args, kwargs)
        above_threshold = self._above_threshold(arguments)
        if any(above_threshold):
            check_combinations(transformer)
        if self.adapter is not None:
            self._switch_adapter(self.adapter, transformer, above_threshold)
        gamma_active = self._gamma_active(above_threshold, arguments)
        if changes and any(gamma_active):
            if not self.sites.keys() <= set(transformer.modules()):
                # Somebody has replaced a block.
                self.sites = attention_modules(transformer, self.family)
            check_stock(self.sites)
            check_gradients(transformer, latents_of(arguments, self.family))
            self._put(transformer, self._processors(transformer, gamma_active, arguments))

    @torch.compiler.disable
    def post_forward(self, transformer: nn.Module, args: tuple, output: object) -> None:
        """Puts the stock processors back."""
        # Called for the pass of another thread too, which `_begin` refused.
        if self.thread is threading.current_thread():
            self.undo.close()
            self.thread = None

    def __reduce__(self) -> NoReturn:
        """Refuses pickling: hooks of PyTorch and a pipeline's scheduler would have to travel with the weights."""
        raise TacaError(
            "A model to which TACA is applied cannot be pickled: call `remove_taca` first, or save its `state_dict()`."
        )

    def __deepcopy__(self, memo: dict) -> "TacaHook":
        """A copy for a copied transformer: in the copy of its pipeline, or else around the same one."""
        duplicate = object.__new__(type(self))
        memo[id(self)] = duplicate
        pipeline = None if self.pipeline is None else self.pipeline()
        around = {
            "thread": None,
            "scheduler": memo.get(id(self.scheduler), self.scheduler),
            "pipeline": None if pipeline is None else weakref.ref(memo.get(id(pipeline), pipeline)),
        }
        copied = {name: copy.deepcopy(value, memo) for name, value in vars(self).items() if name not in around}
        vars(duplicate).update(copied | around)
        return duplicate

    def _arguments(self, transformer: nn.Module, args: tuple, kwargs: dict) -> dict:
        """The arguments of a pass by name, also those that a subclass takes as `**kwargs` and passes on."""
        arguments = self.signature.bind(transformer, *args, **kwargs).arguments
        passed_on = [name for name, one in self.signature.parameters.items() if one.kind is one.VAR_KEYWORD]
        for name in passed_on:
            arguments.update(arguments.pop(name, {}))
        return arguments

    def _begin(self, transformer: nn.Module) -> None:
        this = threading.current_thread()
        if self.thread is not None and self.thread is not this and self.thread.is_alive():
            raise TacaError(
                f"Another thread is in a forward pass of this {type(transformer).__name__}, whose processors TACA "
                "changes for each pass: give each thread a transformer of its own, or make passes one after the other."
            )
        # Something is left to undo here only if the last pass was interrupted (Ctrl-C).
        self.undo.close()
        self.thread = this

    def _scheduler(self) -> object | None:
        """The pipeline's, which may be replaced; the last one seen where the pipeline is gone and others go on."""
        pipeline = None if self.pipeline is None else self.pipeline()
        if pipeline is not None:
            self.scheduler = getattr(pipeline, "scheduler", None)
        return self.scheduler

    def _above_threshold(self, arguments: dict) -> list[bool]:
        """Which samples of a pass with these arguments are at or above the threshold; one may stand for all."""
        timestep = self.family.timestep
        given = timestep.given(arguments)
        if self.config.threshold == 0 and self.until is None:
            # No timestep is below it. To read them, the host would have to wait for the GPU.
            return [True]
        # One transfer from a GPU serves the decision and the warning.
        given = given.cpu()
        scheduler = self._scheduler()
        if scheduler is None:
            self.series.note(timestep.level(given))
            early = timestep.above(given, self.config.threshold)
            return (early if self.until is None else early & ~timestep.above(given, self.until)).tolist()
        level = timestep.scheduled(given, scheduler)
        if self.config.threshold_of == "noise":
            level = noise_of(level, scheduler)
        self.series.note(level)
        early = is_active(level, self.config.threshold)
        return (early if self.until is None else early & ~is_active(level, self.until)).tolist()

    def _gamma_active(self, above_threshold: list[bool], arguments: dict) -> list[bool]:
        """Which samples of the batch gamma acts on."""
        batch = len(arguments[self.family.image]) if self.family.timestep.drawn is None else 1
        above_threshold = above_threshold * batch if len(above_threshold) == 1 else above_threshold
        # Nothing hangs on the branch of a pass below the threshold.
        if self.branches is None or not any(above_threshold):
            return above_threshold
        return [a and b for a, b in zip(above_threshold, self.branches.conditional(arguments, batch), strict=True)]

    def _switch_adapter(self, adapter: ScopedAdapter, transformer: nn.Module, above_threshold: list[bool]) -> None:
        if any(above_threshold) != all(above_threshold):
            raise TacaError(
                "This forward pass mixes timesteps above and below the threshold, and the adapter "
                f"{adapter.name!r} is either on or off: pass them one after the other."
            )
        if checkpointing(transformer):
            raise TacaError(
                "`adapter` in TacaConfig cannot be combined with gradient checkpointing, since the backward pass "
                "recomputes blocks after the adapter has been switched back: disable one of them."
            )
        self.undo.enter_context(adapter.switched(transformer, all(above_threshold)))

    def _put(self, transformer: nn.Module, processors: Replacements) -> None:
        for module, processor in processors.items():
            processor.follow(module)
        self.undo.enter_context(swapped(processors))
        self.undo.enter_context(swapped_in_recomputation(transformer, processors))

    def _processors(self, transformer: nn.Module, gamma_active: list[bool], arguments: dict) -> Replacements:
        """A replacement processor for each site, or for those that the method wants."""
        check_token_split(transformer, self.sites.values())
        latents = latents_of(arguments, self.family)
        tokens = self.family.tokens(transformer, arguments)
        dtype = torch.promote_types(latents.dtype, torch.float32)
        # Fused projections bring other stock processors, from which replacements are derived anew.
        stock = tuple((module, type(module.processor)) for module in self.sites)
        made_for = (tuple(gamma_active), tokens, latents.device, dtype, stock)
        if self.processors[0] != made_for:
            # A tensor made under `torch.inference_mode` could not serve a training pass later.
            with torch.inference_mode(False):
                active = torch.tensor(gamma_active, device=latents.device).reshape(-1, 1, 1, 1)
                self.processors = (made_for, self.acting.processors(self.sites, active, tokens, dtype))
        return self.processors[1]


def apply_taca(
    model: object, config: TacaConfig | None = None, *, scheduler: object | None = None, **fields: Any
) -> None:
    """Applies TACA to every forward pass of a transformer until `remove_taca`.

    Example:
        >>> apply_taca(pipe, gamma=1.2, threshold=970.0)
        >>> image = pipe("a red circle on the left of a blue square").images[0]
        >>> remove_taca(pipe)

    Args:
        model: a pipeline, or a transformer of a class in `taca.families.FAMILIES`, bare or wrapped by `torch.compile`
            and others. Prefer the pipeline: TACA then compares its scheduler's unrounded timesteps.
        config: the configuration; or pass its fields by name, such as `gamma=1.2`. The paper's values by default.
        scheduler: with a transformer, the scheduler whose timesteps the transformer will receive. A pipeline in 16 bits
            rounds them (966, 968 and 970 arrive as 968.75 in bfloat16); the scheduler has them unrounded.

    Raises:
        TacaError: an unknown field or a `config` of another type, an unknown class or a pipeline without a transformer,
            no joint attention, processors other than the stock ones, an adapter that is not loaded or is fused, an
            output cache, a `scheduler` that is none, or TACA applied already. The transformer is left as it was.
    """
    config = config_of(config, fields)
    transformer = transformer_of(model)
    pipeline = model if isinstance(model, PIPELINES) else None
    _check_scheduler(scheduler, pipeline)
    family = family_of(transformer)
    if config.branches == "conditional" and pipeline is None:
        raise TacaError(
            "`branches` is conditional, and a transformer alone cannot tell the branches: pass the pipeline."
        )
    if hasattr(transformer, _TACA_HOOK):
        raise TacaError(f"TACA is already applied to this {type(transformer).__name__}: call `remove_taca` first.")
    _attach(transformer, TacaHook(transformer, config, family, scheduler, pipeline, ByGamma(config.gamma)))


def _check_scheduler(scheduler: object | None, pipeline: object | None) -> None:
    if scheduler is None:
        return
    if pipeline is not None:
        raise TacaError("A pipeline brings its own scheduler: pass `scheduler` with a transformer only.")
    if not all(hasattr(scheduler, name) for name in ("timesteps", "config")):
        raise TacaError(
            f"`scheduler` must be a scheduler of diffusers, such as `pipe.scheduler`, got {type(scheduler).__name__}."
        )


def _attach(transformer: nn.Module, hook: TacaHook) -> None:
    try:
        hook.register(transformer)
        setattr(transformer, _TACA_HOOK, hook)
    except BaseException:
        hook.remove(transformer)
        raise


def apply_method(
    model: object,
    method: Method | TextStates,
    *,
    threshold: float = 970.0,
    until: float | None = None,
    adapter: str | None = None,
    scheduler: object | None = None,
) -> None:
    """Applies a method of `taca.methods` instead of TACA's gamma, until `remove_taca`.

    Example:
        >>> apply_method(pipe, MassOnly(1.2), threshold=970.0)

    Args:
        model, scheduler: as in `apply_taca`.
        method: one of `taca.methods`, or `taca.text_states.TextStates`.
        threshold: the method acts at noise levels of at least this.
        until: and below this; None: no upper limit.
        adapter: as in `TacaConfig`; it is enabled only in that window.

    Raises:
        TacaError: as `apply_taca`, or for an object that is not a method, a family that methods do not support, or an
            empty window of noise levels.
    """
    transformer = transformer_of(model)
    family = family_of(transformer)
    if not isinstance(method, Method | TextStates):
        raise TacaError(f"{type(method).__name__} is not a method: pass one of `taca.methods`, such as MassOnly(1.2).")
    if family.transformer not in METHOD_FAMILIES:
        known = " and ".join(METHOD_FAMILIES)
        raise TacaError(f"Methods other than gamma support {known}, not {family.transformer}: use `apply_taca`.")
    config = TacaConfig(threshold=threshold, adapter=adapter)
    if until is not None and not config.threshold < real(until) <= 1000:
        raise TacaError(f"`until` must lie above `threshold`, {threshold:g}, and be at most 1000, got {until!r}.")
    if hasattr(transformer, _TACA_HOOK):
        raise TacaError(f"TACA is already applied to this {type(transformer).__name__}: call `remove_taca` first.")
    pipeline = model if isinstance(model, PIPELINES) else None
    _check_scheduler(scheduler, pipeline)
    if isinstance(method, TextStates):
        method.check_blocks(len(attention_modules(transformer, family)))
    acting = ByMethod(method) if isinstance(method, Method) else method
    _attach(transformer, TacaHook(transformer, config, family, scheduler, pipeline, acting, until))


def remove_taca(model: object) -> None:
    """Removes TACA and restores the stock transformer. Takes the same `model` as `apply_taca`.

    Raises:
        TacaError: TACA is not applied to it.
    """
    transformer = transformer_of(model)
    family_of(transformer)
    if not hasattr(transformer, _TACA_HOOK):
        raise TacaError(f"TACA is not applied to this {type(transformer).__name__}: call `apply_taca` first.")
    hook = getattr(transformer, _TACA_HOOK)
    delattr(transformer, _TACA_HOOK)
    hook.remove(transformer)


def is_applied(model: object) -> bool:
    """Whether TACA is applied to a transformer, or to a pipeline's transformer.

    Raises:
        TacaError: an unknown class, or a pipeline without a transformer.
    """
    return applied_hook(model) is not None


def applied_hook(model: object) -> TacaHook | None:
    """What is applied to a transformer, or to that of a pipeline. Raises what `is_applied` does."""
    transformer = transformer_of(model)
    family_of(transformer)
    return getattr(transformer, _TACA_HOOK, None)


@contextmanager
def by_method(model: _Model, method: Method | TextStates, **options: Any) -> Iterator[_Model]:
    """Applies a method inside a `with` block. Arguments and errors are those of `apply_method`."""
    apply_method(model, method, **options)
    with _until_removed(transformer_of(model)):
        yield model


@contextmanager
def taca(
    model: _Model, config: TacaConfig | None = None, *, scheduler: object | None = None, **fields: Any
) -> Iterator[_Model]:
    """Applies TACA inside a `with` block. Arguments and errors are those of `apply_taca`.

    Example:
        >>> with taca(pipe, gamma=1.2):
        ...     image = pipe("a red circle on the left of a blue square").images[0]
    """
    apply_taca(model, config, scheduler=scheduler, **fields)
    with _until_removed(transformer_of(model)):
        yield model


@contextmanager
def _until_removed(transformer: nn.Module) -> Iterator[None]:
    """Removes on exit what is applied now, if nobody has: an error of a second removal would hide that of the block."""
    hook = getattr(transformer, _TACA_HOOK)
    try:
        yield
    finally:
        if getattr(transformer, _TACA_HOOK, None) is hook:
            remove_taca(transformer)
