"""Text that people wrote: UTF-8, with or without a byte order mark, with the line ends of any system."""

from pathlib import Path

from compbench.errors import CompbenchError

MARK = "\ufeff"
# Text in UTF-16 and in ISO-2022 can be decoded as UTF-8, but is full of the one or the other.
FOREIGN = {"\0": "UTF-16", "\x1b": "ISO-2022"}

# Printable characters that show nothing: Default_Ignorable_Code_Point of Unicode, and an empty Braille cell.
UNSEEN = {0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0}
UNSEEN |= {*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}


def read_text(path: Path) -> str:
    """The whole text, without its byte order mark.

    Raises:
        CompbenchError: the file cannot be read, or is in another encoding.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CompbenchError(f"The file {path} cannot be read ({error.strerror}): give one that can.") from None
    return decode(content, path)


def decode(content: bytes, path: Path) -> str:
    """The text of a file's `content`; `path` is named in errors. Raises: CompbenchError for another encoding."""
    try:
        text = content.decode("utf-8").lstrip(MARK)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        reason = f"line {line} has the byte 0x{content[error.start]:02x} where none may be"
        raise CompbenchError(f"The file {path} is not in UTF-8 ({reason}): save it in UTF-8.") from None
    for character, encoding in FOREIGN.items():
        if character in text:
            line = text.count("\n", 0, text.index(character)) + 1
            reason = f"line {line} has the control character 0x{ord(character):02x}, as text in {encoding} has"
            raise CompbenchError(f"The file {path} is not in UTF-8 ({reason}): save it in UTF-8.")
    return text


def split_lines(text: str) -> list[str]:
    """The lines, ended by LF, CRLF or CR alone: `str.splitlines` ends one at U+2028, U+0085 and five more too.

    A byte order mark at a line's start is left out: files that were joined have one.
    """
    return [line.removeprefix(MARK) for line in unify_ends(text).split("\n")]


def unify_ends(text: str) -> str:
    """The text with LF in the place of CRLF and CR."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def prompt_lines(path: Path) -> list[str]:
    """The prompts of a text file that has one a line; blank lines are none. Raises what `read_text` raises."""
    return [line.strip() for line in split_lines(read_text(path)) if not is_blank(line)]


def is_blank(text: str) -> bool:
    """Whether nothing of it can be seen: no characters, or spaces, line ends and invisible ones alone."""
    return not any(one.isprintable() and one != " " and ord(one) not in UNSEEN for one in text)
