"""Parses from files, from the tagger that is installed, and from the program that `make parse` runs."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import spacy
import tiny_tagger

from compbench.errors import CompbenchError
from compbench.parsing import (
    OFFICIAL_PARSER,
    Parse,
    Tagged,
    describe_parser,
    is_official,
    make_parses,
    parse_prompts,
    tagger,
)
from compbench.parsing.files import find_parses, read_parses
from compbench.val_prompts import read_compbench_prompts

HERE = Path(__file__).parent
PARSER = f"spacy {spacy.__version__} en_core_web_sm {tiny_tagger.VERSION}"
TEXT = "The red hat is on top of the brown rack ."
TAGGED = Tagged(
    TEXT,
    tuple(tiny_tagger.SENTENCES[1][0]),
    tuple(tiny_tagger.SENTENCES[1][1]),
    ("The red hat", "top", "the brown rack"),
    PARSER,
)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder of packages that holds a tiny model under the benchmark's model's name."""
    folder = tmp_path_factory.mktemp("site")
    tiny_tagger.install(folder)
    return folder


@pytest.fixture
def installed(site, monkeypatch):
    """The tiny model is installed, before any other of its name."""
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "en_core_web_sm", raising=False)
    yield
    sys.modules.pop("en_core_web_sm", None)


@pytest.mark.long
def test_the_installed_tagger_tags(installed):
    """Tokens, parts of speech and noun chunks as they stand, with the versions of package and model."""
    assert tagger.tag([TEXT]) == [TAGGED]


def test_prompts_are_parsed_by_the_installed_tagger(installed):
    """A complex prompt has its objects, relation, text for CLIP and subset."""
    assert parse_prompts([TEXT], "complex", "spacy") == [
        Parse(
            PARSER,
            phrases=("The red hat", "top", "the brown rack"),
            objects=("hat", "rack"),
            relation="on top of",
            count=2,
            clip_text="The hat is on top of the rack .",
            subset="spatialaction",
        )
    ]


@pytest.mark.skipif(importlib.util.find_spec("en_core_web_sm") is not None, reason="the model is installed")
def test_a_missing_model_is_named_with_the_one_command():
    """spaCy alone cannot tag."""
    with pytest.raises(CompbenchError, match="en_core_web_sm, which are not installed here: run `make parse`"):
        tagger.tag([TEXT])


def test_missing_spacy_is_named_with_the_one_command(monkeypatch):
    """Where spaCy is absent, so is what it imports."""
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(CompbenchError, match=r"needs spaCy and its model .* run `make parse`"):
        tagger.tag([TEXT])


