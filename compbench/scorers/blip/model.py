"""BLIP for visual question answering, as far as the probability of "yes" against "no" needs it.

It is no wrapper of transformers' BLIP, whose cross-attention (5.23) loses its mask, so that the answer to a question
that was padded in a batch is another one, and which projects an image's 901 tokens again for every question.
"""

import torch
import torch.nn.functional as F
from torch import nn

from compbench.scorers.blip.config import BlipConfig
from compbench.scorers.blip.text import NORM_EPS, Bert
from compbench.scorers.blip.tokenizer import DECODE, NO, YES
from compbench.scorers.blip.vision import VisionTransformer


class BlipVqa(nn.Module):
    """An image encoder, a question encoder that reads the image, and an answer decoder that reads the question.

    Modules are named as in the published checkpoint.
    """

    def __init__(self, config: BlipConfig):
        super().__init__()
        self.config = config
        self.visual_encoder = VisionTransformer(config)
        self.text_encoder = Bert(config)
        self.text_decoder = AnswerDecoder(config)

    def yes_probability(self, image_states: torch.Tensor, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """P(yes) / (P(yes) + P(no)) of the first word of the answer, in [0, 1], shape (questions,), float32.

        Args:
            image_states: what `visual_encoder` gives for the image of each question, (questions, image tokens, width).
            input_ids, mask: the questions, as `QuestionTokenizer` gives them.
        """
        question_states = self.text_encoder(input_ids, mask, image_states)
        yes, no = self.text_decoder(question_states, mask).float().unbind(-1)
        # The sum of the softmax over all words cancels in the ratio: two logits are enough.
        return torch.sigmoid(yes - no)


class AnswerDecoder(nn.Module):
    """Reads a question's hidden states by one token, the answer's start."""

    def __init__(self, config: BlipConfig):
        super().__init__()
        self.bert = Bert(config)
        self.cls = nn.ModuleDict({"predictions": WordPrediction(config)})

    def forward(self, question_states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logits of "yes" and "no", (questions, 2)."""
        start = mask.new_full((len(mask), 1), DECODE, dtype=torch.long)
        hidden_states = self.bert(start, None, question_states, mask)[:, 0]
        words = self.bert.embeddings.word_embeddings.weight
        return self.cls["predictions"](hidden_states, words, [YES, NO])


class WordPrediction(nn.Module):
    """BERT's prediction of a word, whose output weights are the word embeddings."""

    def __init__(self, config: BlipConfig):
        super().__init__()
        width = config.hidden_size
        self.transform = nn.ModuleDict(
            {"dense": nn.Linear(width, width), "LayerNorm": nn.LayerNorm(width, eps=NORM_EPS)}
        )
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden_states: torch.Tensor, words: torch.Tensor, ids: list[int]) -> torch.Tensor:
        """Logits (B, len(ids)) of the words `ids` out of `words` (vocabulary, width)."""
        transformed = self.transform["LayerNorm"](F.gelu(self.transform["dense"](hidden_states)))
        return F.linear(transformed, words[ids], self.bias[ids])
