"""Prompt files and parses as people and their editors write them."""

import json

import pytest

from compbench.errors import CompbenchError
from compbench.parsing.files import read_parses
from compbench.parsing.make_parses import read_prompts
from compbench.prompt_source import read_source
from compbench.prompts import MAX_BYTES, numbered, read_folder
from compbench.text import decode, prompt_lines

SPOKEN = ["a red car", "a b\u2028lue car", "a\x85car", "a\x0bcar", "a\x0ccar", "a\x1ccar", "ein rotes Auto, größer"]
ENDS = {"LF": "\n", "CRLF": "\r\n", "CR": "\r"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "color_val.txt"


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b"\xef\xbb\xbf" * 2])
@pytest.mark.parametrize("last", [True, False])
def test_lines_end_at_line_ends_alone(path, end, mark, last):
    """With a byte order mark or two, with and without the last line's end."""
    path.write_bytes(mark + (ENDS[end].join(SPOKEN) + (ENDS[end] if last else "")).encode())
    assert prompt_lines(path) == SPOKEN
    assert read_prompts(path.parent) == SPOKEN
    rows = read_folder(path.parent, "val", len(SPOKEN), ["color"])
    assert [row["prompt"] for row in rows] == SPOKEN
    by_category, _ = read_source(str(path), ["color"], "rules")
    assert [prompt.prompt for prompt in by_category["color"]] == SPOKEN


def test_a_mark_between_files_that_were_joined_is_left_out(path):
    path.write_bytes("\ufeffa red car\n\ufeffa blue car\n".encode())
    assert prompt_lines(path) == read_prompts(path.parent) == ["a red car", "a blue car"]


def test_blank_lines_are_no_prompts(path):
    path.write_text("a red car\n\n \u3000\n\u200b\n\u2028\na blue car\n\n")
    assert prompt_lines(path) == ["a red car", "a blue car"]


def test_a_mark_does_not_hide_an_unseen_prompt(path):
    path.write_bytes("\ufeffa red car\n".encode())
    path.with_name("color_val_unseen.txt").write_bytes("\ufeffa red car\r\n".encode())
    assert read_folder(path.parent, "val", 1, ["color"])[0]["unseen"]


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252", "shift-jis", "gbk", "iso-2022-jp"]
)
def test_another_encoding_is_refused_in_one_sentence(path, encoding):
    text = "a car\nein größeres Auto\n" if encoding in ("latin-1", "cp1252") else "a car\n赤い椅子\n"
    path.write_bytes(text.encode(encoding))
    for read in (prompt_lines, lambda path: read_folder(path.parent, "val", 1, ["color"])):
        with pytest.raises(CompbenchError, match=r"color_val\.txt is not in UTF-8 \(line \d") as caught:
            read(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(CompbenchError, match=r"color_val\.txt is not in UTF-8 .*--prompts must be"):
        read_source(str(path), ["color"], "rules")


def test_the_parsers_program_refuses_another_encoding_too(path):
    path.write_bytes("größer".encode("latin-1"))
    with pytest.raises(SystemExit, match=r"color_val\.txt is not in UTF-8"):
        read_prompts(path.parent)


def test_what_macos_leaves_beside_a_prompt_file_is_none(path):
    path.write_text("a red car\n")
    path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X \xb0")
    assert read_prompts(path.parent) == ["a red car"]


def test_the_line_of_the_first_fault_is_named(path):
    with pytest.raises(CompbenchError, match=r"line 3 has the byte 0xfc"):
        decode(b"a\nb\nm\xfcde\n", path)
    with pytest.raises(CompbenchError, match=r"line 2 has the control character 0x00, as text in UTF-16 has"):
        decode(b"a\nb\0\n", path)


def test_a_folder_in_a_files_place_is_refused(path):
    path.mkdir()
    with pytest.raises(CompbenchError, match=r"color_val\.txt cannot be read"):
        read_folder(path.parent, "val", 1, ["color"])


@pytest.mark.parametrize("prompt", ["a" * 245, "é" * 123, "赤い椅子" * 21, "🦊" * 62, "a\0b", "a/b", "a_b"])
def test_a_prompt_that_cannot_be_a_file_name_is_refused_when_it_is_read(path, prompt):
    with pytest.raises(CompbenchError, match=r"cannot be part of an image's file name: .* 244 bytes in UTF-8"):
        numbered([{"prompt": prompt}])
    path.write_text(f"a red car\n{prompt}\n")
    with pytest.raises(CompbenchError, match=r"cannot be part of an image's file name|is not in UTF-8"):
        read_folder(path.parent, "val", 2, ["color"])


@pytest.mark.parametrize("prompt", ["a" * 244, "é" * 122, "🦊" * 61, "a. b.", "a\\b: c?"])
def test_a_prompt_that_just_fits_can_be_a_file(tmp_path, prompt):
    assert len(prompt.encode()) <= MAX_BYTES
    numbered([{"prompt": prompt}])
    (tmp_path / f"{prompt}_000000.png").write_bytes(b"")


PARSE = {"text": "two dogs", "tokens": ["two", "dogs"], "pos": ["NUM", "NOUN"], "noun_chunks": [], "parser": "by hand"}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_parses_have_marks_and_line_ends_of_any_system(tmp_path, end, mark):
    """And characters such as U+2028 as they are, which JSON need not escape."""
    texts = ["two dogs", "two\u2028dogs", "two\x85dogs"]
    lines = [json.dumps(PARSE | {"text": text}, ensure_ascii=False) for text in texts]
    (tmp_path / "parses.jsonl").write_bytes(mark + "".join(line + ENDS[end] for line in lines).encode())
    assert list(read_parses(tmp_path / "parses.jsonl")) == texts


def test_parses_in_another_encoding_are_refused(tmp_path):
    (tmp_path / "parses.jsonl").write_bytes(json.dumps(PARSE).encode("utf-16"))
    with pytest.raises(CompbenchError, match=r"parses\.jsonl is not in UTF-8"):
        read_parses(tmp_path / "parses.jsonl")


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": 5},
        {"tokens": [1, "dogs"]},
        {"tokens": "ab", "pos": "XY"},
        {"noun_chunks": [None]},
        {"noun_chunks": ["\ud83e"]},
        {"parser": None},
        "[" * 99999,
    ],
)
def test_a_parse_of_other_than_words_is_named(tmp_path, wrong):
    (tmp_path / "parses.jsonl").write_text(wrong if isinstance(wrong, str) else json.dumps(PARSE | wrong))
    with pytest.raises(CompbenchError, match=r"Line 1 of .* is no parse"):
        read_parses(tmp_path / "parses.jsonl")


def test_a_prompt_is_parsed_in_one_way(tmp_path):
    """Files that were joined may have a prompt twice, of two parsers."""
    same, other = json.dumps(PARSE), json.dumps(PARSE | {"pos": ["DET", "NOUN"]})
    (tmp_path / "parses.jsonl").write_text(f"{same}\n{same}\n")
    assert len(read_parses(tmp_path / "parses.jsonl")) == 1
    (tmp_path / "parses.jsonl").write_text(f"{same}\n{other}\n")
    with pytest.raises(CompbenchError, match=r"Line 2 of .* is a second parse of 'two dogs': keep one"):
        read_parses(tmp_path / "parses.jsonl")
