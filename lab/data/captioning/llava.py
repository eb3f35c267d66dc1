"""LLaVA-1.5 (Liu et al., 2023, "Improved Baselines with Visual Instruction Tuning"), computed here by transformers."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from PIL import Image
from safetensors import SafetensorError
from transformers import AutoProcessor, GenerationConfig, LlavaForConditionalGeneration
from transformers.utils.logging import disable_progress_bar

from lab.data.captioning.question import Answer, Answered, Question
from lab.data.crops import crop
from lab.data.images import read_image
from lab.errors import LabError
from lab.models.device import device_for

KIND = "llava"  # `model_type` of its configuration


@dataclass(frozen=True)
class Llava:
    """A captioner on this machine's GPU.

    Attributes:
        folder: with the model's files.
        repo, revision: where they are from; the commit.
        max_tokens: of an answer.
        temperature: of second answers; first ones are the likeliest.
        dtype: "float32", "bfloat16" or "float16".
        batch_size: questions that are answered at once; in 16 bits another one rounds otherwise.
    """

    folder: Path
    repo: str
    revision: str
    max_tokens: int
    temperature: float
    dtype: str
    batch_size: int

    @property
    def identity(self) -> dict[str, object]:
        """Of what changes an answer."""
        kept = ("repo", "revision", "max_tokens", "temperature", "dtype", "batch_size")
        return {"captioner": KIND, **{name: getattr(self, name) for name in kept}}

    @cached_property
    def device(self) -> str:
        """Where it computes. Raises: LabError, if a large one would on a CPU, unasked."""
        return device_for(sum(path.stat().st_size for path in self.folder.glob("*.safetensors")), "captioner")

    @cached_property
    def model(self) -> LlavaForConditionalGeneration:
        """The model with all of its weights. Raises: LabError."""
        if not sys.stderr.isatty():
            disable_progress_bar()
        with self._naming():
            model, told = LlavaForConditionalGeneration.from_pretrained(
                self.folder, dtype=getattr(torch, self.dtype), local_files_only=True, output_loading_info=True
            )
        if told["missing_keys"]:  # transformers would draw them at random
            raise LabError(
                f"{self.repo} lacks {len(told['missing_keys'])} tensors of a LLaVA, first of all "
                f"{min(told['missing_keys'])}: choose a complete one as `caption.repo`."
            )
        return model.eval().to(self.device)

    @cached_property
    def processor(self):
        """What makes tensors of images and words. Raises: LabError."""
        with self._naming():
            processor = AutoProcessor.from_pretrained(self.folder, local_files_only=True)
        # Neither has a default: without them there would be as many places for an image's tokens as by chance.
        needed = ("patch_size", "vision_feature_select_strategy")
        absent = [name for name in needed if not getattr(processor, name, None)]
        if absent or processor.chat_template is None:
            raise LabError(
                f"The processor of {self.repo} at {self.revision} has no {', '.join(absent) or 'chat template'}: set "
                "`caption.revision` to a commit whose processor_config.json has."
            )
        # On the right, the answer would go on from the padding.
        processor.tokenizer.padding_side = "left"
        return processor

    def ask(self, batches: Iterable[Sequence[Question]]) -> Iterator[Answered]:
        """As `Captioner.ask`, batch by batch."""
        for batch in batches:
            yield list(zip(batch, self.answers(batch), strict=True))

    @torch.no_grad()
    def answers(self, batch: Sequence[Question]) -> list[Answer]:
        """To questions of which all or none are sampled; those that are have one seed."""
        inputs = self.inputs(batch).to(self.device, getattr(torch, self.dtype))
        (seed,) = {question.seed for question in batch}
        if seed is not None:
            torch.manual_seed(seed)
        sequences = self.model.generate(**inputs, generation_config=self._generation(sampled=seed is not None))
        return [self._answer(tokens) for tokens in sequences[:, inputs["input_ids"].shape[1] :]]

    def inputs(self, batch: Sequence[Question]):
        """Tensors of the crops that stage `encode` trains on, padded to squares, and of the prompts."""
        images = [
            square(crop(read_image(question.path), question.size), self.processor.image_processor.image_mean)
            for question in batch
        ]
        texts = [self._conversation(question.prompt) for question in batch]
        return self.processor(images=images, text=texts, padding=True, return_tensors="pt")

    def _conversation(self, prompt: str) -> str:
        # What the web says of an image may hold what stands for an image, or ends an answer.
        for token in {*self.processor.tokenizer.all_special_tokens, self.processor.image_token}:
            prompt = prompt.replace(token, " ")
        content = [{"type": "image"}, {"type": "text", "text": prompt}]
        return self.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)

    def _generation(self, sampled: bool) -> GenerationConfig:
        """All that decides about tokens, so that nothing is left to what a repository recommends."""
        own, tokenizer = self.model.generation_config, self.processor.tokenizer
        sampling = {"temperature": self.temperature, "top_k": 0, "top_p": 1.0} if sampled else {}
        return GenerationConfig(
            max_new_tokens=self.max_tokens,
            do_sample=sampled,
            num_beams=1,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=own.eos_token_id if own.eos_token_id is not None else tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **sampling,
        )

    def _answer(self, tokens: torch.Tensor) -> Answer:
        ends = self._generation(sampled=False).eos_token_id
        done = bool(torch.isin(tokens, torch.tensor(ends, device=tokens.device)).any())
        text = self.processor.tokenizer.decode(tokens, skip_special_tokens=True)
        return Answer(text, "stop" if done else "length", f"{self.repo}@{self.revision}")

    @contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, KeyError, RuntimeError, AttributeError, SafetensorError) as error:
            reason = " ".join(str(error).split()).rstrip(".")[:200]
            raise LabError(
                f"{self.repo} at {self.revision} cannot be loaded as a LLaVA ({reason}): choose a repository of "
                f'transformers\' `{LlavaForConditionalGeneration.__name__}` as `caption.repo`, with "model_type": '
                f'"{KIND}" in its config.json.'
            ) from error


def square(image: Image.Image, mean: Sequence[float]) -> Image.Image:
    """The whole image in the middle of a square of the mean colour, as LLaVA was trained.

    transformers' processor cuts the centre out of what is no square, so that a caption misses what training shows.

    Args:
        mean: of red, green and blue, 0 to 1.
    """
    side = max(image.size)
    padded = Image.new("RGB", (side, side), tuple(int(255 * value) for value in mean))
    padded.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return padded
