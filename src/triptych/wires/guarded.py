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


MESSAGES = GuardedWire(
    "anthropic-messages",
    messages_slots.text_slots,
    messages_slots.answer_slots,
    messages_slots.text_deltas,
    messages_fragments.ended,
    messages_fragments.fragment,
    lambda body: None,
)
CHAT = GuardedWire(
    "openai-chat",
    chat_slots.text_slots,
    chat_slots.answer_slots,
    chat_slots.text_deltas,
    chat_fragments.ended,
    chat_fragments.fragment,
    _chat_logprobs,
)
RESPONSES = GuardedWire(
    "openai-responses",
    responses_slots.text_slots,
    responses_slots.answer_slots,
    responses_slots.text_deltas,
    responses_fragments.ended,
    responses_fragments.fragment,
    _responses_logprobs,
    numbered=True,
)
GUARDED: Mapping[str, GuardedWire] = {wire.name: wire for wire in (MESSAGES, CHAT, RESPONSES)}
