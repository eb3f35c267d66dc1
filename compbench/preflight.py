"""Everything that can be wrong with a scoring run is found here, before a model is loaded."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from compbench.errors import CompbenchError
from compbench.images import ImageRow
from compbench.layout import check_number, find_samples, list_images
from compbench.manifest import build_manifest
from compbench.prompt_source import check_parses, read_source
from compbench.protocol import describe_protocol
from compbench.reading import read_verified
from compbench.scorers.choice import Choice
from compbench.scorers.interface import Prompt

REMEDY = "make it again, or move it away and score the others with --partial"


@dataclass(frozen=True)
class Request:
    """What the command line asks for: which images, of which prompts, by which scorers.

    `prompts` and `parser` are as `read_source` takes them. `output` None is a folder beside the images' that names the
    mode.
    """

    images: Path
    categories: tuple[str, ...]
    choice: Choice
    prompts: str
    parser: str | None
    images_per_prompt: int
    partial: bool
    output: Path | None
    batch_size: int


@dataclass(frozen=True)
class Job:
    """A run that nothing is wrong with: images with paths relative to `root`, and the prompts that they show.

    `work` holds its finished chunks. Its name is a hash of all that determines a score, so that no run takes over
    another's.
    """

    root: Path
    rows: list[ImageRow]
    prompts: list[Prompt]
    manifest: dict
    output: Path
    work: Path


def prepare(request: Request) -> Job:
    """Checks prompts, names, numbers, weights and images.

    Raises: CompbenchError for the first thing that is wrong, and what to do.
    """
    by_category, category_of = read_source(request.prompts, request.categories, request.parser)
    root, folders = find_samples(Path(os.path.abspath(request.images)), request.categories)
    output = _output(request, root, folders.values())
    rows, prompts = {}, []
    for category, known in by_category.items():
        rows[category] = list_images(root, folders[category], known, category, category_of)
        check_number(rows[category], known, category, request.images_per_prompt, request.partial)
        shown = {row.prompt_index for row in rows[category]}
        prompts += [prompt for prompt in known if prompt.index in shown]
    check_parses(prompts, request.choice.mode)
    protocol = describe_protocol(request.prompts, rows)
    manifest = build_manifest(request.choice, prompts, request.categories, protocol)
    images = [row for of_category in rows.values() for row in of_category]
    key = _key(manifest, request.batch_size, _read_through(root, images))
    return Job(root, images, prompts, manifest, output, output / "work" / key)


def _output(request: Request, root: Path, samples: Sequence[Path]) -> Path:
    """Raises: CompbenchError for a folder among the images, where the next run would meet its files."""
    default = root.parent / f"{root.name}-scores-{request.choice.mode.value}"
    output = Path(os.path.abspath(request.output or default))
    if any(output.is_relative_to(folder) for folder in samples):
        raise CompbenchError(f"The results must not be among the images, as {output} would: give another --output.")
    return output


def _read_through(root: Path, rows: Sequence[ImageRow]) -> list[str]:
    """The sha256 of each image's file, all of which can be read."""
    hashes = []
    for row in tqdm(rows, desc="check", unit="image", disable=None):
        hashes.append(hashlib.sha256(read_verified(root / row.path, REMEDY)).hexdigest())
    return hashes


def _key(manifest: dict, batch_size: int, hashes: list[str]) -> str:
    """The batch size counts: it says which images share a chunk, and rounding can depend on that."""
    return hashlib.sha256(json.dumps([manifest, batch_size, hashes]).encode()).hexdigest()[:16]
