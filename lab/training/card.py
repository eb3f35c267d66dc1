"""The card that goes with an adapter: what it is, and how it is meant to be used."""

from collections.abc import Mapping

_CARD = """\
---
library_name: diffusers
tags: [lora, text-to-image, taca]
---
# {name}

A LoRA of rank {rank} for the base {base}, trained under TACA (Eq. 13) with gamma {gamma:g} at timesteps from
{threshold:g} to 1000, for use in the steps of this window alone: at all steps it moves images far more.

```python
pipe.load_lora_weights(".")  # this folder
```

| fact | value |
|---|---|
{rows}
"""


def model_card(name: str, facts: Mapping[str, object]) -> str:
    """The card of adapter `name` in Markdown; `facts` are those in its file's metadata."""
    rows = "\n".join(f"| {key} | {value} |" for key, value in facts.items())
    return _CARD.format(name=name, rows=rows, **{key: facts[key] for key in ("rank", "base", "gamma", "threshold")})
