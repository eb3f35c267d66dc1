"""The benchmark's own procedure for BLIP-VQA, written plainly from its description.

It makes eight passes over all images, one for each place a question can have: each loads the model, encodes every
image, and asks also where there is no question. Every logit is in memory, and the softmax is over all words. The model
is the checkpoint's tensors as they lie: building one would cost the procedure more.
"""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from PIL import Image
from torchvision import transforms

from compbench.scorers.blip.config import BlipConfig
from compbench.scorers.blip.tokenizer import QuestionTokenizer

PLACES, BATCH = 8, 32


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
