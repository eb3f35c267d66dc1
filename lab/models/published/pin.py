"""The pin of a base that stands elsewhere: where it is, and size and SHA-256 of each of its files."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from lab.errors import LabError
from lab.models.published.hashes import sha256

NAME = "pin.json"
AGAIN = "`dvc repro -f -s base`"
PUT_BACK = f"put the old one back, or let {AGAIN} pin the folder as it is now"


@dataclass(frozen=True)
class Pin:
    """A pipeline of which nothing may change.

    Attributes:
        files: by path in the pipeline's folder: `size` in bytes and `sha256`.
        repo: on the hub, with `commit`; None for a folder.
        variant: of the weights, such as fp16; None for those without one.
        folder: of this machine; None for a repository.
    """

    files: Mapping[str, Mapping[str, int | str]]
    repo: str | None = None
    commit: str | None = None
    variant: str | None = None
    folder: str | None = None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(facts["size"] for facts in self.files.values())

    def write(self, target: Path) -> None:
        """Writes the pin as the only file of the base's folder."""
        target.mkdir(parents=True, exist_ok=True)
        document = {key: value for key, value in asdict(self).items() if value is not None}
        (target / NAME).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")


def facts_of(place: Path, names: Iterable[str]) -> dict[str, dict[str, int | str]]:
    """The `files` of a pin, of files in `place`."""
    return {name: {"size": (place / name).stat().st_size, "sha256": sha256(place / name)} for name in sorted(names)}


def find_pipeline(base: Path) -> tuple[Path, str | None]:
    """The folder from which diffusers loads the base, and the variant of its weights.

    Args:
        base: models/base/<name>: the pipeline itself, or its pin.

    Raises:
        LabError: a file that the pin names is missing, or has changed.
    """
    pin = read_pin(base)
    if pin is None:
        return base, None
    place = locate(pin)
    for name, facts in pin.files.items():
        if sha256(place / name) != facts["sha256"]:
            raise _changed(pin, place / name)
    return place, pin.variant


def read_pin(base: Path) -> Pin | None:
    """The pin in models/base/<name>; None where that is the pipeline itself."""
    return Pin(**json.loads((base / NAME).read_text())) if (base / NAME).exists() else None


def locate(pin: Pin) -> Path:
    """The folder with the pinned files, none of which is read.

    Raises:
        LabError: one is missing, or has another size.
    """
    place = Path(pin.folder) if pin.folder else _snapshot(pin)
    for name, facts in pin.files.items():
        if not (place / name).is_file():
            remedy = f"{AGAIN} downloads it" if pin.repo else PUT_BACK
            raise LabError(f"{place / name} of the base is missing: {remedy}.")
        if (place / name).stat().st_size != facts["size"]:
            raise _changed(pin, place / name)
    return place


def _snapshot(pin: Pin) -> Path:
    try:
        return Path(snapshot_download(pin.repo, revision=pin.commit, allow_patterns=[*pin.files], local_files_only=True))
    except LocalEntryNotFoundError:
        raise LabError(
            f"The hub's cache does not have all of {pin.repo} at {pin.commit}: {AGAIN} downloads what is missing."
        ) from None


def _changed(pin: Pin, path: Path) -> LabError:
    # Removing the name alone would leave the content to which the hub's cache links it.
    remedy = f"remove {path.resolve()}, and {AGAIN} downloads it anew" if pin.repo else PUT_BACK
    return LabError(f"{path} is not the file of the base that {NAME} names: {remedy}.")
