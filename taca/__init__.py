"""Temperature-Adjusted Cross-modal Attention (TACA, arXiv 2506.07986) for the MM-DiTs of diffusers.

Importing this package loads neither torch nor diffusers. The names below load them on first use, except `TacaConfig`.
"""

from importlib import import_module, metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taca.config import TacaConfig
    from taca.hooks import apply_taca, is_applied, remove_taca, taca
    from taca.steps import active_steps

_OTHER = "Another tool called taca is installed, and the two packages overwrite each other's files"

try:
    _about = metadata.metadata("taca")
except metadata.PackageNotFoundError:
    pass
else:
    # This package had that name itself; an installation from then is no harm.
    if "Summary" not in _about or not _about["Summary"].startswith("Temperature-Adjusted Cross-modal Attention"):
        raise ImportError(
            f"{_OTHER}: uninstall both, then `pip install taca-diffusers`, or keep them in two environments."
        )

__version__ = "0.1.0"
__all__ = ["TacaConfig", "__version__", "active_steps", "apply_taca", "is_applied", "remove_taca", "taca"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = {"TacaConfig": "taca.config", "active_steps": "taca.steps"}.get(name, "taca.hooks")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
