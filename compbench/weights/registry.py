"""Which published files each category of the benchmark needs, where they come from, and what is known of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from compbench.errors import CompbenchError

_HUB = "https://huggingface.co"


@dataclass(frozen=True)
class WeightFile:
    """One published file.

    `path` is its place in the weights folder. `sha256` is what is published of its hash: all 64 hexadecimal digits,
    the first 8, which PyTorch's hub writes into file names, or nothing.
    """

    path: str
    url: str
    sha256: str = ""


_BLIP = (
    WeightFile(
        "blip/model_base_vqa_capfilt_large.pth",
        "https://storage.googleapis.com/sfr-vision-language-research/BLIP/models/model_base_vqa_capfilt_large.pth",
    ),
    WeightFile(
        "blip/vocab.txt",
        f"{_HUB}/google-bert/bert-base-uncased/resolve/86b5e0934494bd15c9632b12f734a8a67f723594/vocab.txt",
        "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    ),
)
_LABEL_SPACE = WeightFile(
    "unidet/learned_mAP+M.json",
    "https://raw.githubusercontent.com/xingyizhou/UniDet/HEAD/datasets/label_spaces/learned_mAP%2BM.json",
)
_UNIDET_RS200 = (
    WeightFile(
        "unidet/Unified_learned_OCIM_RS200_6x+2x.pth",
        f"{_HUB}/shikunl/prismer/resolve/main/expert_weights/Unified_learned_OCIM_RS200_6x%2B2x.pth",
    ),
    _LABEL_SPACE,
)
_UNIDET_R50 = (
    # `confirm` answers beforehand the page that warns that Google does not scan large files for viruses.
    WeightFile(
        "unidet/Unified_learned_OCIM_R50_6x+2x.pth",
        "https://drive.usercontent.google.com/download?id=1C4sgkirmgMumKXXiLOPmCKNTZAc3oVbq&export=download&confirm=t",
    ),
    _LABEL_SPACE,
)
_DPT = (
    WeightFile(
        "dpt/dpt_hybrid-midas-501f0c75.pt",
        f"{_HUB}/lllyasviel/ControlNet/resolve/main/annotator/ckpts/dpt_hybrid-midas-501f0c75.pt",
        "501f0c75b3bca7daec6b3682c5054c09b366765aef6fa3a09d03a5cb4b230853",
    ),
)
_CLIP_REVISION = f"{_HUB}/timm/vit_base_patch32_clip_224.openai/resolve/a6f597a30f7b82c51704746581f9a4e41421e878"
_CLIP = (
    WeightFile("clip/open_clip_config.json", f"{_CLIP_REVISION}/open_clip_config.json"),
    WeightFile(
        "clip/open_clip_model.safetensors",
        f"{_CLIP_REVISION}/open_clip_model.safetensors",
        "e6d1bd7789aa45192b3bf90570a789b478bae1b74ebcce7eddd908e83a2b7c31",
    ),
)
_PYIQA = f"{_HUB}/chaofengc/IQA-PyTorch-Weights/resolve/main"
_QUALITY = (
    WeightFile("quality/musiq_koniq_ckpt-e95806b9.pth", f"{_PYIQA}/musiq_koniq_ckpt-e95806b9.pth", "e95806b9"),
    WeightFile("quality/ckpt_koniq10k.pt", f"{_PYIQA}/ckpt_koniq10k.pt"),
)

NEEDS: dict[str, tuple[WeightFile, ...]] = {
    "color": _BLIP,
    "shape": _BLIP,
    "texture": _BLIP,
    "spatial": _UNIDET_RS200,
    "3d_spatial": _UNIDET_R50 + _DPT,
    "numeracy": _UNIDET_R50,
    "non_spatial": _CLIP,
    "complex": _BLIP + _UNIDET_RS200 + _CLIP,
    "quality": _QUALITY,
}
"""The files of each category; `quality` stands for MUSIQ and MANIQA, which any category can be scored by."""


def files_of(categories: Iterable[str], needs: Mapping[str, tuple[WeightFile, ...]] = NEEDS) -> tuple[WeightFile, ...]:
    """The files that any of `categories` needs, each once. Raises: CompbenchError for an unknown category."""
    categories = tuple(categories)
    for category in categories:
        if category not in needs:
            raise CompbenchError(f"There are no weights for {category!r}; say one or more of {', '.join(needs)}.")
    return tuple(dict.fromkeys(file for category in categories for file in needs[category]))
