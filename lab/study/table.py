"""The tallies in the layout of the paper's Table 3."""

from collections.abc import Mapping, Sequence

from lab.report.paper import paper_table
from lab.study.page import CRITERIA
from lab.study.tally import Tally


def table_markdown(tallies: Mapping[str, Tally], arms: Sequence[str], raters: int) -> str:
    """Shares, intervals, sign tests and agreement by criterion, and the paper's numbers below."""
    first, second = arms
    prompts = max(sum(found.prompts) + found.even_prompts for found in tallies.values())
    lines = [
        f"{raters} raters, {prompts} prompts. Shares are of the answers that chose either; intervals are Wilson's, "
        "95 %; p is of the sign test over prompts; alpha is Krippendorff's over {first, tie, second}.",
        "",
        f"| Evaluation criterion | {first} | {second} | 95 % interval | no difference | prompts won | p | alpha |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [f"| {CRITERIA[key][0]} | {_cells(found)} |" for key, found in tallies.items()]
    paper = paper_table("table3")
    lines += ["", f"{paper.source}:", "", f"| Evaluation criterion | {' | '.join(paper.columns)} |", "|---|---|---|"]
    lines += [f"| {name} | {' | '.join(map(_percent, values))} |" for name, values in paper.rows.items()]
    return "\n".join(lines) + "\n"


def _cells(found: Tally) -> str:
    if found.share is None:
        shares, interval = ("—", "—"), "—"
    else:
        shares = (_percent(1 - found.share), _percent(found.share))
        interval = f"[{_percent(found.low)}, {_percent(found.high)}]"
    lost, won = found.prompts
    alpha = "—" if found.alpha is None else f"{found.alpha:.2f}".replace("-", "−")
    return " | ".join([*shares, interval, str(found.ties), f"{lost} : {won}", f"{found.p_value:.3g}", alpha])


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"
