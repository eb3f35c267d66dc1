"""Which published pipelines the experiment can run, by what `model_index.json` says before any weight is there."""

from collections.abc import Mapping

from lab.errors import LabError
from lab.models.family import family_named
from lab.models.published.selection import parts_of


def check_kind(index: Mapping, origin: str) -> None:
    """Makes sure that the pipeline of `index` is one of a family that the experiment knows.

    Args:
        origin: of the pipeline, for messages: a repository or a folder.

    Raises:
        LabError: it has no transformer, one of another family, or is another pipeline around one of these.
    """
    kind, parts = index["_class_name"], parts_of(index)
    if "transformer" not in parts:
        raise LabError(
            f"{origin} is a {kind} without a transformer, which is where TACA acts: choose a Stable Diffusion 3 or "
            "FLUX.1 base, or use `taca.apply_taca` on a pipeline that has one."
        )
    family = family_named(parts["transformer"][1], {})
    if kind != family.pipeline.__name__:
        raise LabError(
            f"{origin} is a {kind}, and the experiment draws with {family.pipeline.__name__} alone: choose a base of "
            "that class, or use `taca.apply_taca` on a pipeline of your own."
        )
