"""Methods that find gamma themselves: from the numbers of tokens, or from how much attention the text gets."""

from collections import Counter
from dataclasses import dataclass, field
from math import log

import torch

from taca.attention import scale_text_keys
from taca.methods import Keys, check_seed

# The paper's gamma, and the ratio of image to text tokens of FLUX.1 at 1024 x 1024, for which it was chosen.
PAPERS_GAMMA, PAPERS_RATIO = 1.2, 8.0
LARGEST = 4.0
QUERIES = 256
HALVINGS = 50


def ratio_gamma(image_tokens: int, text_tokens: int) -> float:
    """max(1, 1 + 0.2 ln(N_vis / N_txt) / ln 8): as much more than 1 as image tokens are more, and the paper's at 8."""
    return max(1.0, 1 + (PAPERS_GAMMA - 1) * log(image_tokens / text_tokens) / log(PAPERS_RATIO))


@dataclass(frozen=True)
class RatioRule:
    """TACA with the gamma of `ratio_gamma`."""

    @property
    def neutral(self) -> bool:
        return False

    def keys(self, query: torch.Tensor, keys: Keys, layer: int) -> Keys:
        gamma = ratio_gamma(keys.image.shape[2], keys.text.shape[2])
        return Keys(keys.text if gamma == 1 else scale_text_keys(keys.text, gamma), keys.image)


@dataclass(frozen=True)
class MassRule:
    """TACA with a gamma for each sample, layer, head and step that gives the text a target share of the attention.

    The target is the share that adding ln(N_vis / N_txt) / 2 to the text logits would give, on average over up to
    `QUERIES` image queries. A head for which no gamma from 1 to 4 reaches it keeps 1.

    Attributes:
        seed: of the choice of queries.
        heads: how many heads had a solution and how many had none, so far: "solved" and "unsolved".

    Raises: TacaError: a seed that is no whole number.
    """

    seed: int
    heads: Counter = field(default_factory=Counter, compare=False, hash=False)

    def __post_init__(self):
        check_seed(self.seed)

    @property
    def neutral(self) -> bool:
        return False

    def keys(self, query: torch.Tensor, keys: Keys, layer: int) -> Keys:
        chosen = torch.randperm(query.shape[2], generator=torch.Generator().manual_seed(self.seed))[:QUERIES]
        gamma, solved = mass_gamma(
            query.detach()[:, :, chosen.to(query.device)], keys.text.detach(), keys.image.detach()
        )
        count = int(solved.sum())
        self.heads.update(solved=count, unsolved=solved.numel() - count)
        return Keys(scale_text_keys(keys.text, gamma), keys.image)


@torch.no_grad()
def mass_gamma(
    query: torch.Tensor, text_key: torch.Tensor, image_key: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gamma of `MassRule` by bisection, and whether there is one; both (B, H, 1, 1), gamma 1 where there is none.

    Args:
        query: some image queries (B, H, Q, D).
        text_key, image_key: (B, H, N, D).
    """
    precise = torch.promote_types(query.dtype, torch.float32)
    query = query.to(precise) / query.shape[-1] ** 0.5
    text, image = (query @ key.to(precise).transpose(-1, -2) for key in (text_key, image_key))
    image = image.logsumexp(-1)

    def mass(gamma: torch.Tensor, added: float = 0.0) -> torch.Tensor:
        """Mean attention to the text, (B, H, 1, 1)."""
        sums = (gamma * text).logsumexp(-1) + added
        return torch.sigmoid(sums - image).mean(-1)[..., None, None]

    low = torch.ones(*query.shape[:2], 1, 1, dtype=precise, device=query.device)
    high = torch.full_like(low, LARGEST)
    due = mass(low, log(image_key.shape[2] / text_key.shape[2]) / 2)
    solved = (mass(low) <= due) & (due <= mass(high))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        enough = mass(middle) >= due
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    return torch.where(solved, high, 1.0), solved
