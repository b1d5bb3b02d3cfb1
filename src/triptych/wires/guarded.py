"""What the guard needs of a wire: one row each. A wire without a row lets nothing out of an org that
is guarded."""

from collections.abc import Callable, Collection, Mapping

import msgspec

from triptych.wires.anthropic_messages import fragments as messages_fragments
from triptych.wires.anthropic_messages import slots as messages_slots
from triptych.wires.openai_chat import fragments as chat_fragments
from triptych.wires.openai_chat import slots as chat_slots
from triptych.wires.openai_responses import fragments as responses_fragments
from triptych.wires.openai_responses import slots as responses_slots
from triptych.wires.slots import Delta, Path, Slot
from triptych.wires.sse import Event


class GuardedWire(msgspec.Struct, frozen=True):
    name: str
    text_slots: Callable[[bytes], list[Slot]]
    """Of a request's body."""
    answer_slots: Callable[[bytes], list[Slot]]
    text_deltas: Callable[[Event], list[Delta]]
    ended: Callable[[Event, Collection[Path]], list[Path]]
    """Which of these parts of the answer an event ends, before anything else that it says."""
    fragment: Callable[[Event, Path, str], bytes]
    """The data of an event that brings a text of a part and nothing else, in the manner of the last one
    that brought a piece of it."""
    logprobs: Callable[[bytes], str | None]
    """The field by which a request asks for the probabilities of tokens, if it does."""
    says_json: Callable[[bytes], bool]
    """Whether a request asks for an answer whose text is JSON."""
    is_answer_text: Callable[[Path, Path], bool]
    """Whether a string of the answer, at that path and of that part, is such a text."""
    numbered: bool = False
    """Whether events have a ``sequence_number``."""


class _Probabilities(msgspec.Struct):
    logprobs: object = None
    top_logprobs: object = None
    include: object = None


_PROBABILITIES = msgspec.json.Decoder(_Probabilities)
_INCLUDED = "message.output_text.logprobs"


def _chat_logprobs(body: bytes) -> str | None:
    return "logprobs" if _PROBABILITIES.decode(body).logprobs else None


def _responses_logprobs(body: bytes) -> str | None:
    asked = _PROBABILITIES.decode(body)
    if isinstance(asked.include, list) and _INCLUDED in asked.include:
        return "include"
    return "top_logprobs" if asked.top_logprobs else None


class _Typed(msgspec.Struct):
    type: object = None


class _Holder(msgspec.Struct):
    format: msgspec.Raw = msgspec.Raw(b"null")


class _Formats(msgspec.Struct):
    """Where the wires say how an answer is to be written; anything may stand there."""

    response_format: msgspec.Raw = msgspec.Raw(b"null")
    output_format: msgspec.Raw = msgspec.Raw(b"null")
    output_config: msgspec.Raw = msgspec.Raw(b"null")
    text: msgspec.Raw = msgspec.Raw(b"null")


_JSON_FORMATS = ("json_schema", "json_object")
_FORMATS = msgspec.json.Decoder(_Formats)
_TYPED = msgspec.json.Decoder(_Typed)
_HOLDER = msgspec.json.Decoder(_Holder)


def _is_json(format_: msgspec.Raw) -> bool:
    try:
        return _TYPED.decode(format_).type in _JSON_FORMATS
    except msgspec.ValidationError:
        return False


def _holds_json(holder: msgspec.Raw) -> bool:
    try:
        return _is_json(_HOLDER.decode(holder).format)
    except msgspec.ValidationError:
        return False


def _messages_json(body: bytes) -> bool:
    asked = _FORMATS.decode(body)
    return _is_json(asked.output_format) or _holds_json(asked.output_config)


MESSAGES = GuardedWire(
    "anthropic-messages",
    messages_slots.text_slots,
    messages_slots.answer_slots,
    messages_slots.text_deltas,
    messages_fragments.ended,
    messages_fragments.fragment,
    lambda body: None,
    _messages_json,
    messages_slots.is_answer_text,
)
CHAT = GuardedWire(
    "openai-chat",
    chat_slots.text_slots,
    chat_slots.answer_slots,
    chat_slots.text_deltas,
    chat_fragments.ended,
    chat_fragments.fragment,
    _chat_logprobs,
    lambda body: _is_json(_FORMATS.decode(body).response_format),
    chat_slots.is_answer_text,
)
RESPONSES = GuardedWire(
    "openai-responses",
    responses_slots.text_slots,
    responses_slots.answer_slots,
    responses_slots.text_deltas,
    responses_fragments.ended,
    responses_fragments.fragment,
    _responses_logprobs,
    lambda body: _holds_json(_FORMATS.decode(body).text),
    responses_slots.is_answer_text,
    numbered=True,
)
GUARDED: Mapping[str, GuardedWire] = {wire.name: wire for wire in (MESSAGES, CHAT, RESPONSES)}
