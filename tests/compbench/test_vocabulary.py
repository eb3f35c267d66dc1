"""Which labels stand for which nouns in corrected mode."""

import pytest

from compbench.scorers.vocabulary import names, singular, stands_for

# As UniDet's label space has them.
LABELS = """mouse1; mouse2, mouse; cattle, cow; table, desk; desk; coffee table; dining table; tennis racket; couch;
loveseat, couch; mobile phone, cell phone; corded phone, telephone; telephone; phone booth; microphone; saxophone;
headphones; handbag; backpack; plastic bag; luggage and bags; cabbage; suitcase; picture, frame; laptop;
computer monitor; computer keyboard, keyboard; tv; television; person; man; woman; girl; boy; personal care; key;
monkey; turkey, chicken; chicken; bee; beer; cup; cupboard; car; carrot; cat; scarf; boat; barge, ship; fish; goldfish;
pen, pen/pencil; bread/bun; bread; glasses; wine glass; trousers; carpet; houseplant, potted plant; boot; boots;
tissue ; bench; bench1; grape, grapes""".replace("\n", " ").split("; ")


def found(noun: str) -> set[str]:
    return {label.strip() for label in LABELS if stands_for(label, noun)}


@pytest.mark.parametrize(
    ("noun", "labels"),
    [
        ("mouse", {"mouse1", "mouse2, mouse"}),
        ("cow", {"cattle, cow"}),
        ("table", {"table, desk", "desk", "coffee table", "dining table"}),
        ("desk", {"table, desk", "desk"}),
        ("sofa", {"couch", "loveseat, couch"}),
        ("phone", {"mobile phone, cell phone", "corded phone, telephone", "telephone"}),
        ("bag", {"handbag", "backpack", "plastic bag", "luggage and bags"}),
        ("painting", {"picture, frame"}),
        ("computer", {"laptop", "computer monitor"}),
        ("wallet", set()),
        ("television", {"tv", "television"}),
        ("girl", {"girl", "person"}),
        ("person", {"person", "man", "woman", "girl", "boy"}),
        ("key", {"key"}),
        ("chicken", {"chicken", "turkey, chicken"}),
        ("bee", {"bee"}),
        ("cup", {"cup"}),
        ("car", {"car"}),
        ("cat", {"cat"}),
        ("ship", {"boat", "barge, ship"}),
        ("boat", {"boat"}),
        ("goldfish", {"fish", "goldfish"}),
        ("fish", {"fish"}),
        ("pen", {"pen, pen/pencil"}),
        ("pencil", {"pen, pen/pencil"}),
        ("bread", {"bread", "bread/bun"}),
        ("glass", set()),
        ("glasses", {"glasses"}),
        ("pants", {"trousers"}),
        ("rug", {"carpet"}),
        ("plant", {"houseplant, potted plant"}),
        ("boots", {"boot", "boots"}),
        ("Grapes", {"grape, grapes"}),
        ("tissue", {"tissue"}),
        ("bench", {"bench", "bench1"}),
    ],
)
def test_nouns_find_the_labels_that_mean_them_and_no_others(noun, labels):
    assert found(noun) == labels


@pytest.mark.parametrize(
    ("plural", "expected"),
    [
        ("mice", "mouse"),
        ("people", "person"),
        ("knives", "knife"),
        ("butterflies", "butterfly"),
        ("couches", "couch"),
        ("boxes", "box"),
        ("tomatoes", "tomato"),
        ("vases", "vase"),
        ("horses", "horse"),
        ("hot air balloons", "hot air balloon"),
        ("bus", "bus"),
        ("glass", "glass"),
        ("sheep", "sheep"),
    ],
)
def test_plurals_become_singular_and_singulars_stay(plural, expected):
    assert singular(plural) == expected
    assert singular(expected) == expected


def test_every_plural_of_the_benchmark_becomes_its_singular():
    from compbench.parsing.numeracy import benchmark_nouns

    for plural, noun in benchmark_nouns().singular_of.items():
        assert singular(plural) == singular(noun) == noun


def test_a_label_has_the_names_between_its_commas_and_slashes():
    assert names("pen, pen/pencil") == {"pen", "pencil"}
    assert names("mouse2, mouse") == {"mouse"}
    assert names("tissue ") == {"tissue"}
