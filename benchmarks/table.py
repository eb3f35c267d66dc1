"""Writes docs/benchmarks.md from the results: `python -m benchmarks.table`."""

import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.downloading_table import downloading_lines
from benchmarks.drawing_table import drawing_lines
from benchmarks.gpu_table import parts_lines
from benchmarks.markdown import line
from benchmarks.methods import method_lines
from benchmarks.scoring_table import blip_lines, unidet_lines

RESULTS = Path("benchmarks/results")
PAGE = Path("docs/benchmarks.md")
VARIANTS = ("plain again", "ours", "ours below the threshold", "recomposed", "explicit", "flex", "flex, compiled alone")

INTRODUCTION = """\
# Benchmarks

The time and memory of TACA, of the scorers and of downloading. `python -m benchmarks.attention`, `.steps`, `.blip_vqa`,
`.unidet`, `.downloading` and `.drawing` measure; `make gpu-check` tests and measures on an NVIDIA GPU.
`python -m benchmarks.table` writes this page from `benchmarks/results/`.

Figures for TACA are medians. For `plain`, the attention or the model without TACA, they are seconds; for all other
variants they are ratios to `plain` in the same turn, with quartiles in brackets. All variants are called in turn in one
run. `plain again` calls `plain` a second time; its distance from 1 is the noise.

| variant | what it does |
|---|---|
| ours | two calls: image queries over scaled text keys, text queries over unscaled ones |
| ours below the threshold | a step in which TACA does not act |
| recomposed | two full-length calls, of which each token keeps one (the paper's Listing 2) |
| explicit | every logit in memory |
| flex | PyTorch's flex attention with gamma in its `score_mod`; `compiled alone` where the rest is eager |

Compiled means `torch.compile`: of the attention function alone, or of each block in a full graph for a whole model.
"""

SCHEDULE = "A whole schedule of 30 steps, TACA acting in the first three, eager:"
ERROR = """\
Relative error of one attention at 1024 x 1024 pixels, or of the worst of its three gradients, on random inputs, against
an explicit computation in float64; `plain` is compared with plain attention in float64. Backends are PyTorch's kernels;
`default` is the one that PyTorch chooses."""
TRAINING = """\
Training is measured with flash attention. With PyTorch 2.11 and cuDNN 9.19, PyTorch's own choice on an H200, cuDNN,
gave wrong gradients of these FLUX blocks without TACA: in two calls on the same inputs their norms summed to 109915 and
20401, where flash and memory-efficient attention gave 2.185 each time (with TACA 2.185 too). A third call ended in an
illegal memory access. To train there, call `torch.backends.cuda.enable_cudnn_sdp(False)` first."""
MEMORY = "Peak memory in addition to what was allocated before the call (weights, inputs), in MiB:"


def page(reports: list[dict]) -> str:
    """The whole page, one section for each result."""
    return "\n".join([INTRODUCTION, *("\n".join([*_section(report), ""]) for report in reports)])


def _section(report: dict) -> list[str]:
    head = [f"## {_title(report)}", "", _provenance(report), ""]
    if "guiders" in report:
        return [*head, *method_lines(report)]
    if "unidet" in report:
        return [*head, *unidet_lines(report)]
    if "questions_per_image" in report:
        return [*head, *blip_lines(report)]
    if "hosted" in report:
        return [*head, *drawing_lines(report)]
    if "img2dataset" in report:
        return [*head, *downloading_lines(report)]
    if "parts" in report:
        return [*head, *parts_lines(report), *_ways_lines(report["parts"])]
    if "error" in report:
        return [*head, *_gpu_lines(report)]
    if "attention" in report:
        return [*head, *_table(report["attention"], ("model", "image_tokens", "text_tokens"))]
    return [*head, *_table(report["step"], ("model",)), "", SCHEDULE, "", *_table(report["schedule"], ("model",))]


def _gpu_lines(report: dict) -> list[str]:
    """Exactness, seconds and memory on a GPU."""
    attention = ("model", "image_tokens", "text_tokens", "backend")
    return [
        *(ERROR, "", *_error_table(report["error"]), ""),
        *("One attention:", "", *_table(report["attention"], attention), ""),
        *("One step of 1 double block (FLUX: and 2 single) of the real width:", ""),
        *(*_table(report["step"], ("model", "backend")), "", TRAINING, "", f"{SCHEDULE[:-1]}, all blocks:", ""),
        *(*_table(report["schedule"], ("model", "turns")), "", MEMORY, ""),
        *_table(report["attention"], attention, "plain, MiB", _mebibytes, _mebibytes),
        *("", "The same for the blocks, and for the schedule of all blocks:", ""),
        *_table(report["step"], ("model", "backend"), "plain, MiB", _mebibytes, _mebibytes),
        *("", *_table(report["schedule"], ("model", "turns"), "plain, MiB", _mebibytes, _mebibytes)),
    ]


