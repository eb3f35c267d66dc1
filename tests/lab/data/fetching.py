"""What tests of the downloader share; as a program it downloads, so that it can be measured and killed.

python tests/lab/data/fetching.py STORE PORT WANTED < candidates.jsonl > outcomes.jsonl
"""

import json
import socket
import sys
from pathlib import Path

from aiohttp.abc import AbstractResolver

from lab.data.fetching.fetch import fetch
from lab.data.fetching.outcomes import Candidate, Kept
from lab.data.fetching.settings import Settings

# Bounds that a machine which is busy with other things does not break by itself, and those for what breaks any.
PATIENT = {"seconds": 8, "read_seconds": 4}
TIGHT = {"seconds": 1.5, "read_seconds": 1}


class Names(AbstractResolver):
    """Resolves each name to addresses, one after the other at each look-up; `.test` names of no list to none."""

    def __init__(self, **names: list[str]):
        self.names = {f"{name}.test": iter(addresses) for name, addresses in names.items()}

    async def resolve(self, host, port=0, family=socket.AF_INET):
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        ends = {"hostname": host, "host": next(self.names[host]), "port": port}
        return [ends | {"family": family, "proto": 0, "flags": 0}]

    async def close(self):
        pass


def settings(port: int | None, **changed) -> Settings:
    """Bounds which the answers of `answers.BAD_SERVED` break; those that are slow break `TIGHT`."""
    bounds = PATIENT | {"tries": 2, "back_off": 0.05, "redirects": 3}
    sizes = {"max_bytes": 300_000, "max_pixels": 1_000_000, "min_side": 32}
    return Settings("mailto:tests@example.com", **({"loopback_port": port, "per_host": 64} | bounds | sizes | changed))


def names() -> Names:
    return Names(private=["10.1.2.3"] * 10_000)


def main() -> None:
    store, port, wanted = sys.argv[1:]
    candidates = (Candidate(**json.loads(line)) for line in sys.stdin)
    for outcome in fetch(candidates, int(wanted), settings(int(port)), Path(store), names()):
        kind = "kept" if isinstance(outcome, Kept) else "refused"
        print(json.dumps({"kind": kind} | outcome.row()), flush=True)
    # Its own: `ru_maxrss` begins with that of the process which started it.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"kind": "peak", "kib": int(peak.split()[1])}))


if __name__ == "__main__":
    main()
