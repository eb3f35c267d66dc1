"""A real spaCy pipeline of a few thousand weights, installed under the name of the benchmark's model."""

from pathlib import Path

import spacy
from spacy.training import Example

VERSION = "0.1"
# Words, their universal parts of speech, heads and dependencies.
SENTENCES = [
    (
        ["a", "green", "bench", "and", "a", "blue", "bowl"],
        ["DET", "ADJ", "NOUN", "CCONJ", "DET", "ADJ", "NOUN"],
        [2, 2, 2, 2, 6, 6, 2],
        ["det", "amod", "ROOT", "cc", "det", "amod", "conj"],
    ),
    (
        ["The", "red", "hat", "is", "on", "top", "of", "the", "brown", "rack", "."],
        ["DET", "ADJ", "NOUN", "AUX", "ADP", "NOUN", "ADP", "DET", "ADJ", "NOUN", "PUNCT"],
        [2, 2, 3, 3, 3, 4, 5, 9, 9, 6, 3],
        ["det", "amod", "nsubj", "ROOT", "prep", "pobj", "prep", "det", "amod", "pobj", "punct"],
    ),
]
TOK2VEC = {
    "@architectures": "spacy.HashEmbedCNN.v2",
    "pretrained_vectors": None,
    "width": 32,
    "depth": 1,
    "embed_size": 200,
    "window_size": 1,
    "maxout_pieces": 2,
    "subword_features": True,
}


def install(site: Path) -> None:
    """Puts the package en_core_web_sm into the folder `site`, as its wheel would."""
    nlp = train()
    package, info = site / "en_core_web_sm", site / f"en_core_web_sm-{VERSION}.dist-info"
    package.mkdir()
    nlp.to_disk(package / f"en_core_web_sm-{VERSION}")
    (package / "meta.json").write_text((package / f"en_core_web_sm-{VERSION}" / "meta.json").read_text())
    (package / "__init__.py").write_text(
        "from spacy.util import load_model_from_init_py\n\n\n"
        "def load(**overrides):\n    return load_model_from_init_py(__file__, **overrides)\n"
    )
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: en-core-web-sm\nVersion: {VERSION}\n")


def train() -> spacy.Language:
    """Learns `SENTENCES` by heart, in a second."""
    spacy.util.fix_random_seed(0)
    nlp = spacy.blank("en")
    nlp.meta |= {"name": "core_web_sm", "version": VERSION}
    nlp.add_pipe("morphologizer", config={"model": {"tok2vec": TOK2VEC}})
    # A parser leaves out what it has seen fewer times than `min_action_freq`.
    nlp.add_pipe("parser", config={"model": {"tok2vec": TOK2VEC}, "min_action_freq": 1})
    examples = [
        Example.from_dict(nlp.make_doc(" ".join(words)), {"words": words, "pos": pos, "heads": heads, "deps": deps})
        for words, pos, heads, deps in SENTENCES
    ]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(40):
        nlp.update(examples, sgd=optimizer)
    return nlp
