"""What scores: the published weights, where they come from, and whether the parse answers what they are asked."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from compbench.errors import CompbenchError
from compbench.manifest import weights_needed
from compbench.prompt_source import check_parses
from compbench.scorers.choice import Choice
from compbench.scorers.interface import Prompt
from compbench.scorers.mode import Mode
from compbench.scorers.quality import needs_pyiqa
from compbench.val_prompts import CATEGORIES
from compbench.weights import verify
from compbench.weights.command import command
from compbench.weights.registry import NEEDS, WeightFile, files_of
from compbench.weights.web import Web
from lab.errors import LabError
from lab.params import Params
from lab.preflight.ahead import Ahead
from lab.preflight.findings import Findings, Space

TWICE = 2  # a checkpoint is kept as it came, and as safetensors


def check_scorers(
    params: Params,
    ahead: Ahead,
    prompts: Sequence[Prompt],
    found: Findings,
    needs: Mapping[str, tuple[WeightFile, ...]] = NEEDS,
) -> None:
    """Weights that are here have their hashes; those that are not can be had, where a base from the hub allows that."""
    if not ahead.runs("score"):
        return
    score = params.score
    mode = Mode(score.mode)
    with found.of("score"):
        if params.prompts.parser != "spacy":
            check_parses(prompts, mode)
    with found.of("score"):
        if score.quality and find_spec("pyiqa") is None:
            raise needs_pyiqa(score.quality[0])
    if score.weights is None:
        return
    weights = Path(score.weights)
    choice = Choice(score.attribute, score.spatial, score.clip, tuple(score.quality), mode, weights)
    categories = dict.fromkeys(prompt.category for prompt in prompts) or params.prompts.categories or CATEGORIES
    needed = weights_needed(choice, categories)
    absent = [file for file in files_of(needed, needs) if not (weights / file.path).is_file()]
    if not absent or params.base.source != "hub":
        with found.of("score"):
            verify(weights, needed, needs)
        return
    web = Web(pause=lambda seconds: None)  # somebody waits for the answer
    for file in absent:
        with found.of("score"):
            size = _offered(web, file, command(weights, needed))
            found.space.append(Space(weights, TWICE * size, file.path))


def _offered(web: Web, file: WeightFile, remedy: str) -> int:
    """Bytes of a file that can be had, as far as its server says them."""
    try:
        return web.offer(file).size or 0
    except (CompbenchError, ConnectionError) as error:
        raise LabError(f"{error} The command is `{remedy}`.") from error
