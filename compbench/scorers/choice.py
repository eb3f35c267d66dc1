"""Which scorers a scoring run uses, and how."""

from dataclasses import dataclass
from pathlib import Path

from compbench.scorers.mode import Mode


@dataclass(frozen=True)
class Choice:
    """Scorers by name, and what they need.

    Attributes:
        attribute: "blip-vqa", or the name of a scorer that the caller brings (`build_measures`).
        spatial: who finds objects, also in depth and to count them: "unidet", or one that the caller brings.
        clip: "openai" for ViT-B/32 by its weights, or one that the caller brings.
        quality: image quality metrics beside them, of "musiq" and "maniqa".
        mode: with the benchmark's errors, or without.
        weights: the folder of the published files (`compbench.weights`); None when no scorer needs it.
        extra_tensors: whether checkpoints may hold tensors that the models have no part for, which are named and left
            out.
        device, dtype: where the published models compute, and in what; "float16" is what the benchmark's own code does
            on a GPU wherever it does.
    """

    attribute: str = "blip-vqa"
    spatial: str = "unidet"
    clip: str = "openai"
    quality: tuple[str, ...] = ()
    mode: Mode = Mode.OFFICIAL
    weights: Path | None = None
    extra_tensors: bool = False
    device: str = "cpu"
    dtype: str = "float32"

    @property
    def clip_dtype(self) -> str:
        """What CLIPScore is computed in: the steps that float16 rounds cosines to are mended in corrected mode."""
        return self.dtype if self.mode is Mode.OFFICIAL else "float32"
