"""Tokenizers that hold every word and phrase of the world as one token, and single letters for any other text."""

import json
import string

from tokenizers import Tokenizer as Trained
from tokenizers import models, pre_tokenizers, trainers
from transformers import CLIPTokenizer, T5TokenizerFast

_LETTERS = string.ascii_lowercase + string.digits + string.punctuation
BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def clip_tokenizer(words: list[str], phrases: list[str], max_length: int) -> CLIPTokenizer:
    """Byte-pair tokenizer of CLIP's class: special tokens, letters, merges that build each word, then phrases."""
    learner = Trained(models.BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = pre_tokenizers.Whitespace()
    alphabet = sorted(_LETTERS)
    trainer = trainers.BpeTrainer(
        vocab_size=10_000,
        min_frequency=1,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        # Numbered in advance: the trainer meets words in random order, and equal counts are decided by number.
        special_tokens=[letter + end for end in ("", "</w>") for letter in alphabet],
        show_progress=False,
    )
    learner.train_from_iterator([" ".join(words)], trainer)
    state = json.loads(learner.to_str())["model"]
    symbols = [BOS, EOS, *alphabet, *(letter + "</w>" for letter in alphabet)]
    merges = [tuple(pair) for pair in state["merges"]]
    symbols += ["".join(pair) for pair in merges]
    vocab = {symbol: i for i, symbol in enumerate(dict.fromkeys(symbols))}
    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=max_length, pad_token=EOS)
    tokenizer.add_tokens(phrases)
    return tokenizer


def t5_tokenizer(words: list[str], phrases: list[str], max_length: int) -> T5TokenizerFast:
    """Unigram tokenizer of T5's class: a word of the world always beats the letters that spell it."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -4.0)]
    pieces += [(letter, -10.0) for letter in sorted(_LETTERS)]
    pieces += [("▁" + word, -1.0) for word in words]
    arguments = {"extra_ids": 0, "additional_special_tokens": [], "model_max_length": max_length}
    tokenizer = T5TokenizerFast(vocab=pieces, **arguments)
    tokenizer.add_tokens(phrases)
    return tokenizer
