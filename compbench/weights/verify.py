"""What a scoring run says of its weights: that all are there, and which they are."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from compbench.errors import CompbenchError
from compbench.weights.command import command
from compbench.weights.hashes import check, known_sha256
from compbench.weights.registry import NEEDS, WeightFile, files_of


def verify(
    weights: Path, categories: Iterable[str], needs: Mapping[str, tuple[WeightFile, ...]] = NEEDS
) -> dict[str, str]:
    """{path in the folder: sha256} of the files that `categories` need; each is read once and then known by its date.

    Raises: CompbenchError when files are missing, with the command that fetches them, or when a hash is not the
    published one or the one that the first fetch recorded.
    """
    categories = tuple(categories)
    files = files_of(categories, needs)
    missing = [file.path for file in files if not (weights / file.path).is_file()]
    if missing:
        raise CompbenchError(
            f"{weights} lacks {', '.join(missing)}: fetch with `{command(weights, categories)}`, "
            "which can also take them from a folder (--from)."
        )
    hashes = {file.path: known_sha256(weights, file.path) for file in files}
    for file in files:
        check(weights, file, hashes[file.path])
    return hashes
