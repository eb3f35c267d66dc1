"""The command on a few images of a few prompts, by the published scorers at a reduced width."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from compbench.__main__ import main
from compbench.prompts import SCHEMA
from compbench.tables import write_table

PROMPTS = ("a red circle and a blue square", "a green star and an orange heart", "a blue bench and a red bench")
COMPLEX = ("the red circle is next to the blue square", "the green star is on top of the orange heart")
SIZE = (300, 50)  # wide, so that little is computed in the frame


def parse_line(prompt: str) -> str:
    """A line of a parses file, right for prompts of the forms above."""
    tokens = prompt.split()
    colors, nouns = ("red", "blue", "green", "orange"), ("circle", "square", "star", "heart", "bench")
    pos = ["ADJ" if word in colors else "NOUN" if word in nouns else "X" for word in tokens]
    chunks = [" ".join(tokens[i - 2 : i + 1]) for i, word in enumerate(tokens) if word in nouns]
    return json.dumps({"text": prompt, "tokens": tokens, "pos": pos, "noun_chunks": chunks, "parser": "by hand"})


def write_images(samples: Path, prompts=PROMPTS, each: int = 2) -> list[Path]:
    """Noise; indices count as the benchmark's do."""
    samples.mkdir(parents=True)
    rng = np.random.default_rng(0)
    paths = [samples / f"{prompt}_{i * each + n:06d}.png" for i, prompt in enumerate(prompts) for n in range(each)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)).save(path)
    return paths


def write_table_of_prompts(folder: Path, categories: list[str]) -> Path:
    """`PROMPTS` as the `prompts` stage writes them, numbered from 5."""
    parse = {"phrases": ["a red circle"], "objects": ["circle"], "counts": [1], "parser": "x"}
    shared = dict.fromkeys(SCHEMA.names) | parse
    texts = enumerate(zip(PROMPTS, categories, strict=True), start=5)
    path = folder / "prompts.parquet"
    rows = [shared | {"index": index, "prompt": text, "category": category} for index, (text, category) in texts]
    write_table(path, rows, SCHEMA)
    return path


class Command:
    """`python -m compbench` in a folder of its own."""

    def __init__(self, root: Path, weights: Path):
        self.root, self.weights = root, weights
        (root / "prompts.txt").write_text("\n".join(PROMPTS))
        (root / "complex.txt").write_text("\n".join(COMPLEX))
        (root / "parses.jsonl").write_text("\n".join(map(parse_line, PROMPTS + COMPLEX)))
        self.images = write_images(root / "images" / "samples")

    def arguments(self, *more: str, category: str = "color", images: str = "images", parser: bool = True) -> list[str]:
        name = "complex" if category == "complex" else "prompts"
        command = [str(self.root / images), "--category", category, "--prompts", str(self.root / f"{name}.txt")]
        command += ["--weights", str(self.weights), "--device", "cpu", "--batch-size", "2"]
        command += ["--parser", str(self.root / "parses.jsonl")] if parser else []
        return [*command, *more] if "--partial" in more else [*command, "--images-per-prompt", "2", *more]

    def run(self, *more: str, **where) -> Path:
        """Runs it in this process, and returns the folder of its results."""
        output = self.root / "out"
        main(self.arguments("--output", str(output), *more, **where))
        return output


def results(folder: Path) -> dict[str, bytes]:
    """All files but the finished chunks, by their path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if "work" not in path.parts}


def scores_of(folder: Path, metric: str) -> list[float]:
    return [row["score"] for row in pq.read_table(folder / "scores.parquet").to_pylist() if row["metric"] == metric]


def chunks(folder: Path) -> dict[Path, int]:
    """Finished chunks with the time when each was written."""
    return {path: os.stat(path).st_mtime_ns for path in folder.glob("work/*/*.json")}
