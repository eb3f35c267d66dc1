"""One sentence for each fault that pydantic finds: the key, the value, what is allowed, and the key that was meant."""

import difflib
from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

Location = tuple[str | int, ...]


def sentences(error: ValidationError, document: Mapping, model: type[BaseModel]) -> list[str]:
    """One sentence a fault; `document` is what was validated against `model`."""
    faults = error.errors()
    meant = {
        fault["loc"]: _meant(fault["loc"], document, model) for fault in faults if fault["type"] == "extra_forbidden"
    }
    # A misspelt key is one fault, though pydantic also misses the key that was meant.
    explained = {(*location[:-1], key) for location, key in meant.items()}
    return [
        _sentence(fault["loc"], fault, meant, model)
        for fault in faults
        if fault["type"] != "missing" or fault["loc"] not in explained
    ]


def did_you_mean(word: str | None) -> str:
    """` (did you mean `word`?)`, or nothing without a word."""
    return f" (did you mean `{word}`?)" if word else ""


def closest(word: object, choices: Iterable[str]) -> str | None:
    """The one of `choices` that `word` is a slip of the pen for."""
    return next(iter(difflib.get_close_matches(str(word), list(choices), n=1)), None)


def _sentence(location: Location, fault: Mapping, meant: Mapping[Location, str | None], model: type[BaseModel]) -> str:
    written = _written(location, model)
    key, value = ".".join(written), fault["input"]
    if fault["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return _kind_sentence(key, fault, _node(location, model)[0])
    if fault["type"] in ("extra_forbidden", "invalid_key"):  # a key that is unknown, or no text
        keys = ", ".join(_node(location[:-1], model)[0].model_fields)
        where = f"`{'.'.join(written[:-1])}`" if written[1:] else "the file"
        return f"`{key}` ({_shown(value)}) is not a known key{did_you_mean(meant.get(location))}; {where} takes {keys}."
    if location[-1] == "[key]":
        return f"`{location[0]}` has the name {_shown(value)}, but a name must be {_names(location[0], model)}."
    if fault["type"] == "missing":
        return f"`{key}` is missing; it must be {_allowed(location, model)}."
    return f"`{key}` is {_shown(value)}, but must be {_allowed(location, model)}."


def _kind_sentence(key: str, fault: Mapping, union: type) -> str:
    """A section of several kinds that names none of them."""
    field = fault["ctx"]["discriminator"].strip("'")
    allowed = "one of " + ", ".join(str(get_args(kind.model_fields[field].annotation)[0]) for kind in get_args(union))
    if fault["type"] == "union_tag_not_found":
        return f"`{key}.{field}` is missing; it must be {allowed}."
    return f"`{key}.{field}` is {_shown(fault['input'][field])}, but must be {allowed}."


def _meant(location: Location, document: Mapping, model: type[BaseModel]) -> str | None:
    """The known key that the unknown one at `location` stands for; keys not given yet come first."""
    given = document
    for key in _written(location, model)[:-1]:
        given = given[key]
    keys = list(_node(location[:-1], model)[0].model_fields)
    return closest(location[-1], [key for key in keys if key not in given]) or closest(location[-1], keys)


def _allowed(location: Location, model: type[BaseModel]) -> str:
    """What completes "must be ..." at `location`."""
    kind, description = _node(location, model)
    if _is_union(kind):
        first, *others = get_args(kind)
        shared = [key for key in first.model_fields if all(key in other.model_fields for other in others)]
        return f"a mapping with the keys {', '.join(shared)}, and those that go with them"
    fields = getattr(kind, "model_fields", ())  # none of a mapping whose keys are names
    return description or "a mapping" + (f" with the keys {', '.join(fields)}" if fields else "")


def _node(location: Location, model: type[BaseModel]) -> tuple[type, str | None]:
    """The type at `location` and its field's description; entries of a mapping, such as one arm, have none."""
    kind, description = model, None
    for key in location:
        if _is_union(kind):
            kind, description = _kind(kind, key), None
        elif get_origin(kind) is dict:
            kind, description = get_args(kind)[1], None
        elif get_origin(kind) is list:
            (kind,) = get_args(kind)
            description = kind.__metadata__[0].description
        else:
            kind, description = _section(kind.model_fields[key].annotation), kind.model_fields[key].description
    return kind, description


def _written(location: Location, model: type[BaseModel]) -> list[str]:
    """The keys as the file has them: pydantic puts in which kind of section it read."""
    return [str(key) for at, key in enumerate(location) if not _is_union(_node(location[:at], model)[0])]


def _is_union(kind: type) -> bool:
    """Whether a section is of one of several kinds; a value or null is not."""
    return get_origin(kind) in (Union, UnionType) and all(hasattr(one, "model_fields") for one in get_args(kind))


def _section(kind: type) -> type:
    """The section of one that may be null; else the type as it is."""
    sections = [one for one in get_args(kind) if hasattr(one, "model_fields")]
    return sections[0] if get_origin(kind) in (Union, UnionType) and len(sections) == 1 else kind


def _kind(union: type, name: str) -> type[BaseModel]:
    """The kind of section that one of its fields calls `name`."""
    return next(
        kind
        for kind in get_args(union)
        if any(get_args(field.annotation) == (name,) for field in kind.model_fields.values())
    )


def _names(section: str, model: type[BaseModel]) -> str:
    """What the keys of a mapping must be."""
    return get_args(model.model_fields[section].annotation)[0].__metadata__[0].description


def _shown(value: object) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
