"""Whatever the pair of wires: a translated stream says what the translated answer says, however its
bytes come; and a request survives the way there and back."""

import json
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.devices.fold import check_grammar, fold, unfold
from triptych.core.conversation import (
    Answer,
    Conversation,
    Message,
    Opaque,
    Reasoning,
    Role,
    Stop,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from triptych.core.events import Event
from triptych.core.usage import Usage, UsageSource
from triptych.wires import anthropic_messages, openai_chat, openai_responses, sse
from triptych.wires.spoken import SPOKEN
from triptych.wires.translated_stream import TranslatedStream

NOW_S = 1_800_000_000
PARSED = {
    "anthropic-messages": anthropic_messages.parse_request(
        b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"stream":true}',
        counting=False,
    ),
    "openai-chat": openai_chat.parse_request(
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true,'
        b'"stream_options":{"include_usage":true}}'
    ),
    "openai-responses": openai_responses.parse_request(b'{"model":"m","input":"x","stream":true}'),
}
PAIRS = [(provider, caller) for provider in SPOKEN for caller in SPOKEN if provider != caller]
VENDORS = {"anthropic-messages": "anthropic", "openai-responses": "openai"}

texts = st.text(min_size=1, max_size=40).filter(lambda text: bool(text.strip()) and "\ufeff" not in text)
names = st.from_regex(r"[a-zA-Z_]{1,12}", fullmatch=True)
arguments = st.dictionaries(names, st.one_of(texts, st.integers(-9, 9), st.booleans()), max_size=3).map(
    lambda value: json.dumps(value, separators=(",", ":"))
)
call = st.builds(ToolCall, id=names.map(lambda name: "call_" + name), name=names, arguments=arguments)
calls = st.lists(call, max_size=3, unique_by=lambda called: called.id)


@st.composite
def answers(draw: st.DrawFn, vendor: str | None) -> Answer:
    parts: list[Text | Reasoning | ToolCall] = []
    if vendor is not None and draw(st.booleans()):
        opaque = Opaque(vendor, draw(names), id="rs_1" if vendor == "openai" else None)
        parts.append(Reasoning(draw(texts), opaque))
    if draw(st.booleans()):
        parts.append(Text(draw(texts)))
    called = draw(calls)
    parts += called
    stop = Stop.TOOL_CALLS if called else draw(st.sampled_from([Stop.END, Stop.MAX_TOKENS, Stop.REFUSED]))
    usage = Usage(draw(st.integers(0, 99)), draw(st.integers(0, 99)), 3, 0, 0, UsageSource.PROVIDER)
    return Answer(id="answer_1", model="m-1", created_s=NOW_S, parts=tuple(parts), stop=stop, usage=usage)


def streamed(wire: str, answer: Answer) -> bytes:
    """The answer as a provider of the wire streams it."""
    encoder = SPOKEN[wire].encoder(PARSED[wire], NOW_S)
    return b"".join(encoder.encode(event) for event in unfold(answer))


def translated(provider: str, caller: str, stream: bytes, cuts: list[int]) -> bytes:
    encoder = SPOKEN[caller].encoder(PARSED[caller], NOW_S)
    relay = TranslatedStream(SPOKEN[provider].meter(10), SPOKEN[provider].decoder(), encoder)
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    out = b"".join(relay.feed(stream[start:end]) for start, end in pairwise(edges))
    assert relay.final is not None
    assert relay.ended not in ("error", "failed")
    return out + relay.final


def heard(wire: str, stream: bytes) -> list[Event]:
    decoder = SPOKEN[wire].decoder()
    events: list[Event] = []
    for block in stream.split(b"\n\n"):
        event = sse.parse_block(block + b"\n\n")
        if event is not None:
            events += decoder.decode(event)
    return events


def timeless(answer: Answer) -> Answer:
    return msgspec.structs.replace(answer, created_s=None)


@pytest.mark.parametrize(("provider", "caller"), PAIRS)
@given(data=st.data(), cuts=st.lists(st.integers(0, 10_000), max_size=8))
def test_a_translated_stream_says_what_the_translated_answer_says(
    provider: str, caller: str, data: st.DataObject, cuts: list[int]
) -> None:
    answer = data.draw(answers(VENDORS.get(provider)))
    stream = translated(provider, caller, streamed(provider, answer), cuts)
    events = heard(caller, stream)
    check_grammar(events)
    whole = SPOKEN[provider].encode_answer(answer, PARSED[provider], now_s=NOW_S)
    body = SPOKEN[caller].encode_answer(SPOKEN[provider].decode_answer(whole), PARSED[caller], now_s=NOW_S)
    assert timeless(fold(events)) == timeless(SPOKEN[caller].decode_answer(body))


