"""Where images come from: whether it can be reached and read, who is told whom to write to, and what comes to disk."""

from lab.data.fetching.store import place
from lab.data.sample import source_of
from lab.estimate.sampling import fetched
from lab.params import Params
from lab.params.sections import Looked
from lab.preflight.ahead import Ahead
from lab.preflight.findings import Findings, Space


def check_sample(params: Params, ahead: Ahead, found: Findings) -> None:
    """Lists the place of tables or shards and reads the end of one, which asks for access and for columns."""
    sample = params.sample
    if not ahead.runs("sample") or not isinstance(sample, Looked):
        return
    with found.of("sample"):
        source_of(sample.model_dump()).look(place())
    kept = sum(path.stat().st_size for path in place().rglob("*") if path.is_file())
    found.space.append(Space(place(), max(0, fetched(sample) - kept), "images as they are fetched"))
