"""How threads of OpenMP wait for each other: asleep after a moment, so that other programs get the cores.

By default they spin, and beside anything else that runs torch then computes 3 to 40 times slower: who spins holds the
core that the awaited thread needs. Never waiting actively costs too, since threads meet thousands of times a second.
"""

import os

# Runtimes read these once, when they are loaded.
_WAITS = {
    "GOMP_SPINCOUNT": "3000",  # GNU's, which torch brings on Linux: turns of a loop, .1 ms or so; by default 300,000
    "KMP_BLOCKTIME": "1",  # Intel's and LLVM's: milliseconds, the unit of all their versions; by default 200
}


def quiet_waiting() -> dict[str, str]:
    """The environment in which threads wait so, without what the user has set; it has to be there before torch is."""
    if "OMP_WAIT_POLICY" in os.environ:  # says the same for all runtimes, and would lose to these
        return {}
    return {name: value for name, value in _WAITS.items() if name not in os.environ}
