"""What the scores rest on, read from the arms' manifests: who answered, in which mode, with which parser."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import shorten

from lab.errors import LabError
from lab.report.words import CATEGORY_NAMES, METRIC_NAMES, listing

Manifest = Mapping[str, object]  # as `compbench.manifest.build_manifest` makes it

SCORER_NAMES = {
    "detector": "the built-in detector",
    "blip-vqa": "BLIP-VQA",
    "unidet": "UniDet",
    "base": "the base's CLIP model",
    "openai": "CLIP ViT-B/32",
    "musiq": "MUSIQ",
    "maniqa": "MANIQA",
}
NUMBERS = re.compile(r"protocol\.categories\.\w+\.(images|per_prompt)")
SHOWN = 80  # characters of a value in a message


def manifest_path(score_file: Path) -> Path:
    """Where the manifest of a score file lies."""
    return score_file.with_suffix(".manifest.json")


def read_manifest(path: Path) -> Manifest:
    """What the stage `score` wrote. Raises: LabError for a file that is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LabError(f"The manifest {path} cannot be read ({error}): score that arm again.") from None


def check_same(name: str, manifest: Manifest, reference_name: str, reference: Manifest) -> None:
    """How many images a prompt has may differ, since they are averaged first.

    Raises: LabError naming the first other fact in which the two arms' manifests differ.
    """
    own, other = (
        {fact: value for fact, value in _facts(one) if not NUMBERS.fullmatch(fact)} for one in (manifest, reference)
    )
    for fact in {**other, **own}:
        if own.get(fact) != other.get(fact):
            raise LabError(
                f"The arms {name} and {reference_name} were not scored alike: `{fact}` is {_shown(own.get(fact))} for "
                f"{name}, but {_shown(other.get(fact))} for {reference_name}; score both again (`dvc repro -f score`)."
            )


def scored_by(manifest: Manifest) -> str:
    """A sentence for a table: who scored what, in which mode, with which parser."""
    by_scorer: dict[str, list[str]] = {}
    for metric, found in manifest["scorers"].items():
        by_scorer.setdefault(SCORER_NAMES[found["scorer"]], []).append(METRIC_NAMES[metric])
    named = [
        scorer if metrics == [scorer] else f"{scorer} ({', '.join(metrics)})" for scorer, metrics in by_scorer.items()
    ]
    return f"Scored by {listing(named)}, in {manifest['mode']} mode; parser: {parsers(manifest)}."


def parsers(manifest: Manifest) -> str:
    """Who parsed the prompts, and that this is not the official parser where it is not."""
    return ", ".join(parser["label"] for parser in manifest["parsers"])


def scorer_of(metric: str, manifest: Manifest) -> str:
    """The scorer behind a metric, as `params.yaml` names it; the complex score is made of others."""
    return manifest["scorers"][metric]["scorer"] if metric in manifest["scorers"] else "3-in-1"


def protocol_lines(manifest: Manifest) -> dict[str, str]:
    """What a reader needs to repeat the scoring, by label."""
    scorers = [
        f"{METRIC_NAMES[metric]}: {SCORER_NAMES[found['scorer']]} in {found['dtype']}"
        for metric, found in manifest["scorers"].items()
    ]
    weights = [f"{path} (sha256 {sha256})" for path, sha256 in manifest["weights"].items()]
    return {
        "scorers": "; ".join(scorers),
        "scoring mode": manifest["mode"],
        "scoring protocol": manifest["protocol"]["label"],
        **(
            {"prompts": _hashes(manifest["protocol"]["prompts_sha256"])}
            if "prompts_sha256" in manifest["protocol"]
            else {}
        ),
        "parser": parsers(manifest),
        "scored on": manifest["device"],
        **({"weights": ", ".join(weights)} if weights else {}),
    }


def _hashes(by_category: Mapping[str, str]) -> str:
    return "; ".join(f"{CATEGORY_NAMES[category]}: sha256 {sha256[:16]}" for category, sha256 in by_category.items())


def never_scored(manifest: Manifest) -> dict[str, dict[str, int]]:
    """{category: {reason: number of prompts}} of those that are scored 0 whatever the image; most first."""
    found = manifest.get("never_score", {})
    return {
        category: dict(
            sorted(((why, len(prompts)) for why, prompts in found[category].items()), key=lambda one: -one[1])
        )
        for category in CATEGORY_NAMES
        if category in found
    }


def corrections(manifest: Manifest) -> list[Mapping[str, object]]:
    """Name, what and share of each correction that reaches a prompt; none in official mode."""
    return [one for one in manifest.get("corrections", []) if one["share"] > 0]


def _facts(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Paths and values of nested mappings."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _facts(inner, f"{path}.{key}" if path else key)
    else:
        yield path, value


def _shown(value: object) -> str:
    return "absent" if value is None else shorten(json.dumps(value), SHOWN)
