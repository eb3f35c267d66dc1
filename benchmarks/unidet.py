"""What UniDet costs against torchvision's Faster R-CNN, on random weights at the benchmark's image size.

    python -m benchmarks.unidet [--repeats 3] [--out benchmarks/results/scoring/unidet-cpu.json]

`plain` is torchvision's Faster R-CNN around the same backbone, with the same anchors, 1000 proposals and classes: one
head of two linear layers, where UniDet has three in a cascade, for RS200 each of four convolutions and a linear layer.
`backbone` is what both spend there, pyramid included; `stock` is `fasterrcnn_resnet50_fpn` as it comes. Random weights
give random proposals and detections: their counts stand beside the times. On a CPU the figures are processor time of
one thread, so that other programs on the machine do not count.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torchvision.models.detection import FasterRCNN, fasterrcnn_resnet50_fpn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

from benchmarks.timing import Run, provenance, seconds, shown
from compbench.scorers.unidet.anchors import ASPECT_RATIOS, SIZES
from compbench.scorers.unidet.model import R50, RS200, UniDet

SIDE = 480


class NamedLevels(torch.nn.Module):
    """A pyramid as torchvision's detectors take it."""

    def __init__(self, pyramid: torch.nn.Module, channels: int):
        super().__init__()
        self.pyramid, self.out_channels = pyramid, channels

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {f"p{level}": features for level, features in enumerate(self.pyramid(pixels), start=3)}


def random_unidet(variant) -> UniDet:
    """Logits that differ enough to sort, and a bias that leaves few of them above the threshold."""
    torch.manual_seed(0)
    model = UniDet(variant).eval().requires_grad_(False)
    model.proposal_generator.rpn_head.objectness_logits.weight.mul_(20)
    for predictor in model.roi_heads.box_predictor:
        predictor.cls_score.weight.mul_(5)
        predictor.cls_score.bias.fill_(-5)
    return model


def torchvision_around(model: UniDet) -> FasterRCNN:
    variant = model.variant
    return FasterRCNN(
        NamedLevels(model.backbone, variant.channels),
        num_classes=variant.classes + 1,
        min_size=SIDE,
        max_size=SIDE,
        rpn_anchor_generator=AnchorGenerator(SIZES, (ASPECT_RATIOS,) * len(SIZES)),
        box_roi_pool=MultiScaleRoIAlign(["p3", "p4", "p5"], output_size=7, sampling_ratio=2),
        box_detections_per_img=300,
    ).eval()


def counts(model: UniDet, plain: FasterRCNN, pixels: torch.Tensor) -> dict[str, int]:
    """Of one image."""
    proposals: list[list[torch.Tensor]] = []
    hook = plain.rpn.register_forward_hook(lambda _module, _inputs, output: proposals.append(output[0]))
    detections = len(plain([pixels / 255])[0]["boxes"])
    hook.remove()
    features = model.backbone(model.padded(pixels[None]))
    return {
        "proposals": len(model.proposal_generator(features, SIDE, SIDE)[0]),
        "detections": len(model(pixels[None])[0].scores),
        "proposals_plain": len(proposals[0][0]),
        "detections_plain": detections,
    }


@torch.inference_mode()
def rows(repeats: int, device: str) -> Iterator[dict]:
    coarse = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    pixels = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic")[0].clamp(0, 1).to(device) * 255
    torch.manual_seed(0)
    stock = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, min_size=SIDE, max_size=SIDE).eval().to(device)
    for name, variant in {"R50": R50, "RS200": RS200}.items():
        model = random_unidet(variant).to(device)
        yield {"model": name, **_measured(model, torchvision_around(model).to(device), stock, pixels, repeats, device)}


def _measured(model, plain, stock, pixels: torch.Tensor, repeats: int, device: str) -> dict:
    padded = model.padded(pixels[None])
    calls = {
        "plain": lambda: plain([pixels / 255]),
        "ours": lambda: model(pixels[None]),
        "backbone": lambda: model.backbone(padded),
        "stock": lambda: stock([pixels / 255]),
        "stock backbone": lambda: stock.backbone(padded),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    # In turn, so that a slow moment hits all alike; the first turn warms up.
    for _ in range(repeats + 1):
        for name, call in calls.items():
            times[name].append(_seconds(call, device))
    median = {name: statistics.median(taken[1:]) for name, taken in times.items()}
    rest = {
        "plain": median["plain"] - median["backbone"],
        "ours": median["ours"] - median["backbone"],
        "stock": median["stock"] - median["stock backbone"],
    }
    return {"counts": counts(model, plain, pixels), "median_s": median, "rest_s": rest, "all_s": times}


def _seconds(call: Callable[[], object], device: str) -> float:
    if device == "cuda":
        return seconds(Run(call), device)
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/scoring/unidet-cpu.json"))
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)
    report = {"provenance": provenance(device), "repeats": options.repeats, "dtype": "torch.float32"}
    report["unidet"] = shown(rows(options.repeats, device))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
