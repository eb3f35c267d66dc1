"""Images from the web, by parquet tables of their addresses, as a source of stage `sample`."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from PIL import Image

from compbench.tables import write_table
from lab.data.fetching.contact import contact_of
from lab.data.fetching.fetch import checked_where, fetch
from lab.data.fetching.outcomes import KEPT_SCHEMA, REFUSED_SCHEMA, Candidate, Kept
from lab.data.fetching.settings import Settings
from lab.data.fetching.tally import Tally
from lab.data.shown import read_shown
from lab.data.sources.drawn import draw_rows, note_draw, too_few
from lab.data.tabular.draw import Draw
from lab.data.tabular.files import find_files
from lab.data.tabular.filters import Aspect, Condition, Passing, conditions
from lab.errors import LabError

DRAWN_SCHEMA = pa.schema(
    [
        ("rank", pa.int64()),
        ("url", pa.string()),
        ("caption", pa.string()),
        ("sha256", pa.string()),
        ("file", pa.string()),
        ("row_group", pa.int32()),
        ("row", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Source:
    """Section `sample` of params.yaml."""

    folder: str
    repo: str | None
    revision: str | None
    address: str | None
    files: str
    size: int
    seed: int
    min_side: int
    max_pixels: int
    max_bytes: int
    duplicate_distance: int | None
    columns: Mapping[str, str | None]
    filters: Mapping[str, Mapping]
    max_aspect: float | None
    candidates: float
    contact: str | None
    honour_opt_outs: bool
    loopback_port: int | None

    def images(self, places, record) -> Iterator[tuple[Image.Image, str, str]]:
        """Images by the rank of their addresses in the draw, until there are enough.

        Writes what was read of the tables, and which candidates were drawn, kept and refused.
        """
        settings = self._settings()
        draw = self._draw(places.store)
        drawn = draw_rows(draw, math.ceil(self.size * self.candidates), DRAWN_SCHEMA, self._named, places.store)
        note_draw(draw, record, places.target)
        write_table(places.target / "drawn.parquet", drawn, DRAWN_SCHEMA)
        if len(drawn) < self.size:
            raise LabError(too_few(self.size, draw, len(drawn)))
        kept, refused, tally = [], [], Tally()
        outcomes = fetch(map(_candidate, drawn), self.size, settings, places.store)
        for outcome in outcomes:
            tally.add(outcome)
            if isinstance(outcome, Kept):
                kept.append(outcome.row())
                yield read_shown(outcome.path), outcome.candidate.caption, outcome.candidate.url
            else:
                refused.append(outcome.row())
        write_table(places.target / "kept.parquet", kept, KEPT_SCHEMA)
        write_table(places.target / "refused.parquet", refused, REFUSED_SCHEMA)
        record.metrics |= tally.metrics()
        record.provenance["addresses_checked"] = checked_where()
        if len(kept) < self.size:
            raise LabError(
                f"`sample.size` is {self.size}, but of {len(drawn)} candidates only {len(kept)} are good: "
                f"{tally.commonest()}. Lower it, or raise `sample.candidates`; refused.parquet in "
                f"{places.target} says more, and what was fetched is kept."
            )

    def look(self, store: Path) -> None:
        """Sees that the tables can be read and have these columns. Raises as `images` does before it draws."""
        contact_of(self.contact)
        self._draw(store).look()

    def _draw(self, store: Path) -> Draw:
        files = find_files(self.folder, self.repo, self.revision, self.address, self.files, store)
        return Draw(files, self._read(), self._passing(), self.seed, self.columns["sha256"] is not None)

    def _read(self) -> list[str]:
        named = (self.columns[key] for key in ("url", "caption", "sha256"))
        return list(dict.fromkeys(name for name in named if name))

    def _passing(self) -> Passing:
        width, height = self.columns["width"], self.columns["height"]
        sides = [
            Condition(f"sample.columns.{key}", name, min=self.min_side)
            for key, name in (("width", width), ("height", height))
            if name
        ]
        aspect = Aspect(width, height, self.max_aspect) if self.max_aspect is not None else None
        return Passing((*sides, *conditions(self.filters)), aspect)

    def _named(self, rank: int, row: Mapping) -> dict:
        """A row of `DRAWN_SCHEMA`. Raises: LabError for a column that holds no text."""
        texts = {key: row[self.columns[key]] if self.columns[key] else None for key in ("url", "caption", "sha256")}
        for key, value in texts.items():
            if value is not None and not isinstance(value, str):
                raise LabError(
                    f"`sample.columns.{key}` is {self.columns[key]}, but that column holds {type(value).__name__}, not "
                    "text: name another."
                )
        return {"rank": rank, **texts, **{key: row[key] for key in ("file", "row_group", "row")}}

    def _settings(self) -> Settings:
        names = ("min_side", "max_pixels", "max_bytes", "duplicate_distance", "honour_opt_outs")
        return Settings(
            contact_of(self.contact), loopback_port=self.loopback_port, **{name: getattr(self, name) for name in names}
        )


def _candidate(row: Mapping) -> Candidate:
    return Candidate(row["rank"], row["url"] or "", row["caption"] or "", row["sha256"] and row["sha256"].lower())