@pytest.mark.long
def test_make_parses_writes_what_the_tagger_says(site, tmp_path):
    """The program imports nothing of this project, and its file gives the same parses as the tagger here."""
    assert "from taca" not in Path(make_parses.__file__).read_text()
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    (prompts / "complex_val.txt").write_bytes(TEXT.encode() + b"\r\na green bench and a blue bowl\r\n")
    (prompts / "color_train.txt").write_text("a green bench and a blue bowl")
    (prompts / "color_val_unseen.txt").write_text("not read")
    output = tmp_path / "parses" / "mine.jsonl"
    done = subprocess.run(
        [sys.executable, "-P", make_parses.__file__, prompts, output],
        env={**os.environ, "PYTHONPATH": str(site)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{output}: 2 prompts\n"
    assert [path.name for path in output.parent.iterdir()] == ["mine.jsonl"]
    assert find_parses(output, [TEXT]) == [TAGGED]
    assert list(read_parses(output)) == ["a green bench and a blue bowl", TEXT]
    assert parse_prompts([TEXT], "complex", str(output))[0].objects == ("hat", "rack")


def test_make_parses_refuses_a_folder_without_prompts(tmp_path, monkeypatch):
    """Nothing is written."""
    monkeypatch.setattr(sys, "argv", ["make_parses.py", str(tmp_path), str(tmp_path / "out" / "none.jsonl")])
    with pytest.raises(SystemExit) as caught:
        make_parses.main()
    assert caught.value.code == (
        f"{tmp_path} holds no prompts; PROMPTS must be a folder with <category>_val.txt or _train.txt files."
    )
    assert not (tmp_path / "out").exists()


def test_a_prompt_without_a_parse_is_named():
    """The message names the prompt, the file and the command."""
    path = HERE / "parses.jsonl"
    with pytest.raises(CompbenchError) as caught:
        parse_prompts(["two dogs", "a purple cow"], "color", str(path))
    assert str(caught.value).startswith(f"{path} holds no parse of the prompt 'a purple cow'")
    assert "run `make parse" in str(caught.value)


def test_a_missing_parses_file_is_named(tmp_path):
    """A misspelt parser is taken for a path, so the message says what else may stand there."""
    with pytest.raises(CompbenchError, match=r"The parses file rulez cannot be read .* must be rules, spacy, or"):
        parse_prompts(["two dogs"], "numeracy", "rulez")


@pytest.mark.parametrize(
    ("prompt", "category", "counted"),
    [("The cat watches the rain", "non_spatial", {}), ("two dogs", "numeracy", {"dog": 2})],
)
def test_what_no_tagger_says_needs_none(monkeypatch, tmp_path, prompt, category, counted):
    """Neither an installed one nor a prompt in a file; the result does not rest on one."""
    monkeypatch.setitem(sys.modules, "spacy", None)
    (tmp_path / "others.jsonl").write_text("")
    for parser in ("spacy", "spacy-3.6", str(tmp_path / "others.jsonl")):
        (found,) = parse_prompts([prompt], category, parser)
        assert dict(zip(found.objects, found.counts, strict=True)) == counted
    assert describe_parser(found.parser) == "no tagger"
    assert is_official(found.parser)
    with pytest.raises(CompbenchError, match="The parser spacy needs spaCy"):
        parse_prompts([prompt], "color", "spacy")


def test_words_are_counted_alike_with_and_without_a_tagger():
    """In all of the benchmark's own prompts: the tagger's tokens are the words and marks that stand there."""
    for split in ("val", "train"):
        prompts = read_compbench_prompts("numeracy", split)
        tagged, simple = (parse_prompts(prompts, "numeracy", parser) for parser in ("spacy-3.6", "rules"))
        assert [(one.objects, one.counts) for one in tagged] == [(one.objects, one.counts) for one in simple]


GOOD = {"text": "two dogs", "tokens": ["two", "dogs"], "pos": ["NUM", "NOUN"], "noun_chunks": [], "parser": "by hand"}


@pytest.mark.parametrize(
    "line",
    ["", "[]", json.dumps(GOOD | {"pos": ["NUM"]}), json.dumps(GOOD | {"more": 1}), '{"text": "two dogs"}', '{"text"'],
)
def test_a_damaged_line_is_named(tmp_path, line):
    """A line that is cut, lacks a field, or has a token without a part of speech."""
    path = tmp_path / "parses.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + line + "\n")
    with pytest.raises(CompbenchError, match=r"Line 2 of .* is no parse .* run `make parse` again"):
        read_parses(path)


@pytest.mark.parametrize(
    ("parser", "official", "described"),
    [
        ("spacy 3.5.3 en_core_web_sm 3.5.0", True, "spacy 3.5.3 en_core_web_sm 3.5.0"),
        ("spacy 3.8.7 en_core_web_sm 3.8.0", False, "spacy 3.8.7 en_core_web_sm 3.8.0: not the official parser"),
        ("rules", False, "rules: not the official parser"),
        ("world", False, "world"),
    ],
)
def test_only_the_benchmarks_versions_are_the_official_parser(parser, official, described):
    """Other versions and simple rules are labelled; the world's prompts never had a tagger's parse."""
    assert is_official(parser) is official
    assert describe_parser(parser) == described
    assert is_official(OFFICIAL_PARSER)