def _ways_lines(parts: dict) -> list[str]:
    """One attention and one block of FLUX.1-dev by every way, and TACA's rounding."""
    attention, step, error = (parts.get(name, {}).get("rows") for name in ("attention", "step", "error"))
    lines = []
    if attention:
        lines += ["One attention:", "", *_table(attention, ("model", "image_tokens", "text_tokens")), ""]
    if step:
        lines += ["One step of 1 double and 2 single blocks of the real width:", "", *_table(step, ("model",)), ""]
    if error:
        lines += [ERROR, "", *_error_table(error)]
    return lines


def _error_table(rows: list[dict]) -> list[str]:
    keys = ("model", "dtype", "backend", "of", "plain", "ours")
    lines = [line(keys), line(["---"] * len(keys))]
    for row in rows:
        errors = [f"{row[way]:.2g}" if isinstance(row[way], float) else "cannot" for way in ("plain", "ours")]
        of = "gradients" if row["backward"] else "output"
        lines.append(line([row["model"], row["dtype"].removeprefix("torch."), row["backend"], of, *errors]))
    return lines


def _provenance(report: dict) -> str:
    made = report["provenance"]
    state = " and changes since" if made["changed_since"] else ""
    parts = [made["device"], _counted(made["threads"], "thread")]
    parts += [report["dtype"].removeprefix("torch.")] if "dtype" in report else []
    parts += [_counted(report["heads"], "head")] if "heads" in report else []
    parts += [_counted(report["repeats"], "turn")] if "repeats" in report else []
    return f"{', '.join(parts)}; torch {made['torch']}, commit {made['commit'][:10]}{state}."


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count > 1 else ''}"


def _title(report: dict) -> str:
    if "guiders" in report:
        return "Other methods than gamma, and guiders"
    if "hosted" in report:
        return "Drawing from tables of addresses"
    if "img2dataset" in report:
        return "Downloading"
    if "parts" in report:
        return f"Training and drawing on a GPU: {report['provenance']['device']}"
    if "error" in report:
        return f"On a GPU: {report['provenance']['device']}"
    if "unidet" in report:
        return "Scoring: UniDet against torchvision's Faster R-CNN"
    if "questions_per_image" in report:
        return "Scoring: BLIP-VQA against the benchmark's own procedure"
    if "attention" in report:
        return "One attention"
    layers = report["layers"]
    blocks = "all blocks" if layers is None else f"{layers} double block (FLUX: and {2 * layers} single)"
    return f"One step of a transformer of {blocks}, at 1024 x 1024 pixels"


Figure = Callable[[dict | None], str]


def _cell(figure: dict | None) -> str:
    if figure is None:
        return ""
    if "failed" in figure:
        return "cannot"
    low, high = figure["ratio_quartiles"]
    return f"{figure['ratio']:.3f} ({low:.3f}-{high:.3f})"


def _seconds(figure: dict) -> str:
    return f"{figure['median_s']:.3g}"


def _mebibytes(figure: dict | None) -> str:
    if figure is None:
        return ""
    return "cannot" if "failed" in figure else f"{figure['peak_bytes'] / 2**20:.0f}"


def _table(
    rows: list[dict], keys: tuple[str, ...], plain: str = "plain, s", first: Figure = _seconds, rest: Figure = _cell
) -> list[str]:
    """A row for each of `rows`: `first` of plain attention's figures, `rest` of every variant's."""
    found = [name for name in VARIANTS if any(name in row["figures"] for row in rows)]
    modes = ["pass"] if "backward" in rows[0] else []
    header = [*(key.replace("_", " ") for key in keys), *modes, plain, *found]
    lines = [line(header), line(["---"] * len(header))]
    for row in rows:
        named = [str(row[key]) for key in keys]
        figures = [first(row["figures"]["plain"]), *(rest(row["figures"].get(name)) for name in found)]
        lines.append(line([*named, *([_mode(row)] if modes else []), *figures]))
    return lines


def _mode(row: dict) -> str:
    return f"{'forward + backward' if row['backward'] else 'forward'}, {'compiled' if row['compiled'] else 'eager'}"


def reports() -> list[dict]:
    """Of TACA, then of the scorers."""
    paths = [*sorted(RESULTS.glob("*.json")), *sorted(RESULTS.glob("scoring/*.json"))]
    return [json.loads(path.read_text()) for path in paths]


if __name__ == "__main__":
    PAGE.write_text(page(reports()))
