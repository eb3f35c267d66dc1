"""What image queries read of the text, measured while images are drawn (the paper's Fig. 4 and 6).

With P_ij the weight that image query i gives text key j, a query's share is the sum of P_ij over j, and its magnitude
the Euclidean norm of P_i. Normalised over text keys alone, as in cross-attention, every share is 1; magnitudes differ.
"""

from collections.abc import Collection, Sequence

import torch

from taca.attention import scale_text_keys
from taca.methods import Keys

# Image queries whose logits are in memory at once: of FLUX.1's 4,096 the logits of all are 1.8 GB a layer.
SLICE = 128


@torch.no_grad()
def text_attention(
    query: torch.Tensor, text_key: torch.Tensor, image_key: torch.Tensor, gammas: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Shares and magnitudes of the attention to the text, for each of `gammas` on the same queries and keys.

    Args:
        query: image queries (B, H, N_vis, D), after QK-norm and rotary embedding.
        text_key, image_key: (B, H, N, D).

    Returns:
        Shares by the first gamma, (B, N_vis), means over heads; and magnitudes, (G + 1,), means over samples, heads and
        queries, the last one of weights that are normalised over text keys alone. Both float32 or better.
    """
    precise = torch.promote_types(query.dtype, torch.float32)
    shares = torch.empty(query.shape[0], query.shape[2], dtype=precise, device=query.device)
    magnitudes = torch.zeros(len(gammas) + 1, dtype=precise, device=query.device)
    for sample in range(len(query)):
        text, image = (key[sample].to(precise).transpose(-1, -2) for key in (text_key, image_key))
        for start in range(0, query.shape[2], SLICE):
            part = query[sample, :, start : start + SLICE].to(precise) / query.shape[-1] ** 0.5
            logits, image_sum = part @ text, (part @ image).logsumexp(-1, keepdim=True)
            # Eq. 10: gamma in the numerator and in the text's part of the denominator.
            weights = [
                (gamma * logits - torch.logaddexp((gamma * logits).logsumexp(-1, keepdim=True), image_sum)).exp()
                for gamma in gammas
            ]
            shares[sample, start : start + SLICE] = weights[0].sum(-1).mean(0)
            magnitudes += torch.stack([one.norm(dim=-1).sum() for one in (*weights, logits.softmax(-1))])
    return shares, magnitudes / query[..., 0].numel()


class Observed:
    """A method (see `taca.methods`) that measures attention in every step of one drawing; gamma acts in some.

    Args:
        samples: images of the batch. With guidance as many samples without a prompt come before them, which are passed
            over.
        others: gammas that are measured beside the one that acts, on the same queries and keys.
        gamma: acts in the steps of `acting`, counted from 0.

    Attributes:
        magnitudes: by (step, layer), those of `text_attention`: by what acts, by `others`, and by the text alone.
        maps: by step, the share of each image query (samples, N_vis), mean over layers and heads.
    """

    neutral = False

    def __init__(
        self, samples: int, others: Sequence[float] = (), gamma: float = 1.0, acting: Collection[int] = frozenset()
    ):
        self.samples, self.others, self.gamma, self.acting = samples, tuple(others), gamma, acting
        self.step = -1
        self.magnitudes: dict[tuple[int, int], list[float]] = {}
        self.sums: dict[int, torch.Tensor] = {}

    @property
    def maps(self) -> dict[int, torch.Tensor]:
        layers = 1 + max(layer for _, layer in self.magnitudes)
        return {step: total / layers for step, total in self.sums.items()}

    def keys(self, query: torch.Tensor, keys: Keys, layer: int) -> Keys:
        """The keys as they are, or those of text times gamma; a pass begins at the first layer."""
        if layer == 0:
            self.step += 1
        gamma = self.gamma if self.step in self.acting else 1.0
        conditional = (x[-self.samples :] for x in (query, keys.text, keys.image))
        shares, magnitudes = text_attention(*conditional, (gamma, *self.others))
        self.magnitudes[self.step, layer] = magnitudes.tolist()
        self.sums[self.step] = self.sums.get(self.step, 0) + shares.cpu()
        return keys if gamma == 1 else Keys(scale_text_keys(keys.text, gamma), keys.image)
