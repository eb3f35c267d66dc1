"""Which encoded samples are trained on, which are held out, and the batches of both."""

from collections.abc import Iterator, Sequence

import torch

from lab.data.encoded import Bucket
from lab.errors import LabError

Tensors = dict[str, torch.Tensor]


class Batches:
    """Batches of samples of one size each; the last samples of each size are held out.

    Args:
        held_out: samples that are never trained on, in proportion of each size.
        caption_dropout: the probability that a training sample loses its caption.
        empty_caption: what takes its place: `prompt_embeds` (L, D) and `pooled_prompt_embeds` (P).

    Raises:
        LabError: nothing would be left to train on.
    """

    def __init__(
        self,
        buckets: Sequence[Bucket],
        held_out: int,
        caption_dropout: float = 0.0,
        empty_caption: Tensors | None = None,
    ):
        samples = sum(map(len, buckets))
        if samples <= held_out:
            raise LabError(
                f"`train.held_out` is {held_out}, but there are {samples} encoded samples; lower it or raise "
                "`sample.size`."
            )
        self.buckets = buckets
        self.caption_dropout, self.empty_caption = caption_dropout, empty_caption
        self.trained = [len(bucket) - share for bucket, share in zip(buckets, _shares(buckets, held_out), strict=True)]

    def draw(self, count: int, generator: torch.Generator) -> Tensors:
        """A batch of training samples of one size, drawn with replacement."""
        bucket, trained = self.buckets[0], self.trained[0]
        if len(self.buckets) > 1:
            chosen = int(torch.multinomial(torch.tensor(self.trained, dtype=torch.float64), 1, generator=generator))
            bucket, trained = self.buckets[chosen], self.trained[chosen]
        batch = bucket.read(torch.randint(trained, (count,), generator=generator).tolist())
        if self.caption_dropout > 0:
            dropped = torch.rand(count, generator=generator) < self.caption_dropout
            for key, value in self.empty_caption.items():
                batch[key][dropped] = value
        return batch

    def held_out(self, count: int) -> Iterator[Tensors]:
        """The held-out samples in batches of at most `count`, each of one size."""
        for bucket, trained in zip(self.buckets, self.trained, strict=True):
            for start in range(trained, len(bucket), count):
                yield bucket.read(range(start, min(start + count, len(bucket))))


def _shares(buckets: Sequence[Bucket], held_out: int) -> list[int]:
    """How many of each bucket are held out: `held_out` in all, as near to proportion as whole numbers are."""
    samples, seen, shares = sum(map(len, buckets)), 0, []
    for bucket in buckets:
        before = round(held_out * seen / samples)
        seen += len(bucket)
        shares.append(round(held_out * seen / samples) - before)
    return shares
