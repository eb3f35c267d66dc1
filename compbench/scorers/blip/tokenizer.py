"""BERT's lower-case tokens for questions, with BLIP's own token in front."""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from compbench.errors import CompbenchError

DECODE, ENCODE = 30522, 30523  # BLIP's [DEC] and [ENC] follow BERT's own tokens
YES, NO = 2748, 2053
MAX_LENGTH = 35  # tokens of a question
_KNOWN = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "no": NO, "yes": YES}


class QuestionTokenizer:
    """Questions as ids, padded to the longest among them."""

    def __init__(self, vocabulary: dict[str, int]):
        """Args: vocabulary: bert-base-uncased's token -> id."""
        self._tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
        self._tokenizer.normalizer = BertNormalizer(lowercase=True)
        self._tokenizer.pre_tokenizer = BertPreTokenizer()
        self._tokenizer.post_processor = TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
        )
        self._tokenizer.enable_truncation(MAX_LENGTH)
        self._tokenizer.enable_padding(pad_id=vocabulary["[PAD]"], pad_token="[PAD]")

    @classmethod
    def from_file(cls, path: Path) -> "QuestionTokenizer":
        """From bert-base-uncased's `vocab.txt`.

        Raises: CompbenchError when the file is missing or another vocabulary.
        """
        if not path.is_file():
            raise CompbenchError(f"{path} does not exist: put bert-base-uncased's vocab.txt there.")
        with path.open(encoding="utf-8") as lines:
            vocabulary = {line.rstrip("\n"): number for number, line in enumerate(lines)}
        if len(vocabulary) != DECODE or any(vocabulary.get(token) != number for token, number in _KNOWN.items()):
            raise CompbenchError(
                f"{path} is not bert-base-uncased's vocabulary of {DECODE} tokens, in which `yes` is {YES} and `no` "
                f"{NO}: replace it with that model's vocab.txt."
            )
        return cls(vocabulary)

    def __call__(self, questions: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask (True for what is no padding), both of shape (questions, longest)."""
        encodings = self._tokenizer.encode_batch(questions)
        input_ids = torch.tensor([encoding.ids for encoding in encodings])
        # BLIP's question encoder was trained with its own token in the place of [CLS].
        input_ids[:, 0] = ENCODE
        return input_ids, torch.tensor([encoding.attention_mask for encoding in encodings], dtype=torch.bool)
