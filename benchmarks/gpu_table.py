"""The tables of a report of `python -m benchmarks.gpu`: targets, training, images, resumed trainings, what failed."""

from statistics import median

from benchmarks.gpu.targets import compared
from benchmarks.markdown import line

GIB = 2**30
TRAINING = ("gamma", "rank", "adapter", "precision", "batch_size", "gradient_accumulation", "gradient_checkpointing")
TRAINING += ("compile", "deterministic")


def parts_lines(report: dict) -> list[str]:
    """All but the comparison of ways to compute TACA."""
    parts = report["parts"]
    lines = ["Random weights of the published sizes, images of 1024 x 1024 pixels.", ""]
    lines += [*_table(("", "to be", "measured", "reached"), compared(report)), ""]
    training = [_training(name, row) for name, part in parts.items() for row in part["rows"] if "step_s" in row]
    keys = [key.replace("_", " ") for key in TRAINING]
    lines += [*_table(("part", *keys, "s a step", "busy", "GiB", "reserved, GiB"), training), ""]
    images = [_image(row) for row in parts.get("generate", {"rows": []})["rows"]]
    lines += [*_table(("gamma", "compiled", "steps", "s an image", "busy", "GiB", "reserved, GiB"), images), ""]
    for row in parts.get("resume", {"rows": []})["rows"]:
        how, bits = ("deterministic" if row["deterministic"] else "other"), ("the same" if row["same"] else "other")
        lines.append(f"- A training that was resumed with {how} algorithms ends with {bits} bits.")
    lines += [f"- {name} failed: {part['failed']}" for name, part in parts.items() if "failed" in part]
    return [*lines, ""]


def _training(name: str, row: dict) -> list[str]:
    return [name, *(str(row[key]).removeprefix("torch.") for key in TRAINING), *_figures(row, "step_s")]


def _image(row: dict) -> list[str]:
    return [f"{row['gamma']}", str(row["compile"]), str(row["steps"]), *_figures(row, "image_s")]


def _figures(row: dict, times: str) -> list[str]:
    memory = [f"{row[key] / GIB:.1f}" if key in row else "" for key in ("peak_bytes", "reserved_bytes")]
    return [f"{median(row[times]):.3g}", f"{row['busy']:.2f}", *memory]


def _table(header: tuple[str, ...], rows: list) -> list[str]:
    return [line(header), line(["---"] * len(header)), *map(line, rows)]
