"""Whom those who are asked for images may write to: a download of strangers' images says whose it is."""

import os

from lab.errors import LabError

VARIABLE = "TACA_CONTACT"


def contact_of(named: str | None) -> str:
    """The address that `sample.contact` names, or else the environment.

    Raises:
        LabError: neither does, or the environment has something else.
    """
    found = named or os.environ.get(VARIABLE, "").strip()
    if not found.isprintable() or not ("@" in found or "://" in found):
        has = f"is {found!r}" if found else "is not set"
        raise LabError(
            f"`sample.contact` is null and {VARIABLE} {has}: set one of them to an address of yours, by mail or on the "
            "web, since every server that is asked for an image is told whom to write to."
        )
    return found
