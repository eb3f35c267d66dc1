"""Where the command's prompts come from: the benchmark, the pipeline's table, or a text file of one prompt a line."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from compbench.errors import CompbenchError
from compbench.parsing import RULES, SHIPPED, SPACY, parse_prompts
from compbench.prompts import read_benchmark
from compbench.scorers.blip.questions import questions_of
from compbench.scorers.interface import SCORE_METRICS, Prompt, prompt_of, read_prompts
from compbench.scorers.mode import Mode
from compbench.scorers.spatial import check_two_objects
from compbench.text import prompt_lines
from compbench.val_prompts import CATEGORIES, read_compbench_prompts

COMPBENCH = "compbench"
PER_CATEGORY = 300  # val prompts of the benchmark, in each category
PARSES = Path("data/parses/compbench.jsonl")  # what `make parse` writes


def read_source(
    source: str, categories: Sequence[str], parser: str | None
) -> tuple[dict[str, list[Prompt]], dict[str, str]]:
    """The prompts of each of `categories`, and the category of every prompt that is known besides, by its text.

    Args:
        source: "compbench", or the path of a table as the `prompts` stage writes it (`.parquet`) or of a text file.
        parser: "rules", "spacy", "spacy-3.6", or the path of a parses file; None for the file of `make parse` where
            there is one, else "spacy-3.6" for the benchmark's prompts and "spacy" for others. A table brings its
            parses, so it goes with None alone.

    Raises: CompbenchError when prompts, a parser or a parse are missing, or a prompt stands twice.
    """
    category_of = {prompt: category for category in CATEGORIES for prompt in read_compbench_prompts(category)}
    prompts = _read(source, categories, parser)
    category_of |= {prompt.prompt: prompt.category for prompt in prompts}
    by_category = {category: [one for one in prompts if one.category == category] for category in categories}
    for category, found in by_category.items():
        _check_texts(source, category, found)
    return by_category, category_of


def check_parses(prompts: Sequence[Prompt], mode: Mode) -> None:
    """What would stop the scorers later, said before any model is loaded.

    Raises: CompbenchError for a prompt whose parse does not answer what its scorer asks.
    """
    for prompt in prompts:
        if prompt.category in ("spatial", "3d_spatial"):
            check_two_objects(prompt)
        if _needs_phrases(prompt):
            questions_of(prompt, mode)
    # Without phrases the benchmark scores 1, which is the tagger's to say: the rules do not know.
    unparsed = [
        prompt for prompt in prompts if _needs_phrases(prompt) and not prompt.phrases and prompt.parser == RULES
    ]
    if unparsed:
        raise CompbenchError(
            f'The parser rules finds no noun phrase in {len(unparsed)} prompts, first in "{unparsed[0].prompt}": use '
            "the benchmark's tagger, which `make parse` installs and runs."
        )


def _read(source: str, categories: Sequence[str], parser: str | None) -> list[Prompt]:
    """Of a table, the prompts of other categories too."""
    if source.endswith(".parquet"):
        return _from_table(Path(source), parser)
    if parser is None and PARSES.exists():
        parser = str(PARSES)
    if source == COMPBENCH:
        return _from_benchmark(categories, parser or SHIPPED)
    return _from_text(Path(source), categories, parser or SPACY)


def _needs_phrases(prompt: Prompt) -> bool:
    return prompt.category == "complex" or SCORE_METRICS[prompt.category] == "attribute"


def _from_benchmark(categories: Sequence[str], parser: str) -> list[Prompt]:
    return [prompt_of(row) for row in read_benchmark("val", PER_CATEGORY, categories, parser)]


def _from_table(path: Path, parser: str | None) -> list[Prompt]:
    if parser is not None:
        raise CompbenchError(
            f"{path} already has its prompts' parses: leave --parser out, or make the table again with it."
        )
    return read_prompts(path)


def _from_text(path: Path, categories: Sequence[str], parser: str) -> list[Prompt]:
    if len(categories) > 1:
        raise CompbenchError(f"{path} does not say its prompts' categories: score one --category at a time with it.")
    try:
        lines = prompt_lines(path)
    except CompbenchError as error:
        raise CompbenchError(
            f"{str(error).removesuffix('.')}; --prompts must be compbench, a table of the prompts stage (.parquet), or "
            "a text file of one prompt a line."
        ) from None
    parses = parse_prompts(lines, categories[0], parser)
    fields = [{name: value for name, value in vars(parse).items() if name != "count"} for parse in parses]
    return [Prompt(i, line, categories[0], **parse) for i, (line, parse) in enumerate(zip(lines, fields, strict=True))]


def _check_texts(source: str, category: str, prompts: Sequence[Prompt]) -> None:
    if not prompts:
        raise CompbenchError(f"{source} holds no prompts of {category}: give another file, or another --category.")
    text, times = Counter(prompt.prompt for prompt in prompts).most_common(1)[0]
    if times > 1:
        raise CompbenchError(
            f'{source} holds the {category} prompt "{text}" {times} times, but images are identified by their prompts: '
            "remove the duplicate."
        )