@pytest.mark.parametrize(("provider", "caller"), PAIRS)
@given(data=st.data(), cuts=st.lists(st.integers(0, 10_000), max_size=8))
def test_the_bytes_of_a_translated_stream_do_not_depend_on_how_they_come(
    provider: str, caller: str, data: st.DataObject, cuts: list[int]
) -> None:
    stream = streamed(provider, data.draw(answers(VENDORS.get(provider))))
    assert translated(provider, caller, stream, cuts) == translated(provider, caller, stream, [])


@pytest.mark.parametrize("caller", ["anthropic-messages", "openai-chat"])
def test_a_stream_that_fails_without_words_ends_with_those_behind_it(caller: str) -> None:
    response = b'{"id":"resp_1","model":"m","status":"failed","error":null}'
    failed = b'event: response.failed\ndata: {"type":"response.failed","response":%b}\n\n' % response
    words = b'{"type":"too_many_requests","code":"rate_limit_exceeded","message":"slow"}'
    stream = failed + b'event: error\ndata: {"type":"error","error":%b}\n\n' % words
    for cuts in ([], [len(failed)]):
        encoder = SPOKEN[caller].encoder(PARSED[caller], NOW_S)
        wire = SPOKEN["openai-responses"]
        relay = TranslatedStream(wire.meter(10), wire.decoder(), encoder)
        for start, end in pairwise([0, *cuts, len(stream)]):
            assert relay.feed(stream[start:end]) == b""
            assert (relay.final is None) is (end < len(stream))
        assert relay.ended == "error" and relay.error_type == "too_many_requests"
        assert relay.final is not None and b"slow" in relay.final and b"rate_limit" in relay.final


@pytest.mark.parametrize(("provider", "caller"), PAIRS)
@given(data=st.data())
def test_a_translated_answer_says_what_the_provider_said(
    provider: str, caller: str, data: st.DataObject
) -> None:
    answer = data.draw(answers(VENDORS.get(provider)))
    back = SPOKEN[caller].decode_answer(SPOKEN[caller].encode_answer(answer, PARSED[caller], now_s=NOW_S))
    assert back.id.removeprefix("chatcmpl-") == answer.id
    assert timeless(msgspec.structs.replace(back, id=answer.id)) == timeless(answer)


tools = st.lists(
    st.builds(
        Tool,
        name=names,
        schema=st.just(msgspec.Raw(b'{"type":"object","properties":{}}')),
        strict=st.just(True),
    ),
    max_size=2,
    unique_by=lambda tool: tool.name,
)


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    messages = [Message(Role.SYSTEM, (Text(draw(texts)),))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        messages.append(Message(Role.USER, tuple(map(Text, draw(st.lists(texts, min_size=1, max_size=2))))))
        called = draw(calls)
        said = [Text(draw(texts))] if draw(st.booleans()) or not called else []
        messages.append(Message(Role.ASSISTANT, (*said, *called)))
        if called:
            results = [ToolResult(call.id, (Text(draw(texts)),), draw(st.booleans())) for call in called]
            messages.append(Message(Role.TOOL, tuple(results)))
    return Conversation(
        messages=tuple(messages),
        stream=draw(st.booleans()),
        max_output_tokens=draw(st.integers(1, 9_999)),
        temperature=draw(st.sampled_from([None, 0.0, 0.5, 1.0])),
        top_p=draw(st.sampled_from([None, 0.5])),
        tools=tuple(draw(tools)),
    )


@pytest.mark.parametrize("wire", SPOKEN)
@given(conversation=conversations())
def test_what_a_conversation_says_survives_every_wire(wire: str, conversation: Conversation) -> None:
    spoken = SPOKEN[wire]
    encoded = spoken.encode_request(conversation, "m", default_max_tokens=1)
    assert encoded.left_out == ()
    tools = tuple(
        msgspec.structs.replace(tool, any_schema=wire == "anthropic-messages") for tool in conversation.tools
    )
    assert spoken.decode_request(encoded.body) == msgspec.structs.replace(conversation, tools=tools)
