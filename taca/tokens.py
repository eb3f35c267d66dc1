"""Where text and image tokens are in a joint sequence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from taca.attention import scale_text_keys, split_image_text, split_mask

Attention = Callable[..., torch.Tensor]
"""Attention of (query, key, value, attn_mask), which decides on kernel and scale."""


@dataclass(frozen=True)
class Run:
    """Text tokens in one run at one end of the sequence, in every sample alike.

    Keys without queries, before all others, are those of reference images that a family keeps from pass to pass.

    Attributes:
        num_text_tokens: how many they are.
        text_first: whether they come before the image tokens.
        num_other_tokens: tokens on the text's side that are neither, such as registers: before it where it is first,
            between image and text where it is last.
        text_reads: whether text tokens have queries; if not, all queries are those of image tokens.
    """

    num_text_tokens: int
    text_first: bool
    num_other_tokens: int = 0
    text_reads: bool = True

    def scaled(self, key: torch.Tensor, gamma: torch.Tensor, dim: int, num_kept_tokens: int = 0) -> torch.Tensor:
        """Keys with those of text times gamma, after some that are kept from another pass."""
        length = key.shape[dim]
        start = num_kept_tokens + self.num_other_tokens if self.text_first else length - self.num_text_tokens
        sizes = [start, self.num_text_tokens, length - start - self.num_text_tokens]
        before, text, after = key.split_with_sizes(sizes, dim=dim)
        return torch.cat([before, scale_text_keys(text, gamma), after], dim=dim)

    def attend(
        self,
        attention: Attention,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        gamma: torch.Tensor,
        dim: int,
    ) -> torch.Tensor:
        """Eq. 10: image queries over scaled keys, all other queries over plain ones.

        Args:
            attention: called on queries, keys, values and a mask.
            query, key, value: the joint sequence, split into heads; queries may be those of image tokens alone.
            mask: broadcastable to (B, H, queries, keys), or (B, keys).
            gamma: a factor for each sample, (B, 1, 1, 1).
            dim: dimension of the tokens, 1 or 2.

        Returns:
            What the queries read, shaped like them.
        """
        if not self.text_reads:
            return attention(query, self.scaled(key, gamma, dim), value, mask)
        scaled = self.scaled(key, gamma, dim, key.shape[dim] - query.shape[dim])
        rest = self.num_other_tokens + self.num_text_tokens
        image_query, other_query = split_image_text(query, rest, self.text_first, dim)
        image_mask, other_mask = split_mask(mask, rest, self.text_first)
        image = attention(image_query, scaled, value, image_mask)
        other = attention(other_query, key, value, other_mask)
        return torch.cat([other, image] if self.text_first else [image, other], dim=dim)


class Scattered:
    """Text and image tokens wherever they are, in each sample elsewhere.

    All queries are taken over scaled keys, and those of no image token a second time over plain keys: as many as the
    sample with the most has.

    Args:
        is_text: (B, L), True for text tokens; B is 1 where all samples are alike.
        is_image: (B, L), True for image tokens; the others are neither.
    """

    def __init__(self, is_text: torch.Tensor, is_image: torch.Tensor):
        self.is_text, self.is_image = is_text, is_image
        rest = ~is_image
        longest = int(rest.sum(dim=1).max())
        # The first of a sample's places, again and again where it has fewer than the longest.
        places = rest.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :longest]
        counts = rest.sum(dim=1, keepdim=True)
        self.places = torch.where(torch.arange(longest, device=rest.device) < counts, places, places[:, :1])
        # Where each token's result lies in [all queries, second queries].
        order = rest.cumsum(dim=1) - 1 + rest.shape[1]
        self.results = torch.where(rest, order, torch.arange(rest.shape[1], device=rest.device))

    @classmethod
    def of(cls, runs: Sequence[Sequence[tuple[str, int]]], device: torch.device) -> "Scattered":
        """From each sample's runs of tokens, such as [("image", 16), ("text", 6)]; what is left is padding."""
        length = max(sum(count for _, count in sample) for sample in runs)
        is_text, is_image = (torch.zeros(len(runs), length, dtype=torch.bool) for _ in range(2))
        for row, sample in enumerate(runs):
            start = 0
            for kind, count in sample:
                if kind != "other":
                    (is_text if kind == "text" else is_image)[row, start : start + count] = True
                start += count
        return cls(is_text.to(device), is_image.to(device))

    def attend(
        self,
        attention: Attention,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        gamma: torch.Tensor,
        dim: int,
    ) -> torch.Tensor:
        """As `Run.attend`."""
        # Of a transformer spread over several GPUs, keys may be on another than the latents are.
        text = self.is_text.to(key.device)
        is_text = text[:, :, None, None] if dim == 1 else text[:, None, :, None]
        read = attention(query, torch.where(is_text, scale_text_keys(key, gamma), key), value, mask)
        if not self.places.shape[1]:
            return read
        places = _over(query, self.places, dim)
        again = attention(query.gather(dim, places), key, value, self._rows(mask, query.shape[0]))
        return torch.cat([read, again], dim=dim).gather(dim, _over(read, self.results, dim))

    def _rows(self, mask: torch.Tensor | None, batch: int) -> torch.Tensor | None:
        """A mask's rows for the second queries; one row, or none, serves all."""
        if mask is None or mask.ndim < 3 or mask.shape[-2] == 1:
            return mask
        mask = mask.expand(batch, *mask.shape[1:])
        places = self.places.to(mask.device).reshape(self.places.shape[0], *[1] * (mask.ndim - 3), -1, 1)
        return mask.gather(-2, places.expand(*mask.shape[:-2], places.shape[-2], mask.shape[-1]))


