"""What stands behind scores: mode, protocol, parser, weights, versions, and what the mode does to the prompts.

The same choice, prompts and weights give the same manifest, to the byte: no dates, and no paths but those inside the
weights folder.
"""

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from compbench.parsing import describe_parser, is_official
from compbench.scorers.build import questions
from compbench.scorers.choice import Choice
from compbench.scorers.corrections import corrections, never_scores, shares
from compbench.scorers.interface import Prompt
from compbench.scorers.mode import Mode
from compbench.scorers.quality import needs_pyiqa
from compbench.scorers.unidet.detector import LABEL_SPACE
from compbench.scorers.unidet.labels import read_labels
from compbench.statistics import QUANTILES, RESAMPLES
from compbench.weights import verify

PACKAGES = (
    *("taca-diffusers", "torch", "torchvision", "open_clip_torch", "timm", "transformers", "tokenizers"),
    *("safetensors", "numpy", "pillow", "spacy"),
)
# The published scorer of each question, by the field of `Choice` that names it, and a category that needs it alone.
_PUBLISHED = {
    "attribute": ("attribute", "blip-vqa", "color"),
    "spatial": ("spatial", "unidet", "spatial"),
    "spatial_3d": ("spatial", "unidet", "3d_spatial"),
    "numeracy": ("spatial", "unidet", "numeracy"),
    "clip": ("clip", "openai", "non_spatial"),
}
_DETECTED = ("spatial", "spatial_3d", "numeracy")


def build_manifest(choice: Choice, prompts: Sequence[Prompt], categories: Iterable[str], protocol: Mapping) -> dict:
    """What the scores of a run rest on, as JSON can hold it.

    Args:
        prompts: those that are scored.
        categories: theirs, in the order of the results.
        protocol: how many images of which prompts, in the caller's words.

    Raises: CompbenchError for a category that does not exist, weights that are missing or not the published ones, or
        image quality without pyiqa.
    """
    categories = tuple(dict.fromkeys(categories))
    weights = hash_weights(choice, categories)
    return {
        "mode": choice.mode.value,
        "categories": list(categories),
        "protocol": dict(protocol),
        "parsers": parsers_of(prompts),
        "prompts": {"count": len(prompts), "sha256": _hash_prompts(prompts)},
        "scorers": _scorers(choice, categories),
        "device": choice.device,
        "weights": weights,
        "versions": _versions(choice),
        "bootstrap": {"resampled": "prompts", "resamples": RESAMPLES, "quantiles": list(QUANTILES), "seed": 0},
        **_effects(choice, prompts),
    }


def hash_weights(choice: Choice, categories: Iterable[str]) -> dict[str, str]:
    """{path in the weights folder: sha256} of the published files that the choice needs; empty where it needs none.

    Raises: CompbenchError when one is missing or is not what was published.
    """
    needed = weights_needed(choice, categories)
    return verify(choice.weights, needed) if needed else {}


def weights_needed(choice: Choice, categories: Iterable[str]) -> list[str]:
    """What to ask `compbench.weights` for: those of its categories whose files the choice needs."""
    needed = [name for category in categories for name in _weights_of(choice, category)]
    needed += ["quality"] if choice.quality else []
    return list(dict.fromkeys(needed))


def parsers_of(prompts: Iterable[Prompt]) -> list[dict]:
    """Who parsed the prompts, each once, as results say it."""
    names = sorted({prompt.parser for prompt in prompts})
    return [{"label": describe_parser(name), "official": is_official(name)} for name in names]


def _is_published(choice: Choice, question: str) -> bool:
    field, name, _ = _PUBLISHED[question]
    return getattr(choice, field) == name


def _weights_of(choice: Choice, category: str) -> list[str]:
    """What to ask the weights folder for: the category, or where one of its scorers is none of those, the others'."""
    asked = questions(category)
    published = [question for question in asked if _is_published(choice, question)]
    return [category] if len(published) == len(asked) else [_PUBLISHED[question][2] for question in published]


def _scorers(choice: Choice, categories: Sequence[str]) -> dict[str, dict[str, str]]:
    """By metric, its scorer and what that computes in. BLIP-VQA and image quality are float32 in the benchmark too."""
    asked = dict.fromkeys(question for category in categories for question in questions(category))
    found = {question: _scorer(choice, question) for question in asked}
    return found | {metric: {"scorer": metric, "dtype": "float32"} for metric in choice.quality}


def _scorer(choice: Choice, question: str) -> dict[str, str]:
    name = getattr(choice, _PUBLISHED[question][0])
    dtypes = {"unidet": choice.dtype, "openai": choice.clip_dtype}
    return {"scorer": name, "dtype": dtypes.get(name, "float32")}


def _versions(choice: Choice) -> dict[str, str]:
    packages = (*PACKAGES, "pyiqa") if choice.quality else PACKAGES
    try:
        return {"python": platform.python_version()} | {package: version(package) for package in packages}
    except PackageNotFoundError as fault:
        if fault.name != "pyiqa":
            raise
        raise needs_pyiqa(choice.quality[0]) from None


def _hash_prompts(prompts: Iterable[Prompt]) -> str:
    """Of all that scorers are given of them: an edited parse is another hash."""
    return hashlib.sha256(json.dumps([vars(prompt) for prompt in prompts]).encode()).hexdigest()


def _effects(choice: Choice, prompts: Sequence[Prompt]) -> dict:
    """What the mode does to the prompts of the benchmark's own scorers; the world's have no such errors."""
    published = [prompt for prompt in prompts if all(_is_published(choice, q) for q in questions(prompt.category))]
    detected = any(question in _DETECTED for prompt in published for question in questions(prompt.category))
    labels = read_labels(choice.weights / LABEL_SPACE) if detected else ()
    never_score = {"never_score": _never_score(published, labels, choice.mode)}
    if choice.mode is Mode.CORRECTED:
        return never_score | {"corrections": _corrections(published, labels)}
    return never_score


def _corrections(prompts: Sequence[Prompt], labels: Sequence[str]) -> list[dict]:
    found, told = shares(prompts, labels), {one.name: one.what_it_changes for one in corrections(labels)}
    return [{"name": name, "what": told[name], "share": round(share, 6)} for name, share in found.items()]


def _never_score(prompts: Sequence[Prompt], labels: Sequence[str], mode: Mode) -> dict[str, dict[str, list[str]]]:
    """{category: {reason: prompts}}. Of a complex prompt it is the spatial term that stays 0."""
    found: dict[str, dict[str, list[str]]] = {}
    for prompt in prompts:
        reason = never_scores(prompt, labels, mode)
        if reason is not None:
            found.setdefault(prompt.category, {}).setdefault(reason, []).append(prompt.prompt)
    return found
