"""The wires that translate: each has one row, and any two of them make a way."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from triptych.core.conversation import Answer, Conversation
from triptych.core.usage import Usage
from triptych.wires import anthropic_messages, openai_chat, openai_responses
from triptych.wires.relay_stream import RelayStream
from triptych.wires.translated_stream import EventDecoder, EventEncoder
from triptych.wires.translation import EncodedRequest, Feature, Field


class SpokenWire(msgspec.Struct, frozen=True):
    """Everything about one wire that a translation needs."""

    name: str
    path: str
    """Where an answer is asked for."""
    fields: tuple[Field, ...]
    expresses: Mapping[Feature, str]
    """What its encoder does with a feature; one in neither table is refused."""
    leaves_out: Mapping[Feature, str]
    decode_request: Callable[[bytes], Conversation]
    encode_request: Callable[..., EncodedRequest]
    """``(conversation, model, default_max_tokens=...)``; raises Inexpressible."""
    read_answer: Callable[..., Usage]
    """``(body, request_bytes=...)``: of a provider's plain answer; raises Failure."""
    decode_answer: Callable[[bytes], Answer]
    encode_answer: Callable[..., bytes]
    """``(answer, parsed, now_s=...)``: ``parsed`` is the caller's own request of this wire."""
    meter: Callable[[int], RelayStream]
    """Of a provider's stream, from the length of the request's body in bytes."""
    decoder: Callable[[], EventDecoder]
    encoder: Callable[[Any, int], EventEncoder]
    """From the caller's own parsed request of this wire and the Unix time."""

    def field_of(self, feature: Feature) -> str:
        """The field by which this wire's callers say it."""
        for field in self.fields:
            if field.feature is feature or feature in field.also:
                return field.path
        return feature.value


MESSAGES = SpokenWire(
    name="anthropic-messages",
    path="/v1/messages",
    fields=anthropic_messages.FIELDS,
    expresses=anthropic_messages.EXPRESSES,
    leaves_out=anthropic_messages.LEAVES_OUT,
    decode_request=anthropic_messages.decode_request,
    encode_request=anthropic_messages.encode_request,
    read_answer=anthropic_messages.read_answer,
    decode_answer=anthropic_messages.decode_answer,
    encode_answer=anthropic_messages.encode_answer,
    meter=lambda request_bytes: anthropic_messages.MessagesStream(request_bytes=request_bytes),
    decoder=anthropic_messages.EventDecoder,
    encoder=lambda parsed, now_s: anthropic_messages.EventEncoder(parsed, now_s=now_s),
)
CHAT = SpokenWire(
    name="openai-chat",
    path="/v1/chat/completions",
    fields=openai_chat.FIELDS,
    expresses=openai_chat.EXPRESSES,
    leaves_out=openai_chat.LEAVES_OUT,
    decode_request=openai_chat.decode_request,
    encode_request=openai_chat.encode_request,
    read_answer=openai_chat.read_answer,
    decode_answer=openai_chat.decode_answer,
    encode_answer=openai_chat.encode_answer,
    meter=lambda request_bytes: openai_chat.ChatStream(include_usage=True, request_bytes=request_bytes),
    decoder=openai_chat.EventDecoder,
    encoder=lambda parsed, now_s: openai_chat.EventEncoder(parsed, now_s=now_s),
)
RESPONSES = SpokenWire(
    name="openai-responses",
    path="/v1/responses",
    fields=openai_responses.FIELDS,
    expresses=openai_responses.EXPRESSES,
    leaves_out=openai_responses.LEAVES_OUT,
    decode_request=openai_responses.decode_request,
    encode_request=openai_responses.encode_request,
    read_answer=openai_responses.read_answer,
    decode_answer=openai_responses.decode_answer,
    encode_answer=openai_responses.encode_answer,
    meter=lambda request_bytes: openai_responses.ResponsesStream(request_bytes=request_bytes),
    decoder=openai_responses.EventDecoder,
    encoder=lambda parsed, now_s: openai_responses.EventEncoder(parsed, now_s=now_s),
)
SPOKEN = {wire.name: wire for wire in (RESPONSES, CHAT, MESSAGES)}
"""In the order in which another wire than the caller's is tried."""
