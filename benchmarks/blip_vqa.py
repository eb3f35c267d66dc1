"""What BLIP-VQA takes here, against the benchmark's own procedure written plainly, on the same random weights.

    python -m benchmarks.blip_vqa [--images 4] [--out benchmarks/results/scoring/blip-vqa-cpu.json]

Seconds are the processor's, of one thread: those of the wall where nothing else runs. The ratio for 100 images is
extrapolated: loads stay as they are, the rest is taken 100 / images times.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image

from benchmarks.blip_layout import random_checkpoint, vocabulary_lines
from benchmarks.plain_blip import PlainBlip, plain_scores
from benchmarks.timing import provenance
from compbench.scorers.blip.checkpoint import NAME
from compbench.scorers.blip.config import BlipConfig
from compbench.scorers.blip.scorer import BlipVqaScorer
from compbench.scorers.blip.tokenizer import QuestionTokenizer
from compbench.scorers.interface import Prompt
from compbench.scorers.mode import Mode

CHUNKS = ("a green bench", "a blue bowl")  # two, as most prompts of the benchmark have


def measure(weights: Path, count: int, config: BlipConfig) -> dict:
    """Both ways on `count` random images with two questions each."""
    source = weights / "blip" / f"{NAME}.pth"
    noise = torch.randint(256, (count, 512, 512, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    images = [Image.fromarray(one.numpy()) for one in noise]
    prompts = [Prompt(number, " and ".join(CHUNKS), "color", CHUNKS) for number in range(count)]
    tokenizer = QuestionTokenizer.from_file(weights / "blip" / "vocab.txt")

    def load() -> PlainBlip:
        return PlainBlip(torch.load(source, map_location="cpu", weights_only=True)["model"], config)

    begin = time.process_time()
    BlipVqaScorer.from_weights(weights, Mode.OFFICIAL, config=config)
    converted = time.process_time()
    scorer = BlipVqaScorer.from_weights(weights, Mode.OFFICIAL, config=config)
    loaded = time.process_time()
    scores = scorer.score(images, prompts)
    our_load, our_images = loaded - converted, time.process_time() - loaded
    expected, loads, passes = plain_scores(load, tokenizer, images, [CHUNKS] * count)
    return {
        "images": count,
        "questions_per_image": len(CHUNKS),
        "first_load_with_conversion": converted - begin,
        "load": _compared(loads, our_load),
        "images_alone": _compared(passes, our_images),
        "whole": _compared(loads + passes, our_load + our_images),
        "whole_extrapolated_to_100_images": _compared(
            loads + passes * 100 / count, our_load + our_images * 100 / count
        ),
        "largest_difference_of_scores": max(abs(a - b) for a, b in zip(scores, expected, strict=True)),
    }


def _compared(plain: float, ours: float) -> dict:
    return {"plain": plain, "ours": ours, "ratio": plain / ours}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/scoring/blip-vqa-cpu.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = BlipConfig()
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "blip"
        files.mkdir()
        torch.save({"model": random_checkpoint(config)}, files / f"{NAME}.pth")
        (files / "vocab.txt").write_text(
            "\n".join(vocabulary_lines(tuple(dict.fromkeys(("?", *" ".join(CHUNKS).split()))))) + "\n"
        )
        report = {
            "provenance": provenance("cpu"),
            "dtype": "torch.float32",
            "unit": "processor seconds",
            **measure(Path(folder), options.images, config),
        }
    print(json.dumps(report, indent=2))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
