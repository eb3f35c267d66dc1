"""Two ways of scoring: as the benchmark does, its errors with it, or with the errors mended."""

from enum import StrEnum


class Mode(StrEnum):
    """Every result names the mode that it was made in."""

    OFFICIAL = "official"
    CORRECTED = "corrected"
