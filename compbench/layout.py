"""Images in the benchmark's layout, `samples/{prompt}_{index:06d}.png`, told apart by their names alone.

As in the benchmark (Huang et al., 2023, arXiv 2307.06350), an image's prompt is what its name has before the first
underscore and its index the number after the last; no prompt has one, so a name holds exactly one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from compbench.errors import CompbenchError
from compbench.images import NAME, ImageRow
from compbench.names import alike
from compbench.scorers.interface import Prompt


def find_samples(images: Path, categories: Sequence[str]) -> tuple[Path, dict[str, Path]]:
    """The folder that images' paths are relative to, and in it each category's folder of images.

    Args:
        images: a folder with `samples/`, that folder itself, or for one or more categories one with
            `<category>/samples/`.

    Raises: CompbenchError naming the folder that is missing.
    """
    if len(categories) == 1 and images.name == "samples":
        return images.parent, {categories[0]: images}
    if len(categories) == 1 and (images / "samples").is_dir():
        return images, {categories[0]: images / "samples"}
    folders = {category: images / category / "samples" for category in categories}
    for category, folder in folders.items():
        if not folder.is_dir():
            raise CompbenchError(
                f"The folder {folder} does not exist: give one that holds {category}/samples, or, for one category "
                "alone, samples."
            )
    return images, folders


def list_images(
    root: Path, folder: Path, prompts: Sequence[Prompt], category: str, category_of: Mapping[str, str]
) -> list[ImageRow]:
    """The images of one category in the order of their indices, paths relative to `root`.

    Args:
        prompts: of the category.
        category_of: the category of every known prompt, by its text.

    Raises: CompbenchError for a file that is not named as the benchmark's are, is of another prompt, or shares its
        index.
    """
    by_text = {alike(prompt.prompt): prompt for prompt in prompts} | {prompt.prompt: prompt for prompt in prompts}
    rows: dict[int, ImageRow] = {}
    for path in sorted(folder.iterdir()):
        text, index = _read_name(path)
        prompt = by_text.get(text) or by_text.get(alike(text))
        if prompt is None:
            raise CompbenchError(_of_another_prompt(path, text, category, category_of))
        row = ImageRow(index, prompt.prompt, category, prompt.index, path.relative_to(root).as_posix())
        if index in rows:
            raise CompbenchError(
                f"{path} has the same index as {root / rows[index].path}, but indices count a category's images: "
                "renumber one of them."
            )
        rows[index] = row
    return [rows[index] for index in sorted(rows)]


def check_number(
    rows: Iterable[ImageRow], prompts: Sequence[Prompt], category: str, images_per_prompt: int, partial: bool
) -> None:
    """Raises: CompbenchError unless each prompt has `images_per_prompt` images; with `partial`, if there is none."""
    found = Counter(row.prompt_index for row in rows)
    if not found:
        raise CompbenchError(f"There are no images of {category} to score: make them, or give another folder.")
    if partial:
        return
    _check_none_missing(found, prompts, category, images_per_prompt)
    for prompt in prompts:
        if found[prompt.index] > images_per_prompt:
            raise CompbenchError(
                f'The prompt "{prompt.prompt}" has {found[prompt.index]} images, but the protocol wants '
                f"{images_per_prompt} of each: move the others out, or say --images-per-prompt or --partial."
            )


def _check_none_missing(found: Counter, prompts: Sequence[Prompt], category: str, images_per_prompt: int) -> None:
    missing = {prompt: images_per_prompt - found[prompt.index] for prompt in prompts}
    missing = {prompt: number for prompt, number in missing.items() if number > 0}
    if missing:
        first = next(iter(missing))
        raise CompbenchError(
            f"{sum(missing.values())} of {len(prompts) * images_per_prompt} images of {category} are missing "
            f"({images_per_prompt} for each of {len(prompts)} prompts), the first of them image "
            f'{found[first.index] + 1} of "{first.prompt}": make them, or score what is there with --partial, or with '
            "--images-per-prompt N if there are N of each; results then say that this is not the official protocol."
        )


def _read_name(path: Path) -> tuple[str, int]:
    name = NAME.fullmatch(path.name)
    if name is None:
        raise CompbenchError(
            f"{path} is not named {{prompt}}_{{index:06d}}.png as the benchmark's images are: rename it, or move it "
            "out of the folder."
        )
    return name["prompt"], int(name["index"])


def _of_another_prompt(path: Path, text: str, category: str, category_of: Mapping[str, str]) -> str:
    if text in category_of:
        return (
            f"{path} shows a prompt of the category {category_of[text]}, but {category} is to be scored: say "
            f"--category {category_of[text]}, or keep each category's images in a folder of its own."
        )
    return (
        f'{path} shows "{text}", which is no prompt of {category}: move it out of the folder, or give its prompts with '
        "--prompts."
    )
