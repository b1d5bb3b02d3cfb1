"""What a vendor's SDK declares: every field of a type, however deep, with its path and its type."""

import inspect
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum

import msgspec
import pydantic
import typing_extensions as te

ELEMENT, KEY, VALUE = "[]", "{key}", "{}"
"""Steps of a path: into an array; to the keys of a map; to its values."""


class Declared(Enum):
    STRING = "string"
    WORDS = "words"
    ANY = "any"
    KEY = "key"
    OTHER = "other"


class Field(msgspec.Struct, frozen=True):
    path: tuple[str, ...]
    declared: Declared


_QUALIFIERS = (typing.Required, typing.NotRequired, te.Required, te.NotRequired, te.ReadOnly)
_ARRAYS = (list, tuple, Iterable, Sequence)


def declared_fields(type_: object) -> list[Field]:
    """Without doubles, in the order of declaration. A type inside itself is not entered again."""
    return list(dict.fromkeys(_walk(type_, (), ())))


def _walk(type_: typing.Any, path: tuple[str, ...], inside: tuple[object, ...]) -> Iterator[Field]:
    origin, args = te.get_origin(type_), te.get_args(type_)
    if isinstance(type_, te.TypeAliasType):
        yield from _walk(type_.__value__, path, inside)
    elif origin in _QUALIFIERS or origin is typing.Annotated:
        yield from _walk(args[0], path, inside)
    elif origin in (typing.Union, types.UnionType):
        for arg in args:
            yield from _walk(arg, path, inside)
    elif origin is typing.Literal:
        yield Field(path, Declared.WORDS if any(isinstance(arg, str) for arg in args) else Declared.OTHER)
    elif type_ is str or type_ is datetime:
        yield Field(path, Declared.STRING)
    elif type_ in (object, typing.Any):
        yield Field(path, Declared.ANY)
    elif origin in _ARRAYS:
        yield from _walk(args[0], (*path, ELEMENT), inside)
    elif origin in (dict, Mapping):
        yield Field((*path, KEY), Declared.KEY)
        yield from _walk(args[1], (*path, VALUE), inside)
    elif inspect.isclass(type_) and (te.is_typeddict(type_) or issubclass(type_, pydantic.BaseModel)):
        if type_ not in inside:
            for name, inner in _members(type_):
                yield from _walk(inner, (*path, name), (*inside, type_))
    else:
        # Numbers, booleans, null; files, which the SDK turns into strings of base64.
        yield Field(path, Declared.OTHER)


def _members(type_: typing.Any) -> Iterator[tuple[str, object]]:
    if not te.is_typeddict(type_):
        for name, field in type_.model_fields.items():
            yield field.alias or name, field.annotation
        return
    for name, hint in te.get_type_hints(type_, include_extras=True).items():
        inner = hint
        while te.get_origin(inner) in _QUALIFIERS:
            inner = te.get_args(inner)[0]
        alias = None
        if te.get_origin(inner) is typing.Annotated:
            alias = next((a for a in map(_alias, te.get_args(inner)[1:]) if a), None)
        yield alias or name, hint


def _alias(metadata: object) -> str | None:
    return getattr(metadata, "alias", None)
