"""The offline mode that `make` sets, lifted where parameters name something on the hub: that is the consent to ask."""

import os

OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def go_online() -> None:
    """Lets the hub's client ask; it reads these variables when it is imported, so this comes first."""
    for name in OFFLINE:
        os.environ.pop(name, None)
