"""The one walker over JSON text that finds strings where they stand: bytes in, spans out.

It builds no objects and follows no pointers: a compiled expression reads one value with its key
and what closes after it, a table (:mod:`triptych.wires.slot_tables`) says what the string is. A
key that occurs twice is walked twice. Linear time; depth bounded by MAX_DEPTH, nothing recursive.
"""

import re
from collections.abc import Callable

import msgspec

from triptych.wires.json_strings import BACKSLASH, unescaped
from triptych.wires.jsonshape import MAX_DEPTH
from triptych.wires.slots import Kind, Path, Slot

_WHITE = rb"[ \t\n\r]*+"
# Ranges, because the engine reads them twice as fast as what is not a quote nor a backslash.
_PLAIN = rb"[\x00-\x21\x23-\x5b\x5d-\xff]*+"
_STRING = rb'"(' + _PLAIN + rb'(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})' + _PLAIN + rb')*+)"'
_SCALAR = (
    rb"(?:-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+|true|false|null"
    rb"|\{" + _WHITE + rb"\}|\[" + _WHITE + rb"\])"
)
# After a value comes a comma, or brackets that are closed and then a comma or the end, or the end.
_AFTER = _WHITE + rb"(?:,|((?:[\]}]" + _WHITE + rb")++)(?:,|\Z)|\Z)"
# One value with its key: the key, a string, what closes after it, a scalar, what closes after
# that, or an opened bracket. The last group takes what is no JSON, and the end: were there a place
# where nothing matches, every place after it would be tried.
_UNIT = re.compile(
    _WHITE
    + rb"(?:(?:" + _STRING + _WHITE + rb":" + _WHITE + rb")?+"
    + rb"(?:" + _STRING + _AFTER + rb"|([{\[])(?!" + _WHITE + rb"[\]}])|" + _SCALAR + _AFTER + rb")|(.|\Z))",
    re.DOTALL,
)  # fmt: skip
_STRING_ALONE, _CLOSED_AFTER_STRING, _OPENED, _CLOSED_AFTER_SCALAR, _NOT_JSON = 2, 3, 4, 5, 6
_STRINGS = (_STRING_ALONE, _CLOSED_AFTER_STRING)
_WHITE_BYTES = b" \t\n\r"
_BRACE, _BRACKET = ord("}"), ord("]")

_MAYBE_DATA_URL = re.compile(rb"[\s\x00-\x20]*+(?:[dD]|\\)")
_DATA_URL = re.compile(r"[\s\x00-\x20]*+data:", re.IGNORECASE)
_DATA_URL_BYTES = 256

Shape = Callable[[bytes, int, int], object]
"""``fullmatch`` of a compiled expression: a string of this shape needs no inspection."""


class Switch(msgspec.Struct, frozen=True):
    """The kind depends on the ``type`` beside the string, wherever in the object that stands."""

    kinds: dict[bytes, Kind]
    """By the value of ``type``. Two different types in one object are no type at all."""


class Node:
    """What the members of an object are. Made by :mod:`triptych.wires.slot_tables`."""

    __slots__ = ("members", "other")

    def __init__(self) -> None:
        self.members: dict[bytes, Rule] = {}
        """By key, as UTF-8."""
        self.other: Rule
        """Of a key that is not among them; such a key is a slot itself."""


Rule = tuple[str, Kind, Shape | Switch | str | None, Node]
"""Of one member: its name; what a string is that stands there, or in arrays there; the condition;
what objects there hold.

Conditions: None; a Shape that makes it nothing to inspect; a Switch (the kind is then of any other
type); TAG, the ``type`` that switches look at, ignored when it is TAG's shape; ADDRESS, where a
``data:`` URL is OPAQUE instead.
"""

TAG, ADDRESS = "tag", "address"
WORD: Shape = re.compile(rb"[A-Za-z][A-Za-z0-9_.:/+-]{0,63}|[0-9]{1,4}(?:[a-z]{1,2}|x[0-9]{1,4})").fullmatch
"""A word of a vendor's vocabulary; a time such as ``24h``, a size such as ``1024x1024``."""


# Most words there are, to be known without an expression.
_USUAL_WORDS = frozenset(
    b"user assistant system developer tool message text tool_use tool_result image document thinking base64 "
    b"ephemeral input_text output_text input_image function function_call function_call_output reasoning "
    b"object string array integer number boolean null auto text_delta content_block_delta "
    b"input_json_delta thinking_delta chat.completion.chunk default response.output_text.delta "
    b"response.function_call_arguments.delta".split()
)

_Frame = tuple[
    dict[bytes, Rule] | None,
    Rule,
    tuple[Kind, Shape | Switch | str | None, Node] | None,
    int,
    Path,
    bytes | None,
    list[tuple[int, Switch]] | None,
    int,
]


class NotJson(ValueError):
    """The text is not JSON, or nests deeper than MAX_DEPTH."""


