"""The profiles' estimates from the published configurations; `python -m tests.published_estimates` writes the docs'."""

import re
from dataclasses import replace
from pathlib import Path

import torch

from lab.estimate.base import Base
from lab.estimate.configs import in_folder
from lab.estimate.estimate import estimate
from lab.estimate.table import table
from lab.estimate.text import ENCODERS
from lab.params.profile import profile_params

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs/estimate.md"
PROFILES = ("sd35-medium", "flux-dev", "flux-dev-24gb")


def published(profile: str) -> Base:
    """The base of a profile; its download is two bytes for each weight, as both are published."""
    base = in_folder(ROOT / "tests/published/configs" / profile.removesuffix("-24gb"))
    models = [base.build(part, torch.bfloat16) for part in base.parts if part in ("transformer", "vae", *ENCODERS)]
    return replace(base, size=sum(parameter.nbytes for model in models for parameter in model.parameters()))


def section(profile: str) -> str:
    """What the docs show of a profile."""
    return f"## `{profile}`\n\n{table(list(estimate(profile_params(profile), published(profile))))}\n"


def main() -> None:
    text = DOCS.read_text()
    for profile in PROFILES:
        text = re.sub(rf"## `{profile}`\n.*?(?=\n## |\Z)", lambda _, name=profile: section(name), text, flags=re.DOTALL)
    DOCS.write_text(text)


if __name__ == "__main__":
    main()
