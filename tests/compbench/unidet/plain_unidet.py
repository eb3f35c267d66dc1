"""UniDet written plainly, in float64 and by loops, from the description of what the benchmark runs.

Nothing here is shared with the package: tensors are taken from a state dict by their published names.
"""

import math

import torch
import torch.nn.functional as F

Tensors = dict[str, torch.Tensor]


def doubles(module: torch.nn.Module, prefix: str = "") -> Tensors:
    return {prefix + name: tensor.double() for name, tensor in module.state_dict().items()}


def normalised(x: torch.Tensor, tensors: Tensors, name: str) -> torch.Tensor:
    mean, var, weight, bias = (
        tensors[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / torch.sqrt(var + 1e-5) * weight + bias


def convolved(x: torch.Tensor, tensors: Tensors, name: str, stride: int = 1, groups: int = 1) -> torch.Tensor:
    """With the bias or the normalisation that the state dict has for it; padded so that stride 1 keeps the size."""
    weight = tensors[f"{name}.weight"]
    x = F.conv2d(x, weight, tensors.get(f"{name}.bias"), stride, weight.shape[-1] // 2, groups=groups)
    return normalised(x, tensors, f"{name}.norm") if f"{name}.norm.weight" in tensors else x


def resnet_block(x: torch.Tensor, tensors: Tensors, name: str, stride: int) -> torch.Tensor:
    inner = convolved(x, tensors, f"{name}.conv1", stride).relu()
    inner = convolved(convolved(inner, tensors, f"{name}.conv2").relu(), tensors, f"{name}.conv3")
    projected = f"{name}.shortcut.weight" in tensors
    return (inner + (convolved(x, tensors, f"{name}.shortcut", stride) if projected else x)).relu()


def split_attention(x: torch.Tensor, tensors: Tensors, name: str) -> torch.Tensor:
    x = convolved(x, tensors, f"{name}.conv", groups=2)
    x = normalised(x, tensors, f"{name}.bn0").relu()
    width = x.shape[1] // 2
    halves = x[:, :width], x[:, width:]
    mean = (halves[0] + halves[1]).mean((2, 3), keepdim=True)
    squeezed = normalised(convolved(mean, tensors, f"{name}.fc1"), tensors, f"{name}.bn1").relu()
    weights = convolved(squeezed, tensors, f"{name}.fc2").exp()
    of_halves = weights[:, :width], weights[:, width:]
    return (halves[0] * of_halves[0] + halves[1] * of_halves[1]) / (of_halves[0] + of_halves[1])


def resnest_block(x: torch.Tensor, tensors: Tensors, name: str, stride: int) -> torch.Tensor:
    inner = split_attention(convolved(x, tensors, f"{name}.conv1").relu(), tensors, f"{name}.conv2")
    if stride == 2:
        inner = F.avg_pool2d(inner, 3, 2, 1)
    inner = convolved(inner, tensors, f"{name}.conv3")
    if f"{name}.shortcut.weight" in tensors:
        x = F.avg_pool2d(x, stride, stride, ceil_mode=True, count_include_pad=False)
        x = convolved(x, tensors, f"{name}.shortcut")
    return (inner + x).relu()


def bottom_up(pixels: torch.Tensor, tensors: Tensors) -> list[torch.Tensor]:
    """res3, res4, res5 of whichever network the state dict holds."""
    start = "backbone.bottom_up"
    deep = f"{start}.stem.conv1_1.weight" in tensors
    x = pixels
    for name, stride in (("conv1_1", 2), ("conv1_2", 1), ("conv1_3", 1)) if deep else (("conv1", 2),):
        x = convolved(x, tensors, f"{start}.stem.{name}", stride).relu()
    x = F.max_pool2d(x, 3, 2, 1)
    outputs = []
    for stage in ("res2", "res3", "res4", "res5"):
        count = sum(f"{start}.{stage}.{i}.conv1.weight" in tensors for i in range(40))
        for i in range(count):
            stride = 2 if stage != "res2" and i == 0 else 1
            x = (resnest_block if deep else resnet_block)(x, tensors, f"{start}.{stage}.{i}", stride)
        outputs.append(x)
    return outputs[1:]


def pyramid(pixels: torch.Tensor, tensors: Tensors) -> list[torch.Tensor]:
    third, fourth, fifth = (
        convolved(x, tensors, f"backbone.fpn_lateral{level}")
        for level, x in zip((3, 4, 5), bottom_up(pixels, tensors), strict=True)
    )
    fourth = fourth + fifth.repeat_interleave(2, 2).repeat_interleave(2, 3)
    third = third + fourth.repeat_interleave(2, 2).repeat_interleave(2, 3)
    outputs = [
        convolved(x, tensors, f"backbone.fpn_output{level}")
        for level, x in zip((3, 4, 5), (third, fourth, fifth), strict=True)
    ]
    sixth = convolved(outputs[-1], tensors, "backbone.top_block.p6", 2)
    return [*outputs, sixth, convolved(sixth.relu(), tensors, "backbone.top_block.p7", 2)]


def anchors(level: int, height: int, width: int) -> list[tuple]:
    """Of p3 (0) to p7 (4), in the order in which the logits come."""
    boxes = []
    for row in range(height):
        for column in range(width):
            for third in range(3):
                for ratio in (0.5, 1.0, 2.0):
                    area = (32 * 2**level * 2 ** (third / 3)) ** 2
                    w = math.sqrt(area / ratio)
                    h = w * ratio
                    x, y = column * 8 * 2**level, row * 8 * 2**level
                    boxes.append((x - w / 2, y - h / 2, x + w / 2, y + h / 2))
    return boxes


def moved(box: tuple, deltas: list[float], weights: tuple) -> tuple:
    dx, dy, dw, dh = (delta / weight for delta, weight in zip(deltas, weights, strict=True))
    w, h = box[2] - box[0], box[3] - box[1]
    x, y = box[0] + w / 2 + dx * w, box[1] + h / 2 + dy * h
    w, h = w * min(math.exp(min(dw, 9)), 62.5), h * min(math.exp(min(dh, 9)), 62.5)
    return (x - w / 2, y - h / 2, x + w / 2, y + h / 2)


def clipped(box: tuple, height: int, width: int) -> tuple:
    return tuple(min(max(value, 0.0), float(most)) for value, most in zip(box, (width, height) * 2, strict=True))


def empty(box: tuple) -> bool:
    return box[2] <= box[0] or box[3] <= box[1]


def overlap(a: tuple, b: tuple) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(w, 0.0) * max(h, 0.0)
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - common
    return common / union if union > 0 else 0.0


def suppressed(found: list[tuple], threshold: float) -> list[tuple]:
    """Of (score, group, box), the ones that no better one of their group covers; best first."""
    kept: list[tuple] = []
    for one in sorted(found, key=lambda one: -one[0]):
        if all(one[1] != other[1] or overlap(one[2], other[2]) <= threshold for other in kept):
            kept.append(one)
    return kept


def proposals(features: list[torch.Tensor], tensors: Tensors, height: int, width: int) -> list[tuple]:
    """The boxes of one image, from p3..p7 of shape (1, channels, height, width)."""
    found = []
    for level, x in enumerate(features):
        hidden = convolved(x, tensors, "proposal_generator.rpn_head.conv").relu()
        logits = convolved(hidden, tensors, "proposal_generator.rpn_head.objectness_logits")[0]
        deltas = convolved(hidden, tensors, "proposal_generator.rpn_head.anchor_deltas")[0]
        scored = []
        for i, anchor in enumerate(anchors(level, *x.shape[2:])):
            cell, kind = divmod(i, 9)
            row, column = divmod(cell, x.shape[3])
            scored.append((float(logits[kind, row, column]), anchor, deltas[4 * kind : 4 * kind + 4, row, column]))
        for score, anchor, delta in sorted(scored, key=lambda one: -one[0])[:1000]:
            box = clipped(moved(anchor, delta.tolist(), (1, 1, 1, 1)), height, width)
            if not empty(box):
                found.append((score, level, box))
    return [box for _, _, box in suppressed(found, 0.7)[:1000]]


def level_of(box: tuple) -> int:
    side = math.sqrt((box[2] - box[0]) * (box[3] - box[1]))
    return min(max(math.floor(4 + math.log2(side / 224 + 1e-8)), 3), 5)


def sampling(start: float, end: float, cells: int) -> torch.Tensor:
    """How much each cell of an axis counts in each of the seven bins, shape (7, cells): means of interpolations."""
    weights = torch.zeros(7, cells, dtype=torch.float64)
    samples = math.ceil((end - start) / 7)
    for b in range(7):
        for sample in range(samples):
            at = start + (end - start) / 7 * (b + (sample + 0.5) / samples)
            if not -1 <= at <= cells:
                continue
            at = max(at, 0.0)
            low = min(int(at), cells - 1)
            high = min(low + 1, cells - 1)
            share = at - low if high > low else 0.0
            weights[b, low] += (1 - share) / samples
            weights[b, high] += share / samples
    return weights


def pooled(features: list[torch.Tensor], box: tuple) -> torch.Tensor:
    """The box's (channels, 7, 7) from its level; corners are shifted by half a cell."""
    level = level_of(box)
    x = features[level - 3][0]
    x0, y0, x1, y1 = (value / 2**level - 0.5 for value in box)
    return torch.einsum("yh,chw,xw->cyx", sampling(y0, y1, x.shape[1]), x, sampling(x0, x1, x.shape[2]))


def cascade(features: list[torch.Tensor], boxes: list[tuple], tensors: Tensors, height: int, width: int):
    """Boxes of the last stage, and mean scores (n, classes)."""
    total = 0.0
    for stage, weights in enumerate(((10, 10, 5, 5), (20, 20, 10, 10), (30, 30, 15, 15))):
        head, predictor = f"roi_heads.box_head.{stage}", f"roi_heads.box_predictor.{stage}"
        x = torch.stack([pooled(features, box) for box in boxes])
        for i in range(1, 5):
            if f"{head}.conv{i}.weight" in tensors:
                x = convolved(x, tensors, f"{head}.conv{i}").relu()
        x = x.reshape(len(boxes), -1)
        for i in range(1, 3):
            if f"{head}.fc{i}.weight" in tensors:
                x = (x @ tensors[f"{head}.fc{i}.weight"].T + tensors[f"{head}.fc{i}.bias"]).relu()
        logits = x @ tensors[f"{predictor}.cls_score.weight"].T + tensors[f"{predictor}.cls_score.bias"]
        deltas = x @ tensors[f"{predictor}.bbox_pred.weight"].T + tensors[f"{predictor}.bbox_pred.bias"]
        total = total + 1 / (1 + torch.exp(-logits[:, :-1]))
        boxes = [
            clipped(moved(box, delta, weights), height, width)
            for box, delta in zip(boxes, deltas.tolist(), strict=True)
        ]
    return boxes, total / 3


def best(boxes: list[tuple], scores: list[list[float]]) -> list[tuple]:
    """At most 300 (score, class, box), best first."""
    found = [
        (score, index, box)
        for box, of_box in zip(boxes, scores, strict=True)
        for index, score in enumerate(of_box)
        if score > 0.1
    ]
    return [one for one in suppressed(found, 0.5)[:300] if not empty(one[2])]


def detect(pixels: torch.Tensor, tensors: Tensors, mean: tuple, std: tuple) -> list[tuple]:
    """(score, class, box) of one image of shape (3, height, width)."""
    height, width = pixels.shape[1:]
    padded = torch.zeros(1, 3, -(-height // 32) * 32, -(-width // 32) * 32, dtype=torch.float64)
    for channel in range(3):
        padded[0, channel, :height, :width] = (pixels[channel].double() - mean[channel]) / std[channel]
    features = pyramid(padded, tensors)
    boxes = proposals(features, tensors, height, width)
    boxes, scores = cascade(features, boxes, tensors, height, width)
    return best(boxes, scores.tolist())
