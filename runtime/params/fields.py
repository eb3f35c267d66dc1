"""Fields that models of parameters share.

Every field carries a description that completes the sentence "... must be <description>": error messages are made of
it, so that a range is written once. Values are strict: "16" is not an integer and 1 is not a truth value.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1, description="an integer of at least 1")]
Seed = Annotated[int, Field(ge=0, lt=2**32, description="an integer from 0 to 4294967295")]
# Names become paths and DVC stage names (which admit no other punctuation); one case, since some disks ignore it.
Name = Annotated[
    str,
    Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="lower-case letters, digits, - and _, a letter or digit first"),
]


def one_of(*values: str) -> object:
    """A field that takes one of `values`."""
    return Annotated[
        Literal[values], Field(description=values[0] if len(values) == 1 else "one of " + ", ".join(values))
    ]


class Section(BaseModel):
    """What all sections share: unknown keys are refused and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
