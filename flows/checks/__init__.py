"""What `flows.doctor` looks at: one function for each thing that an installation needs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What a check has found; `remedy` says what to do, and is empty when all is well."""

    subject: str
    text: str
    remedy: str = ""
