"""CLIPScore (Hessel et al., 2021, arXiv 2104.08718) as the benchmark takes it: the raw cosine, no prefix, no factor."""

from pathlib import Path

import open_clip
import torch
from PIL import Image

from taca.errors import StageError
from taca.scoring.interface import Prompt


class ClipScorer:
    """Cosine of image and prompt, in [-1, 1], computed in float32."""

    name = "clip"

    def __init__(self, model: torch.nn.Module, preprocess, tokenizer, device: str = "cpu"):
        self.model = model.to(device=device, dtype=torch.float32).eval()
        self.preprocess, self.tokenizer, self.device = preprocess, tokenizer, device

    @classmethod
    def from_pretrained(cls, name: str, pretrained: str | None = None, device: str = "cpu") -> "ClipScorer":
        """By open_clip's own names: ("ViT-B-32", "openai"), or "local-dir:<folder>" for a folder that it wrote."""
        model, preprocess = open_clip.create_model_from_pretrained(name, pretrained)
        return cls(model, preprocess, open_clip.get_tokenizer(name), device)

    @classmethod
    def from_folder(cls, folder: Path, device: str = "cpu") -> "ClipScorer":
        """A model on disk, as `open_clip_config.json` and weights beside it.

        Raises: StageError when the folder holds no such model.
        """
        if not (folder / "open_clip_config.json").is_file():
            raise StageError(
                f"{folder} holds no open_clip model (open_clip_config.json is missing): "
                "make the base again with `dvc repro -f base`, or name another model in score.clip."
            )
        return cls.from_pretrained(f"local-dir:{folder}", device=device)

    @torch.inference_mode()
    def score(self, images: list[Image.Image], prompts: list[Prompt]) -> list[float]:
        """Raises: StageError for a prompt longer than the model reads."""
        pixels = torch.stack([self.preprocess(image) for image in images]).to(self.device)
        image_features = self.model.encode_image(pixels, normalize=True)
        text_features = self.model.encode_text(self._tokens(prompts).to(self.device), normalize=True)
        return (image_features * text_features).sum(-1).tolist()

    def _tokens(self, prompts: list[Prompt]) -> torch.Tensor:
        """Token ids, shape (prompts, context length). A tokenizer would cut a long prompt and say nothing."""
        length = self.model.context_length
        texts = [prompt.prompt for prompt in prompts]
        tokens = self.tokenizer(texts, context_length=length)
        whole = self.tokenizer(texts, context_length=2 * length)[:, :length]
        for prompt, differs in zip(prompts, (tokens != whole).any(-1).tolist(), strict=True):
            if differs:
                raise StageError(
                    f'Prompt {prompt.index} ("{prompt.prompt}") is longer than the {length} tokens that the CLIP model '
                    "reads: shorten it, or choose another model in score.clip."
                )
        return tokens
