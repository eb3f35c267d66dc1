"""What the command says before it scores: what it will use, and what the mode does to the prompts."""

from collections.abc import Iterator, Mapping

from compbench.results import labels_of


def note_lines(manifest: Mapping, place: str) -> Iterator[str]:
    """Lines for people.

    Args:
        place: why the device is the one it is.
    """
    labels = labels_of(manifest)
    yield f"Mode: {labels['mode']}. Protocol: {labels['protocol']}, {_numbers(manifest)}."
    yield f"Parser: {labels['parser']}."
    yield f"Device: {manifest['device']} ({place})."
    for metric, scorer in manifest["scorers"].items():
        yield f"Scorer of {metric}: {scorer['scorer']} in {scorer['dtype']}."
    for path, sha256 in manifest["weights"].items():
        yield f"Weights: {path}, sha256 {sha256[:12]}."
    yield from _never_score(manifest)
    yield from _corrections(manifest)


def _numbers(manifest: Mapping) -> str:
    of_categories = manifest["protocol"]["categories"].items()
    return ", ".join(f"{found['images']} images of {found['prompts']} {name} prompts" for name, found in of_categories)


def _never_score(manifest: Mapping) -> Iterator[str]:
    for category, reasons in manifest.get("never_score", {}).items():
        number = sum(map(len, reasons.values()))
        term = "spatial term" if category == "complex" else "score"
        prompts = manifest["protocol"]["categories"][category]["prompts"]
        yield f"{number} of {prompts} {category} prompts (see manifest.json) have the {term} 0 whatever the image:"
        for reason, found in sorted(reasons.items(), key=lambda item: -len(item[1])):
            yield f"  {len(found):>3} x {reason}"


def _corrections(manifest: Mapping) -> Iterator[str]:
    for one in manifest.get("corrections", ()):
        yield f"Correction {one['name']}, for {one['share']:.1%} of its prompts: {one['what']}."
