"""Writes docs/api.md, the reference of the library's public names, from their docstrings: `python docs/make_api.py`."""

import inspect
import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import taca  # noqa: E402

HEAD = """# API reference

Everything that `taca` exports, from its docstrings by `docs/make_api.py`. [The library](library.md) explains it.
"""


def reference() -> str:
    """The page."""
    names = [name for name in taca.__all__ if not name.startswith("__")]
    return "\n".join([HEAD, *(section(name) for name in sorted(names, key=str.lower))])


def section(name: str) -> str:
    """A function, or a class with its public methods."""
    value = getattr(taca, name)
    parts = [f"## {name}\n", signature(name, value), body(value)]
    if inspect.isclass(value):
        for key, member in vars(value).items():
            function = getattr(member, "__func__", member)
            if inspect.isfunction(function) and not key.startswith("_"):
                parts += [f"### {name}.{key}\n", signature(f"{name}.{key}", getattr(value, key)), body(function)]
    return "\n".join(parts)


def signature(name: str, value: object) -> str:
    """As it is called, one parameter a line where it is long."""
    whole = inspect.signature(value)
    parameters = []
    for parameter in whole.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parameters:
            parameters.append("*")
        parameters.append(str(parameter))
    result = str(whole.replace(parameters=[]))[2:]
    told = f"{name}({', '.join(parameters)}){result}"
    if len(told) > 100:
        told = f"{name}(\n    " + ",\n    ".join(parameters) + f",\n){result}"
    # As annotations are written, without the modules that they come from.
    told = re.sub(r"\b(?:typing|taca\.config|collections\.abc|os)\.|~", "", told).replace("'TacaConfig'", "TacaConfig")
    return f"```python\n{told}\n```\n"


def body(value: object) -> str:
    """A docstring in Markdown: its sections are bold, their entries a list."""
    lines, inside = [], False
    for line in inspect.getdoc(value).splitlines():
        if re.fullmatch(r"(Args|Attributes|Returns|Raises|Example):", line):
            inside = line == "Example:"
            lines += [f"**{line[:-1]}**", "", *(["```python"] if inside else [])]
        elif inside and not line.strip():
            lines += ["```", ""]
            inside = False
        elif match := re.fullmatch(r"    (\w[\w*, ]*|\*\*\w+): (.*)", line):
            lines.append(f"- `{match[1]}`: {match[2]}")
        elif line.startswith("        "):
            lines.append(f"  {line.strip()}")
        else:
            lines.append(textwrap.dedent(line))
    return "\n".join([*lines, *(["```"] if inside else []), ""])


if __name__ == "__main__":
    (ROOT / "docs" / "api.md").write_text(reference())
