"""What BLIP-VQA takes here, against the benchmark's own procedure written plainly, on the same random weights.

    python -m benchmarks.blip_vqa [--images 4] [--out benchmarks/results/scoring/blip-vqa-cpu.json]

Seconds are the processor's, of one thread: those of the wall where nothing else runs. The ratio for 100 images is
extrapolated: loads stay as they are, the rest is taken 100 / images times.

The procedure makes eight passes over all images, one for each place a question can have: each loads the model, encodes
every image, and asks also where there is no question. It is written from its description, with every logit in memory
and the softmax over all words. It reads the checkpoint's tensors as they lie: building a model would cost it more.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torchvision import transforms

from benchmarks.timing import provenance
from taca.scoring.blip.checkpoint import NAME
from taca.scoring.blip.config import BlipConfig
from taca.scoring.blip.scorer import BlipVqaScorer
from taca.scoring.blip.tokenizer import QuestionTokenizer
from taca.scoring.interface import Prompt
from taca.scoring.mode import Mode

PLACES, BATCH = 8, 32
CHUNKS = ("a green bench", "a blue bowl")  # two, as most prompts of the benchmark have


def layout(config: BlipConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes in the published file, in its order; buffers are left out."""
    width, inner = config.hidden_size, config.intermediate_size
    patch, layers = config.patch_size, range(config.num_hidden_layers)
    yield "visual_encoder.cls_token", (1, 1, width)
    yield "visual_encoder.pos_embed", (1, (config.image_size // patch) ** 2 + 1, width)
    yield from _affine("visual_encoder.patch_embed.proj", (width, 3, patch, patch))
    for block in (f"visual_encoder.blocks.{i}" for i in layers):
        yield from _affine(f"{block}.norm1", (width,))
        yield from _affine(f"{block}.attn.qkv", (3 * width, width))
        yield from _affine(f"{block}.attn.proj", (width, width))
        yield from _affine(f"{block}.norm2", (width,))
        yield from _affine(f"{block}.mlp.fc1", (inner, width))
        yield from _affine(f"{block}.mlp.fc2", (width, inner))
    yield from _affine("visual_encoder.norm", (width,))
    for bert in ("text_encoder", "text_decoder.bert"):
        yield f"{bert}.embeddings.word_embeddings.weight", (config.vocab_size, width)
        yield f"{bert}.embeddings.position_embeddings.weight", (config.max_position_embeddings, width)
        yield from _affine(f"{bert}.embeddings.LayerNorm", (width,))
        for layer in (f"{bert}.encoder.layer.{i}" for i in layers):
            for kind in ("attention", "crossattention"):
                for name in ("self.query", "self.key", "self.value", "output.dense"):
                    yield from _affine(f"{layer}.{kind}.{name}", (width, width))
                yield from _affine(f"{layer}.{kind}.output.LayerNorm", (width,))
            yield from _affine(f"{layer}.intermediate.dense", (inner, width))
            yield from _affine(f"{layer}.output.dense", (width, inner))
            yield from _affine(f"{layer}.output.LayerNorm", (width,))
    head = "text_decoder.cls.predictions"
    yield f"{head}.bias", (config.vocab_size,)
    yield from _affine(f"{head}.transform.dense", (width, width))
    yield from _affine(f"{head}.transform.LayerNorm", (width,))
    yield from _affine(f"{head}.decoder", (config.vocab_size, width))


def _affine(name: str, shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def random_checkpoint(config: BlipConfig, seed: int = 0) -> dict[str, torch.Tensor]:
    """Tensors under the published names: of a scale at which answers differ, tied where the published ones are."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in layout(config):
        scale = 0.1 if len(shape) == 1 else torch.Size(shape[1:]).numel() ** -0.5
        tensors[name] = scale * torch.randn(shape, generator=generator)
        if "norm" in name.lower() and name.endswith("weight"):
            tensors[name] += 1
    for name in ("text_encoder", "text_decoder.bert"):
        tensors[f"{name}.embeddings.position_ids"] = torch.arange(config.max_position_embeddings)[None]
    head = "text_decoder.cls.predictions"
    tensors[f"{head}.decoder.weight"] = tensors["text_decoder.bert.embeddings.word_embeddings.weight"]
    tensors[f"{head}.decoder.bias"] = tensors[f"{head}.bias"]
    return tensors


class PlainBlip:
    """The model on the checkpoint's own tensors, operation by operation as it is described."""

    def __init__(self, tensors: dict[str, torch.Tensor], config: BlipConfig):
        self.tensors, self.config = tensors, config

    def image_states(self, pixel_values: torch.Tensor) -> torch.Tensor:
        get, prefix = self.tensors, "visual_encoder"
        x = F.conv2d(
            pixel_values,
            get[f"{prefix}.patch_embed.proj.weight"],
            get[f"{prefix}.patch_embed.proj.bias"],
            stride=self.config.patch_size,
        )
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([get[f"{prefix}.cls_token"].repeat(len(x), 1, 1), x], 1) + get[f"{prefix}.pos_embed"]
        for block in (f"{prefix}.blocks.{i}" for i in range(self.config.num_hidden_layers)):
            query, key, value = self._linear(f"{block}.attn.qkv", self._norm(f"{block}.norm1", x, 1e-6)).chunk(3, -1)
            x = x + self._linear(f"{block}.attn.proj", self._attention(query, key, value, 0.0))
            inner = F.gelu(self._linear(f"{block}.mlp.fc1", self._norm(f"{block}.norm2", x, 1e-6)))
            x = x + self._linear(f"{block}.mlp.fc2", inner)
        return self._norm(f"{prefix}.norm", x, 1e-6)

    def question_states(self, image_states: torch.Tensor, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        every = torch.ones(image_states.shape[:2])
        return self._bert("text_encoder", input_ids, mask, image_states, every)

    def yes_probability(self, question_states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        start = torch.full((len(mask), 1), 30522)
        x = self._bert("text_decoder.bert", start, torch.ones_like(start), question_states, mask)
        head = "text_decoder.cls.predictions"
        x = self._norm(f"{head}.transform.LayerNorm", F.gelu(self._linear(f"{head}.transform.dense", x)), 1e-12)
        probabilities = self._linear(f"{head}.decoder", x)[:, 0].softmax(-1)
        yes, no = probabilities[:, 2748], probabilities[:, 2053]
        return yes / (yes + no)

    def _bert(self, prefix: str, input_ids, mask, memory, memory_mask) -> torch.Tensor:
        words = self.tensors[f"{prefix}.embeddings.word_embeddings.weight"][input_ids]
        positions = self.tensors[f"{prefix}.embeddings.position_embeddings.weight"][: input_ids.shape[1]]
        x = self._norm(f"{prefix}.embeddings.LayerNorm", words + positions, 1e-12)
        own = (1 - mask.float())[:, None, None] * -10000
        other = (1 - memory_mask.float())[:, None, None] * torch.finfo(torch.float32).min
        for layer in (f"{prefix}.encoder.layer.{i}" for i in range(self.config.num_hidden_layers)):
            x = self._read(f"{layer}.attention", x, x, own)
            x = self._read(f"{layer}.crossattention", x, memory, other)
            inner = F.gelu(self._linear(f"{layer}.intermediate.dense", x))
            x = self._norm(f"{layer}.output.LayerNorm", self._linear(f"{layer}.output.dense", inner) + x, 1e-12)
        return x

    def _read(self, prefix: str, x: torch.Tensor, memory: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        query = self._linear(f"{prefix}.self.query", x)
        key, value = (self._linear(f"{prefix}.self.{name}", memory) for name in ("key", "value"))
        read = self._linear(f"{prefix}.output.dense", self._attention(query, key, value, mask))
        return self._norm(f"{prefix}.output.LayerNorm", read + x, 1e-12)

    def _attention(self, query, key, value, mask: torch.Tensor | float) -> torch.Tensor:
        heads, width = self.config.num_attention_heads, query.shape[-1] // self.config.num_attention_heads
        query, key, value = (x.view(*x.shape[:2], heads, width).transpose(1, 2) for x in (query, key, value))
        weights = (query @ key.transpose(2, 3) / width**0.5 + mask).softmax(-1)
        return (weights @ value).transpose(1, 2).flatten(2)

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

    def _norm(self, name: str, x: torch.Tensor, eps: float) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"], eps)


def pixels(image: Image.Image, side: int) -> torch.Tensor:
    """(3, side, side), normalised."""
    values = transforms.functional.to_tensor(image.resize((side, side), Image.Resampling.BICUBIC))
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    return (values - mean) / std


@torch.no_grad()
def plain_pass(
    model: PlainBlip, tokenizer: QuestionTokenizer, images: list[Image.Image], questions: list[str]
) -> list[str]:
    """The answers to one question an image, "" where there is none, as the procedure writes them."""
    answers = []
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        states = model.image_states(torch.stack([pixels(image, model.config.image_size) for image in images[part]]))
        input_ids, mask = tokenizer(questions[part])
        found = model.yes_probability(model.question_states(states, input_ids, mask), mask)
        answers += [f"{answer:.4f}" for answer in found.tolist()]
    return answers


def plain_scores(
    load: Callable[[], PlainBlip], tokenizer: QuestionTokenizer, images: list[Image.Image], chunks: list[tuple]
) -> tuple[list[float], float, float]:
    """(scores, seconds of the eight loads, seconds of the eight passes); `chunks` are the phrases of each image."""
    product, loading, passing = torch.ones(len(images)), 0.0, 0.0
    for place in range(PLACES):
        questions = [f"{found[place]}?" if place < len(found) else "" for found in chunks]
        begin = time.process_time()
        model = load()
        loaded = time.process_time()
        answers = plain_pass(model, tokenizer, images, questions)
        product *= torch.tensor([float(a) if q else 1.0 for a, q in zip(answers, questions, strict=True)])
        loading, passing = loading + loaded - begin, passing + time.process_time() - loaded
    return [float(f"{score:.4f}") for score in product.tolist()], loading, passing


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


def vocabulary_lines(words: tuple[str, ...]) -> list[str]:
    """A vocabulary of BERT's size with `words`; special tokens, "yes" and "no" stand where they do in BERT's."""
    lines = [f"[unused{number}]" for number in range(30522)]
    for number, token in {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 2053: "no", 2748: "yes"}.items():
        lines[number] = token
    lines[3000 : 3000 + len(words)] = words
    return lines


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
