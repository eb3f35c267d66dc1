"""Which of a detector's labels stand for the noun of a prompt: as the benchmark has it, and as it should be.

The benchmark (Huang et al., 2023, arXiv 2307.06350) asks UniDet (Zhou et al., 2022, arXiv 2102.13086), whose unified
label space was learned from three data sets. A label there can hold several names ("cattle, cow", "pen, pen/pencil"),
and a number keeps two things with one name apart ("mouse1", the animal, and "mouse2, mouse", the computer's). The
benchmark compares nouns with whole labels, so that no cow is ever found.
"""

import re
from functools import cache

# The benchmark asks for a person where a prompt has one of these.
PERSONS = frozenset({"boy", "girl", "man", "woman"})
PERSON = "person"

# Other names of what a noun means, where the label space uses those. A noun whose own name is there needs none, unless
# the label space has a second name for the same thing; kinds are listed only where the noun has no label of its own
# that a detector would prefer. There is none for "wallet": nothing in the label space is one.
SYNONYMS = {
    # What has no label under its own name.
    "sofa": ("couch", "loveseat", "studio couch", "sofa bed"),
    "phone": ("mobile phone", "cell phone", "telephone", "corded phone"),
    "bag": ("handbag", "backpack", "plastic bag", "luggage and bags"),
    "painting": ("picture",),
    "computer": ("laptop", "computer monitor", "computer box"),
    "plant": ("houseplant", "potted plant"),
    "rug": ("carpet",),
    "pants": ("trousers",),
    "armchair": ("chair",),
    "bookshelf": ("bookcase", "shelf"),
    "counter": ("countertop",),
    "duckling": ("duck",),
    # What the label space has under two names, or splits into kinds that leave the noun itself little.
    "table": ("coffee table", "dining table", "kitchen & dining room table", "desk"),
    "television": ("tv",),
    "microwave": ("microwave oven",),
    # The benchmark counts these as the wider thing; their own labels exist as well.
    "ship": ("boat",),
    "goldfish": ("fish",),
    # A detector may name a person by age and sex or not.
    **dict.fromkeys(sorted(PERSONS), (PERSON,)),
    PERSON: tuple(sorted(PERSONS)),
}

_IRREGULAR = {
    **{"mice": "mouse", "men": "man", "women": "woman", "people": "person", "children": "child", "geese": "goose"},
    **{"knives": "knife", "leaves": "leaf", "shelves": "shelf", "scarves": "scarf", "loaves": "loaf", "feet": "foot"},
    **{"cookies": "cookie", "ties": "tie", "pies": "pie", "buses": "bus", "shoes": "shoe"},
    "glasses": "glasses",  # worn, not drunk from: no plural of "glass"
}
_PLURALS = (
    (re.compile(r"(?<=..)ies$"), "y"),
    (re.compile(r"(?<=ss|sh|ch)es$|(?<=[xzo])es$"), ""),
    (re.compile(r"(?<=[^su])s$"), ""),
)


def as_person(noun: str) -> str:
    """What the benchmark asks for: "person" for one of `PERSONS`, every other noun as it is."""
    return PERSON if noun in PERSONS else noun


def singular(noun: str) -> str:
    """The singular of the last word of an English noun by the common rules; a singular stays as it is."""
    *words, last = noun.split()
    return " ".join([*words, _singular_word(last)])


@cache
def names(label: str) -> frozenset[str]:
    """The things that a label stands for, in the singular: cattle and cow for "cattle, cow", mouse for "mouse1"."""
    parts = (part.strip().rstrip("0123456789") for part in re.split("[,/]", label.lower()))
    return frozenset(singular(part) for part in parts if part)


@cache
def wanted_names(noun: str) -> frozenset[str]:
    """What a noun of a prompt may be called in a label: its singular and the synonyms of that."""
    own = singular(noun.lower())
    return frozenset({own, *(singular(name) for word in (noun.lower(), own) for name in SYNONYMS.get(word, ()))})


def stands_for(label: str, noun: str) -> bool:
    """Whether an object with this label is what `noun` asks for; whole names are compared, never parts of words."""
    return not names(label).isdisjoint(wanted_names(noun))


def _singular_word(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    for ending, replacement in _PLURALS:
        if ending.search(word):
            return ending.sub(replacement, word)
    return word