def walk(text: bytes, root: Rule, tag: bytes | None = None) -> list[Slot]:
    """The slots of one JSON text, in the order of the text. Empty strings are none.

    ``root`` tells about the value at top level; ``tag`` is its ``type`` when it names none. UTF-8,
    control characters and lone surrogates are not looked at. Raises NotJson.
    """
    slots: list[Slot] = []
    add = slots.append
    stack: list[_Frame] = []
    members: dict[bytes, Rule] | None = None
    other = root
    index = -1
    path: Path = ()
    pending: list[tuple[int, Switch]] | None = None
    outer_tag, tag = tag, None
    closer = 0
    step: str | int
    # Elements of an array are what the array is; so is the value at top level.
    _, kind, condition, child = root
    for unit in _UNIT.finditer(text):
        last = unit.lastindex
        if members is not None:
            key = unit[1]
            rule = members.get(key)
            if rule is not None:
                step, kind, condition, child = rule
            elif key is None:
                raise NotJson("a value without a key")
            else:
                step = unescaped(key) if BACKSLASH in key else key.decode("utf-8", "replace")
                rule = members.get(step.encode("utf-8", "surrogatepass")) if BACKSLASH in key else None
                if rule is not None:
                    step, kind, condition, child = rule
                else:
                    _, kind, condition, child = other
                    if key:
                        start, end = unit.span(1)
                        add(Slot((*path, step), start, end, Kind.NAME, True))
        else:
            if unit[1] is not None:
                raise NotJson("a key outside an object")
            index += 1
            step = index
        if last in _STRINGS:
            start, end = unit.span(2)
            if start == end:
                pass
            elif condition is None:
                add(Slot((*path, step), start, end, kind))
            elif condition is TAG:
                said = unit[2]
                if said not in _USUAL_WORDS:
                    if not WORD(text, start, end):
                        add(Slot((*path, step), start, end, kind))
                    if BACKSLASH in said:
                        said = unescaped(said).encode("utf-8", "surrogatepass")
                # Empty: two that differ.
                tag = said if tag is None or tag == said else b""
            elif condition is WORD:
                if unit[2] not in _USUAL_WORDS and not WORD(text, start, end):
                    add(Slot((*path, step), start, end, kind))
            elif condition is ADDRESS:
                hidden = _MAYBE_DATA_URL.match(text, start, end) and _is_data_url(text, start, end)
                add(Slot((*path, step), start, end, Kind.OPAQUE if hidden else kind))
            elif isinstance(condition, Switch):
                if pending is None:
                    pending = []
                pending.append((len(slots), condition))
                add(Slot((*path, step), start, end, kind))
            elif not condition(text, start, end):  # type: ignore[operator]
                add(Slot((*path, step), start, end, kind))
            if last == _STRING_ALONE:
                continue
            closers = unit[_CLOSED_AFTER_STRING]
        elif last == _OPENED:
            if len(stack) >= MAX_DEPTH:
                raise NotJson("nested too deep")
            # What an object holds next is told by its next key; what an array holds, by its rule.
            array_rule = (kind, condition, child) if members is None else None
            stack.append((members, other, array_rule, index, path, tag, pending, closer))
            if len(stack) > 1:
                path = (*path, step)
            if unit[_OPENED] == b"{":
                members, other = child.members, child.other
                tag, pending, closer = None, None, _BRACE
            else:
                members, index, closer = None, -1, _BRACKET
            continue
        elif last == _CLOSED_AFTER_SCALAR:
            closers = unit[_CLOSED_AFTER_SCALAR]
        elif last == _NOT_JSON:
            if not unit[_NOT_JSON]:
                index -= 1
                break
            raise NotJson("not a value")
        else:
            continue
        for byte in closers:
            if byte != closer:
                if byte in _WHITE_BYTES:
                    continue
                raise NotJson("a bracket that does not match")
            if pending is not None and members is not None:
                _resolve(slots, pending, tag if tag is not None or len(stack) > 1 else outer_tag)
            members, other, array_rule, index, path, tag, pending, closer = stack.pop()
            if array_rule is not None:
                kind, condition, child = array_rule
    if stack or index or text.rstrip(_WHITE_BYTES).endswith(b","):
        raise NotJson("it ends too early, or goes on after its end")
    if len(slots) == 1 and slots[0].path == (0,) and text.lstrip(_WHITE_BYTES).startswith(b'"'):
        # The place at top level has no name.
        return [msgspec.structs.replace(slots[0], path=())]
    return slots


def _resolve(slots: list[Slot], pending: list[tuple[int, Switch]], tag: bytes | None) -> None:
    for at, switch in pending:
        kind = switch.kinds.get(tag or b"")
        if kind is not None:
            slots[at] = msgspec.structs.replace(slots[at], kind=kind)


def _is_data_url(text: bytes, start: int, end: int) -> bool:
    """Escapes and white space before it do not hide one, because they do not hide it from others."""
    head = text[start : min(end, start + _DATA_URL_BYTES)]
    # An escape cut in two at the end of the head is left out.
    cut = head.rfind(b"\\", max(0, len(head) - 5))
    if cut >= 0 and len(head) == _DATA_URL_BYTES:
        head = head[:cut]
    return _DATA_URL.match(unescaped(head)) is not None