class Segments:
    """Tokens in segments, in every sample alike, whose queries are called one segment after the other.

    The last segment is the image that is drawn, and reads all tokens; each other reads those up to its own end.
    Reference images among these have no noise, so that by Eq. 11 their gamma is 1: what a family keeps of them for
    later steps holds above the threshold and below.

    Args:
        is_text: of every token of the joint sequence.
    """

    def __init__(self, is_text: Sequence[bool]):
        self.is_text = tuple(is_text)

    def attend(
        self,
        attention: Attention,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        gamma: torch.Tensor,
        dim: int,
    ) -> torch.Tensor:
        """As `Run.attend`."""
        if key.shape[dim] < len(self.is_text):
            return attention(query, key, value, mask)
        is_text = torch.tensor(self.is_text, device=key.device).reshape([-1 if d == dim else 1 for d in range(4)])
        return attention(query, torch.where(is_text, scale_text_keys(key, gamma), key), value, mask)


class InTurn:
    """Samples that a processor calls attention for one by one.

    Args:
        samples: where each has its tokens.
    """

    def __init__(self, samples: Sequence[Run]):
        self.samples = tuple(samples)
        self.next = 0

    def attend(
        self,
        attention: Attention,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        gamma: torch.Tensor,
        dim: int,
    ) -> torch.Tensor:
        """As `Run.attend`, for the sample whose turn it is."""
        sample, self.next = self.next, (self.next + 1) % len(self.samples)
        return self.samples[sample].attend(attention, query, key, value, mask, gamma[sample : sample + 1], dim)


Tokens = Run | Scattered | Segments | InTurn


def _over(heads: torch.Tensor, index: torch.Tensor, dim: int) -> torch.Tensor:
    """An index of tokens (B, M) for `gather` in dimension `dim` of a tensor that is split into heads."""
    index = index.to(heads.device)
    index = index[:, :, None, None] if dim == 1 else index[:, None, :, None]
    return index.expand(*(m if d == dim else n for d, (n, m) in enumerate(zip(heads.shape, index.shape, strict=True))))
