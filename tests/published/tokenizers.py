"""Tokenizers of the published classes and limits whose words are spelt letter by letter."""

import json
import string
from pathlib import Path

BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def write_clip_tokenizer(folder: Path, pad_token: str) -> None:
    """CLIP's as published, in files of its old format: its vocabulary without what merges build.

    The end token keeps the highest number, which is how the text encoders find the end of a prompt.
    """
    letters = _byte_letters()
    symbols = [*letters, *(letter + "</w>" for letter in letters), BOS, EOS]
    vocabulary = {symbol: number for number, symbol in enumerate(symbols)}
    special = {
        key: {"content": token, "lstrip": False, "normalized": token == BOS, "rstrip": False, "single_word": False}
        for key, token in (("bos_token", BOS), ("eos_token", EOS), ("pad_token", pad_token), ("unk_token", EOS))
    }
    config = {
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(vocabulary[entry["content"]]): {**entry, "special": True} for entry in special.values()
        },
        "bos_token": BOS,
        "clean_up_tokenization_spaces": True,
        "do_lower_case": True,
        "eos_token": EOS,
        "errors": "replace",
        "model_max_length": 77,
        "pad_token": pad_token,
        "tokenizer_class": "CLIPTokenizer",
        "unk_token": EOS,
    }
    folder.mkdir(parents=True)
    (folder / "merges.txt").write_text("#version: 0.2\n")
    _write(folder / "vocab.json", vocabulary)
    _write(folder / "special_tokens_map.json", special)
    _write(folder / "tokenizer_config.json", config)


def write_t5_tokenizer(folder: Path) -> None:
    """T5's as published, but for its 32,000 pieces and `spiece.model`, which holds them once more."""
    from transformers import T5TokenizerFast

    letters = [*sorted(string.ascii_letters + string.digits + string.punctuation)]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in letters)]
    T5TokenizerFast(vocab=pieces, model_max_length=512).save_pretrained(folder)


def _byte_letters() -> list[str]:
    """The letter that stands for each byte, printable ones first: the published vocabulary's first 256 entries."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(256 - len(printable))]


def _write(path: Path, document: dict) -> None:
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
