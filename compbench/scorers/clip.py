"""CLIPScore (Hessel et al., 2021, arXiv 2104.08718) as the benchmark takes it: the raw cosine, no prefix, no factor."""

import json
from pathlib import Path
from textwrap import shorten

import open_clip
import torch
from PIL import Image
from safetensors import SafetensorError

from compbench.errors import CompbenchError
from compbench.scorers.interface import Prompt
from compbench.weights.command import command_for

CONFIG, TENSORS = "open_clip_config.json", "open_clip_model.safetensors"
_PRECISIONS = {"float32": "fp32", "float16": "fp16"}  # open_clip's names


class ClipScorer:
    """Cosine of image and text, in [-1, 1]. The text is a prompt's `clip_text`, or where that is None the prompt.

    Args:
        model: in the precision `dtype`.
        dtype: "float32", or "float16" for the benchmark's own precision on a GPU: weights, features and cosines are
            rounded to it, so that scores between 1/4 and 1/2 are multiples of 1/4096.
    """

    name = "clip"

    def __init__(self, model: torch.nn.Module, preprocess, tokenizer, device: str = "cpu", dtype: str = "float32"):
        self.model = model.to(device).eval()
        self.preprocess, self.tokenizer, self.device = preprocess, tokenizer, device
        self.dtype = getattr(torch, dtype)

    @classmethod
    def from_pretrained(
        cls, name: str, pretrained: str | None = None, device: str = "cpu", dtype: str = "float32"
    ) -> "ClipScorer":
        """By open_clip's own names: ("ViT-B-32", "openai"), or "local-dir:<folder>" for a folder that it wrote."""
        model, preprocess = open_clip.create_model_from_pretrained(name, pretrained, precision=_PRECISIONS[dtype])
        return cls(model, preprocess, open_clip.get_tokenizer(name), device, dtype)

    @classmethod
    def from_weights(cls, weights: Path, device: str = "cpu", dtype: str = "float32") -> "ClipScorer":
        """The benchmark's CLIP, ViT-B/32 with OpenAI's weights, from the folder `weights`.

        It lies there as open_clip publishes it (`timm/vit_base_patch32_clip_224.openai`), in safetensors: OpenAI's own
        file is an archive of code.

        Raises: CompbenchError when a file is missing or damaged, or the model was not made for these weights.
        """
        folder = weights / "clip"
        missing = [name for name in (CONFIG, TENSORS) if not (folder / name).is_file()]
        if missing:
            raise CompbenchError(
                f"CLIP's weights {folder / missing[0]} are missing: run `{command_for(weights, f'clip/{missing[0]}')}`."
            )
        _check_quick_gelu(folder / CONFIG)
        try:
            return cls.from_pretrained(f"local-dir:{folder}", device=device, dtype=dtype)
        except (RuntimeError, SafetensorError) as error:
            reason = shorten(str(error), 400)
            raise CompbenchError(
                f"{folder} has no complete CLIP model ({reason}): delete it and fetch it again."
            ) from None

    @classmethod
    def from_folder(cls, folder: Path, device: str = "cpu") -> "ClipScorer":
        """A model on disk, as `open_clip_config.json` and weights beside it.

        Raises: CompbenchError when the folder holds no such model.
        """
        if not (folder / CONFIG).is_file():
            raise CompbenchError(
                f"{folder} holds no open_clip model ({CONFIG} is missing): "
                "restore the folder, or choose another model.",
                "clip",
            )
        return cls.from_pretrained(f"local-dir:{folder}", device=device)

    @torch.inference_mode()
    def score(self, images: list[Image.Image], prompts: list[Prompt]) -> list[float]:
        """Raises: CompbenchError for a prompt longer than the model reads."""
        pixels = torch.stack([self.preprocess(image) for image in images]).to(self.device, self.dtype)
        image_features = self.model.encode_image(pixels, normalize=True)
        text_features = self.model.encode_text(self._tokens(prompts).to(self.device), normalize=True)
        # As a matrix product would: added up in float32, and rounded once.
        return (image_features.float() * text_features.float()).sum(-1).to(self.dtype).tolist()

    def _tokens(self, prompts: list[Prompt]) -> torch.Tensor:
        """Token ids, shape (prompts, context length). A tokenizer would cut a long prompt and say nothing."""
        length = self.model.context_length
        texts = [prompt.prompt if prompt.clip_text is None else prompt.clip_text for prompt in prompts]
        tokens = self.tokenizer(texts, context_length=length)
        whole = self.tokenizer(texts, context_length=2 * length)[:, :length]
        for prompt, differs in zip(prompts, (tokens != whole).any(-1).tolist(), strict=True):
            if differs:
                raise CompbenchError(
                    f'Prompt {prompt.index} ("{prompt.prompt}") is longer than the {length} tokens that the CLIP model '
                    "reads: shorten it, or choose another model.",
                    "clip",
                )
        return tokens


def _check_quick_gelu(config: Path) -> None:
    """OpenAI trained with another GELU than open_clip takes where it is told nothing; scores would be a little off."""
    if not json.loads(config.read_text(encoding="utf-8"))["model_cfg"].get("quick_gelu"):
        raise CompbenchError(
            f"{config} has no `quick_gelu`, which OpenAI's weights were trained with: fetch the configuration that is "
            "published with them."
        )
