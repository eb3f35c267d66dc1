"""Temperature-Adjusted Cross-modal Attention (TACA, arXiv 2506.07986) for the MM-DiTs of diffusers.

Importing this package loads neither torch nor diffusers; the names below do, on first use.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taca.hooks import TacaConfig, apply_taca, is_applied, remove_taca, taca
    from taca.steps import active_steps

__version__ = "0.1.0"
__all__ = ["TacaConfig", "__version__", "active_steps", "apply_taca", "is_applied", "remove_taca", "taca"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "active_steps":
        from taca.steps import active_steps

        return active_steps
    from taca import hooks

    return getattr(hooks, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
