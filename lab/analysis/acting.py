"""What acts in an arm, as text: by it a report finds what was measured of an arm's method."""

# The keys of an arm that say so.
KEYS = ("gamma", "threshold", "method", "method_seed", "share", "until", "blocks")


def acting(arm) -> dict[str, str]:
    """Of an entry of section `arms` or of `analyze.methods`; equal where the same acts."""
    return {key: str(getattr(arm, key)) for key in KEYS}
