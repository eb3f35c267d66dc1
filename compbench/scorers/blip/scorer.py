"""The benchmark's attribute score (Huang et al., 2023, arXiv 2307.06350): BLIP's answers to a prompt's questions."""

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import transforms

from compbench.errors import CompbenchError
from compbench.scorers.blip.checkpoint import load_model
from compbench.scorers.blip.config import BlipConfig
from compbench.scorers.blip.model import BlipVqa
from compbench.scorers.blip.questions import questions_of
from compbench.scorers.blip.tokenizer import QuestionTokenizer
from compbench.scorers.interface import Prompt
from compbench.scorers.mode import Mode

BATCH = 8  # images at a time, so that memory does not grow with their number
DTYPES = ("float32", "float16", "bfloat16")
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class BlipVqaScorer:
    """Product of the probabilities of "yes" over the questions of a prompt, in [0, 1].

    Every image is encoded once. In official mode, as in the benchmark, probabilities are rounded to four decimals
    before the product and the product is rounded again, at most eight questions are asked, and a prompt without noun
    phrases scores 1. Corrected mode rounds nothing, asks everything, and refuses such a prompt.
    """

    name = "attribute"

    def __init__(self, model: BlipVqa, tokenizer: QuestionTokenizer, mode: Mode, device: str = "cpu"):
        self.model, self.tokenizer = model.to(device).eval(), tokenizer
        self.mode, self.device = mode, device
        self.dtype = model.visual_encoder.pos_embed.dtype
        side = model.config.image_size
        # The aspect is not kept: the benchmark squeezes every image into a square.
        self.preprocess = transforms.Compose(
            [
                transforms.Resize((side, side), transforms.InterpolationMode.BICUBIC),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    @classmethod
    def from_weights(
        cls,
        weights: Path,
        mode: Mode,
        device: str = "cpu",
        dtype: str = "float32",
        config: BlipConfig | None = None,
        extra_tensors: bool = False,
    ) -> "BlipVqaScorer":
        """From `weights / "blip"`, which holds the published checkpoint and bert-base-uncased's `vocab.txt`.

        Args:
            dtype: "float32", which the benchmark computes in, "float16" or "bfloat16".
            config: sizes of a model that is not the published one.
            extra_tensors: as `Choice` has it.

        Raises: CompbenchError when a file is missing or not the published one, or for another dtype.
        """
        if dtype not in DTYPES:
            raise CompbenchError(f"BLIP's dtype is {dtype!r}, but must be one of: {', '.join(DTYPES)}.")
        tokenizer = QuestionTokenizer.from_file(weights / "blip" / "vocab.txt")
        model = load_model(weights, config, extra_tensors)
        return cls(model.to(getattr(torch, dtype)), tokenizer, mode, device)

    def score(self, images: list[Image.Image], prompts: list[Prompt]) -> list[float]:
        """NaN where the model gives NaN.

        Raises: CompbenchError in corrected mode for a prompt without noun phrases.
        """
        asked = [questions_of(prompt, self.mode) for prompt in prompts]
        scores = []
        for start in range(0, len(images), BATCH):
            part = slice(start, start + BATCH)
            scores += [combine(answers, self.mode) for answers in self._answer(images[part], asked[part])]
        return scores

    @torch.inference_mode()
    def _answer(self, images: list[Image.Image], asked: list[list[str]]) -> list[list[float]]:
        """The probability of "yes" for every question of every image."""
        shown = [number for number, questions in enumerate(asked) if questions]
        if not shown:
            return [[] for _ in images]
        pixel_values = torch.stack([self.preprocess(images[number]) for number in shown])
        image_states = self.model.visual_encoder(pixel_values.to(self.device, self.dtype))
        counts = torch.tensor([len(asked[number]) for number in shown], device=self.device)
        input_ids, mask = self.tokenizer([question for questions in asked for question in questions])
        answers = iter(
            self.model.yes_probability(
                image_states.repeat_interleave(counts, dim=0), input_ids.to(self.device), mask.to(self.device)
            ).tolist()
        )
        return [[next(answers) for _ in questions] for questions in asked]


def combine(answers: list[float], mode: Mode) -> float:
    """The score of an image from the probabilities of "yes"."""
    if mode is Mode.CORRECTED:
        return math.prod(answers)
    product = np.float32(1)
    for answer in answers:
        product *= np.float32(float(f"{answer:.4f}"))
    return float(f"{product:.4f}")
