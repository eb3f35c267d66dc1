"""Embeddings of prompts: computed before there is a transformer on the device, and kept in memory-mapped files.

At 512 T5 tokens in bfloat16 a prompt takes 4 MB: 6,000 of them are 25 GB, which no arm has to hold.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from lab.generation.load import free_memory, load_text
from lab.models.family import Family

Tensors = dict[str, torch.Tensor]


class PromptEmbeddings:
    """What a pipeline is called with in place of prompts.

    Args:
        rows: each prompt's row in `tensors`.
        negative: the same tensors of the empty prompt, one row each; without guidance by it, none.
    """

    def __init__(self, rows: dict[str, int], tensors: Tensors, negative: Tensors):
        self.rows, self.tensors, self.negative = rows, tensors, negative

    def of(self, prompts: Sequence[str], device: torch.device) -> Tensors:
        """The arguments of the pipeline for a batch of prompts, a row each, on `device`."""
        rows = torch.tensor([self.rows[prompt] for prompt in prompts])
        positive = {key: tensor[rows].to(device) for key, tensor in self.tensors.items()}
        negative = {
            f"negative_{key}": tensor.to(device).expand(len(prompts), *tensor.shape[1:])
            for key, tensor in self.negative.items()
        }
        return positive | negative


def embed_by_base(base: Path, dtype: str, *args, **options) -> PromptEmbeddings:
    """As `embed_prompts`, by the text encoders of the base in `base`, which are gone afterwards."""
    pipe = load_text(base, dtype)
    embeddings = embed_prompts(pipe, *args, **options)
    del pipe
    free_memory()
    return embeddings


@torch.no_grad()
def embed_prompts(
    pipe,
    family: Family,
    prompts: Sequence[str],
    wanted: Collection[str],
    *,
    guided: bool,
    max_sequence_length: int,
    batch_size: int,
    folder: Path,
) -> PromptEmbeddings:
    """Encodes prompts with the text encoders of `pipe`; the files lie in `folder`.

    Batches are a fixed function of `prompts`, the last one padded, and those without a prompt of `wanted` are passed
    over: a batch's size and order change rounding, and a resumed arm ends with the same bytes.

    Args:
        prompts: all of an arm's, each once.
        guided: whether the images are guided, for which some families need the empty prompt.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = {prompt: row for row, prompt in enumerate(prompts)}
    tensors: Tensors = {}
    for start in tqdm(range(0, len(prompts), batch_size), desc="prompts", unit="batch", disable=None):
        batch = list(prompts[start : start + batch_size])
        if wanted.isdisjoint(batch):
            continue
        padded = batch + batch[-1:] * (batch_size - len(batch))
        for key, values in family.embed(pipe, padded, max_sequence_length).items():
            if key not in tensors:
                tensors[key] = _mapped(folder / f"{key}.bin", (len(prompts), *values.shape[1:]), values.dtype)
            tensors[key][start : start + len(batch)] = values[: len(batch)].cpu()
    negative = {}
    if guided and family.classifier_free:
        encoded = family.embed(pipe, [""] * batch_size, max_sequence_length)
        negative = {key: values[:1].cpu() for key, values in encoded.items()}
    return PromptEmbeddings(rows, tensors, negative)


def _mapped(path: Path, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """A tensor whose values lie in a file, so that the system may drop them from memory."""
    size = torch.Size(shape).numel()
    return torch.from_file(str(path), shared=True, size=size, dtype=dtype).reshape(shape)
