"""A tool call's arguments: JSON text in the conversation, a JSON object (``input``) on this wire.

A model may write arguments that are no JSON object, or be cut off within them. Such a text is
wrapped as ``{"INVALID_JSON": "<the text>"}``, as Anthropic's guide to fine-grained tool streaming
says (https://platform.claude.com/docs/en/agents-and-tools/tool-use/fine-grained-tool-streaming),
and is unwrapped when it comes back.
"""

import msgspec

from triptych.wires.estimate import UNREADABLE

_RAW = msgspec.json.Decoder(msgspec.Raw)
_EMPTY = msgspec.Raw(b"{}")


class _Wrapped(msgspec.Struct, forbid_unknown_fields=True):
    invalid: str = msgspec.field(name="INVALID_JSON")


_WRAPPED = msgspec.json.Decoder(_Wrapped)


def tool_input(arguments: str) -> msgspec.Raw:
    """``input`` as JSON bytes; always an object, so no arguments are an empty one."""
    text = arguments.strip(" \t\n\r").encode("utf-8", "replace")
    if not text:
        return _EMPTY
    if _is_object(text):
        return msgspec.Raw(text)
    return msgspec.Raw(msgspec.json.encode(_Wrapped(arguments)))


def arguments(input_: msgspec.Raw) -> str:
    """The arguments' JSON text, byte for byte. Raises UnicodeDecodeError when it is not UTF-8."""
    body = bytes(input_)
    if b"INVALID_JSON" in body:
        try:
            wrapped = _WRAPPED.decode(body).invalid
        except UNREADABLE:
            return body.decode()
        if not _is_object(wrapped.strip(" \t\n\r").encode("utf-8", "replace")):
            return wrapped
    return body.decode()


def _is_object(text: bytes) -> bool:
    if not text.startswith(b"{"):
        return False
    try:
        _RAW.decode(text)
    except UNREADABLE:
        return False
    return True
