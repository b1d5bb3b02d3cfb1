"""How a wire declares what its strings are, and what every wire shares.

A table names the kinds of objects of a wire and, for each, its members. What no table names is
TEXT, and its key a NAME: unknown means it is inspected. What is ignored is ignored only in the
shape it has there: an ``id`` of two words is TEXT again.
"""

import re
from collections.abc import Mapping

import msgspec

from triptych.core.failure import Failure, FailureKind
from triptych.wires.json_spans import ADDRESS, TAG, WORD, Node, NotJson, Rule, Shape, Switch, walk
from triptych.wires.slots import Kind, Slot

IDENTIFIER: Shape = re.compile(
    # Letters first, so that no number of a person or a date is one; or a UUID; or a version. What stands
    # after an "@" is a version too: a domain makes it somebody's address. None has the groups of a social
    # security or a telephone number.
    rb"(?!.*(?<![A-Za-z0-9])[0-9]{3}[_.:/-](?:[0-9]{2}|[0-9]{3})[_.:/-][0-9]{4}(?![A-Za-z0-9]))"
    rb"(?:[A-Za-z][A-Za-z0-9]*(?:[_.:/-]+[A-Za-z0-9]+|@[0-9]+)*[=_-]{0,2}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    rb"|[0-9]{1,4})"
).fullmatch
MAX_IDENTIFIER_BYTES = 256
"""Longer ones are inspected."""

PADDING: Shape = re.compile(rb"[A-Za-z0-9]{1,64}").fullmatch

MOMENT: Shape = re.compile(
    rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
).fullmatch


class Members(msgspec.Struct, frozen=True):
    """The members of one kind of object; each field lists names, separated by white space.

    A name is in one list only, and may be in ``holds`` besides: a list says what a string is that
    stands there or in an array there (TEXT for a name in ``holds`` only); ``holds``, by kind of
    object, where such objects stand or arrays of them (any JSON where it does not say).
    """

    text: str = ""
    json_string: str = ""
    reasoning: str = ""
    url: str = ""
    """OPAQUE when it is a ``data:`` URL."""
    name: str = ""
    opaque: str = ""
    word: str = ""
    """Ignored in the shape of WORD."""
    identifier: str = ""
    """Made by a provider or a client's library; ignored in the shape of IDENTIFIER."""
    moment: str = ""
    """Ignored as RFC 3339 times."""
    padding: str = ""
    """Random letters and digits against traffic analysis: ignored as such."""
    tag: str = ""
    """The ``type``: as a word, and what switches look at."""
    plain: str = ""
    """Numbers and booleans; a string there is TEXT."""
    switches: Mapping[str, tuple[Kind, Mapping[str, Kind]]] = {}
    """By ``type`` of the object; first the kind when it is another."""
    holds: Mapping[str, str] = {}
    others: str = "free"
    """What objects at unknown names hold."""


Table = Mapping[str, Members]

FREE = Members()
"""Any JSON: every string is TEXT, every key a NAME."""

SCHEMA = Members(
    text="title description $comment pattern",
    word="type format contentEncoding contentMediaType",
    name="required $ref $dynamicRef $anchor $dynamicAnchor",
    url="$schema $id",
    plain="default examples enum const minimum maximum exclusiveMinimum exclusiveMaximum multipleOf "
    "minLength maxLength minItems maxItems uniqueItems minContains maxContains minProperties maxProperties "
    "nullable deprecated readOnly writeOnly",
    holds={
        "schemas": "properties patternProperties $defs definitions dependentSchemas",
        "free": "dependentRequired",
        "schema": "items prefixItems additionalProperties additionalItems unevaluatedItems "
        "unevaluatedProperties contains propertyNames anyOf oneOf allOf not if then else contentSchema",
    },
)
"""JSON Schema (draft 2020-12 and before): values people wrote are TEXT, names of properties NAME,
its own vocabulary nothing."""

_SHARED: Table = {
    "free": FREE,
    "schema": SCHEMA,
    "schemas": Members(others="schema"),
}


def compiled(table: Table, root: str) -> Rule:
    """The rule for a JSON text whose top level is an object of kind ``root``.

    Raises ValueError when the table contradicts itself.
    """
    whole = {**_SHARED, **table}
    nodes = {name: Node() for name in whole}
    for name, members in whole.items():
        nodes[name].other = ("", Kind.TEXT, None, _named(nodes, members.others))
        held = {member: object_ for object_, names in members.holds.items() for member in names.split()}
        for member, kind, condition in _strings(members):
            key = member.encode()
            if key in nodes[name].members:
                raise ValueError(f"{name}.{member} is listed twice")
            child = _named(nodes, held.pop(member, "free"))
            nodes[name].members[key] = (member, kind, condition, child)
        for member, object_ in held.items():
            nodes[name].members[member.encode()] = (member, Kind.TEXT, None, _named(nodes, object_))
    return ("", Kind.TEXT, None, _named(nodes, root))


def _named(nodes: Mapping[str, Node], name: str) -> Node:
    if name not in nodes:
        raise ValueError(f"no kind of object is called {name}")
    return nodes[name]


def _strings(members: Members) -> list[tuple[str, Kind, Shape | Switch | str | None]]:
    lists: tuple[tuple[str, Kind, Shape | str | None], ...] = (
        (members.text, Kind.TEXT, None),
        (members.plain, Kind.TEXT, None),
        (members.json_string, Kind.JSON_STRING, None),
        (members.reasoning, Kind.REASONING, None),
        (members.url, Kind.URL, ADDRESS),
        (members.name, Kind.NAME, None),
        (members.opaque, Kind.OPAQUE, None),
        (members.word, Kind.TEXT, WORD),
        (members.identifier, Kind.TEXT, _identifier),
        (members.moment, Kind.TEXT, MOMENT),
        (members.padding, Kind.TEXT, PADDING),
        (members.tag, Kind.TEXT, TAG),
    )
    found: list[tuple[str, Kind, Shape | Switch | str | None]] = []
    for names, kind, condition in lists:
        found.extend((name, kind, condition) for name in names.split())
    for name, (kind, kinds) in members.switches.items():
        found.append((name, kind, Switch({type_.encode(): other for type_, other in kinds.items()})))
    return found


def _identifier(text: bytes, start: int, end: int) -> object:
    return end - start <= MAX_IDENTIFIER_BYTES and IDENTIFIER(text, start, end)


_FREE = compiled({}, "free")


def free_slots(text: bytes) -> list[Slot]:
    """The slots of any JSON text that is no wire's, such as what a JSON_STRING decodes to.

    Raises ValueError when it is not JSON, as what a model was stopped in is not.
    """
    return walk(text, _FREE)


def request_slots(body: bytes, root: Rule) -> list[Slot]:
    """Raises Failure INVALID_BODY when the body is not JSON, or nests too deep."""
    try:
        return walk(body, root)
    except NotJson as error:
        raise Failure(FailureKind.INVALID_BODY, "The request body is not valid JSON.") from error


def received_slots(text: bytes, root: Rule, tag: str = "") -> list[Slot]:
    """The slots of a whole answer, or of one event's data; ``tag`` is the event's type.

    Raises Failure UPSTREAM_INVALID_RESPONSE when it is not JSON, or nests too deep.
    """
    try:
        return walk(text, root, tag.encode() if tag else None)
    except NotJson as error:
        raise Failure(FailureKind.UPSTREAM_INVALID_RESPONSE) from error
