"""The estimate as a table in Markdown, with what it rests on."""

from collections.abc import Iterable, Sequence

from lab.estimate import sampling
from lab.estimate.estimate import Row
from lab.estimate.rates import Card, Rate, cards, prices, rate_for

GIB, GB, PFLOP = 2**30, 1e9, 1e15
NOT_MEASURED, TOO_SMALL = "not measured", "too small"
NOT_COUNTED = (
    "Memory is the peak of live tensors, counted on the meta device without compilation, which takes less: on an "
    "H200 compiled blocks took 0.55 to 0.65 of it in drawing and 0.67 to 0.89 in training "
    "[benchmarks/results/gpu-nvidia-h200.json], but what inductor fuses no shape tells. Not in it are the CUDA "
    "context, what the allocator loses by fragmentation, and the workspaces of cuBLAS, cuDNN and attention: leave a "
    "GiB or two.",
    "Disk: a PNG takes one and a half bytes a pixel; meanwhile: until the stage has ended. Outputs are counted once: "
    "DVC links them into its cache where the disk can, else it copies them.",
    "The scorers' weights are counted from their shapes. An adapter that someone else trained counts as the largest of "
    "those trained here. Stages that are not named run on the CPU.",
)


def table(rows: Sequence[Row], price: float | None = None) -> str:
    """Rows, sums, prices, and the sources of all speeds that were used.

    Args:
        price: of an hour of any card; None for those of `rates.yaml`.
    """
    header = ["stage", "peak GPU memory, GiB", "PFLOP", *(f"{card.name}, hours" for card in cards().values())]
    lines = [[*header, "disk, GB", "download, GB"]]
    lines += [_line(row) for row in rows]
    lines.append(_sum(rows))
    lines.append(_prices(rows, price))
    used = dict.fromkeys(rate for row in rows for key in cards() if (rate := _rate(row, key)) is not None)
    return "\n".join([*_markdown(lines), "", *_notes(used, price), *_fetching(rows)])


def _line(row: Row) -> list[str]:
    return [
        row.stage,
        _number(row.peak / GIB) if row.peak else "",
        _number(row.flops / PFLOP) if row.flops else "",
        *(_hours(row, key, card) for key, card in cards().items()),
        _amount(row.disk) + (f" + {_amount(row.passing)} meanwhile" if row.passing else ""),
        _amount(row.download),
    ]


def _rate(row: Row, card: str) -> Rate | None:
    work = row.work
    if work is None or row.peak > cards()[card].gib * GIB:
        return None
    return rate_for(work.stage, card, work.transformer, work.precision, work.compiled)


def _hours(row: Row, key: str, card: Card) -> str:
    if not row.peak:
        return ""
    if row.peak > card.gib * GIB:
        return TOO_SMALL
    rate = _rate(row, key)
    if rate is None:
        return NOT_MEASURED
    return f"{'' if _exact(rate, row) else '~'}{_number(rate.hours(row.flops))}"


def _exact(rate: Rate, row: Row) -> bool:
    return not rate.elsewhere and rate.transformer == row.work.transformer


def _measured(rows: Iterable[Row], card: str) -> float:
    """Hours of the stages of which the speed is known."""
    return sum(rate.hours(row.flops) for row in rows if (rate := _rate(row, card)) is not None)


def _sum(rows: Sequence[Row]) -> list[str]:
    def hours(key: str) -> str:
        known = _measured(rows, key)
        return f"{_number(known)} of what is measured" if known else NOT_MEASURED

    peak = max(row.peak or 0 for row in rows)
    disk, download = (sum(getattr(row, name) or 0 for row in rows) for name in ("disk", "download"))
    disk += max(row.passing for row in rows)
    flops = sum(row.flops or 0 for row in rows)
    return ["all", _number(peak / GIB), _number(flops / PFLOP), *map(hours, cards()), _amount(disk), _amount(download)]


def _prices(rows: Sequence[Row], price: float | None) -> list[str]:
    def cost(key: str) -> str:
        hour = prices()[key]["usd"] if price is None and key in prices() else price
        known = _measured(rows, key)
        return f"{_number(known * hour)} at {hour:g} an hour" if known and hour is not None else ""

    return ["price", "", "", *map(cost, cards()), "", ""]


def _notes(used: Iterable[Rate], price: float | None) -> list[str]:
    notes = [*NOT_COUNTED]
    for rate in used:
        where = f", measured on {rate.elsewhere}" if rate.elsewhere else ""
        notes.append(
            f"{cards()[rate.card].name}, {rate.stage}: {rate.tflop / rate.seconds:.0f} TFLOP/s{where}: {rate.of}, "
            f"{rate.seconds:g} s [{rate.source}]."
        )
    notes.append("Hours are operations by that speed, and ~ says that it is another model's or another card's.")
    if price is None:
        notes += [
            f"An hour of {cards()[key].name} cost {found['usd']} USD on {found['date']} [{found['source']}]; yours may "
            "differ, and PRICE=... sets it."
            for key, found in prices().items()
        ]
    return [f"- {note}" for note in notes]


def _fetching(rows: Iterable[Row]) -> list[str]:
    """What the time and the size of a sample rest on."""
    return [
        f"- {row.stage}: {_number(row.seconds / 3600)} hours on one processor at {sampling.RATE:g} images of "
        f"{sampling.MEGAPIXELS:g} megapixels a second [measured on two cores]; slow servers take longer. Assumed: an "
        f"image has {sampling.LARGER:g} times `sample.min_side` squared, {sampling.PNG:g} bytes a pixel as it is "
        f"written and {sampling.JPEG:g} as it comes, and for one that is kept {sampling.REFUSED:g} come."
        for row in rows
        if row.seconds
    ]


def _number(value: float) -> str:
    """Three digits, no exponent."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _amount(size: int | None) -> str:
    if size is None:
        return "not known"
    return _number(size / GB) if size else ""


def _markdown(lines: Sequence[Sequence[str]]) -> list[str]:
    header, *body = (f"| {' | '.join(line)} |" for line in lines)
    return [header, f"|{' --- |' * len(lines[0])}", *body]
