"""Parallel calls whose pieces a provider mixes: whatever the order, every caller is told the same calls."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.devices.fold import check_grammar, fold
from tests.unit.wires import chat_chunks, responses_events
from tests.unit.wires.responses_bodies import BODY
from tests.unit.wires.test_translation_between_wires import NOW_S, PAIRS, PARSED, arguments, heard, names
from triptych.core.conversation import Answer, ToolCall
from triptych.core.events import Delta, Event, PartKind, PartStarted, PartStopped
from triptych.core.failure import Failure, FailureKind
from triptych.engines.phi.answers import RestoringReader
from triptych.engines.phi.restore import Redacted
from triptych.wires import sse
from triptych.wires.calls_in_turn import Call, CallsInTurn
from triptych.wires.relay_stream import MAX_EVENT_BYTES
from triptych.wires.spoken import SPOKEN
from triptych.wires.translated_stream import TranslatedStream

MIXING = [pair for pair in PAIRS if pair[0] != "anthropic-messages"]
CALL = PartKind.TOOL_CALL


def chat_events(index: int, call: ToolCall, pieces: Sequence[str]) -> list[sse.Event]:
    began = chat_chunks.call(index, id=call.id, name=call.name, arguments="")
    return [began, *(chat_chunks.call(index, arguments=piece) for piece in pieces)]


def responses_item(call: ToolCall) -> dict[str, Any]:
    return {"type": "function_call", "id": "fc_" + call.id, "call_id": call.id, "name": call.name}


def added(index: int, call: ToolCall) -> sse.Event:
    item = {**responses_item(call), "arguments": ""}
    return responses_events.event("output_item.added", output_index=index, item=item)


def argued(index: int, piece: str) -> sse.Event:
    return responses_events.event("function_call_arguments.delta", output_index=index, delta=piece)


def done(index: int, call: ToolCall) -> sse.Event:
    item = {**responses_item(call), "arguments": call.arguments}
    return responses_events.event("output_item.done", output_index=index, item=item)


def responses_call_events(index: int, call: ToolCall, pieces: Sequence[str]) -> list[sse.Event]:
    return [
        added(index, call),
        *(argued(index, piece) for piece in pieces),
        responses_events.event("function_call_arguments.done", output_index=index, arguments=call.arguments),
        done(index, call),
    ]


CREATED = responses_events.event("created", response={**BODY, "output": []})
COMPLETED = responses_events.event("completed", response={**BODY, "output": []})
AROUND = {
    "openai-chat": ([chat_chunks.ROLE], [chat_chunks.chunk({}, "tool_calls"), chat_chunks.DONE]),
    "openai-responses": ([CREATED], [COMPLETED]),
}
EVENTS = {"openai-chat": chat_events, "openai-responses": responses_call_events}


def stream(provider: str, inside: Iterable[sse.Event]) -> bytes:
    before, after = AROUND[provider]
    return b"".join(sse.frame(event.type, event.data) for event in (*before, *inside, *after))


@st.composite
def mixed(draw: st.DrawFn, provider: str, called: Sequence[ToolCall]) -> list[sse.Event]:
    """The events of the calls, each call's in their order."""
    left: list[list[sse.Event]] = []
    for index, call in enumerate(called):
        size = draw(st.integers(1, 5))
        pieces = [call.arguments[at : at + size] for at in range(0, len(call.arguments), size)]
        left.append(EVENTS[provider](index, call, pieces))
    turns = draw(st.permutations([index for index, events in enumerate(left) for _ in events]))
    return [left[turn].pop(0) for turn in turns]


def caller_hears(provider: str, caller: str, sent: bytes) -> Answer:
    relay = TranslatedStream(
        SPOKEN[provider].meter(10), SPOKEN[provider].decoder(), SPOKEN[caller].encoder(PARSED[caller], NOW_S)
    )
    told = relay.feed(sent)
    assert relay.final is not None
    events = heard(caller, told + relay.final)
    check_grammar(events)
    return fold(events)


def by_id(answer: Answer) -> list[ToolCall]:
    assert all(isinstance(part, ToolCall) for part in answer.parts)
    return sorted((part for part in answer.parts if isinstance(part, ToolCall)), key=lambda call: call.id)


parallel = st.lists(
    st.builds(ToolCall, id=names.map(lambda name: "call_" + name), name=names, arguments=arguments),
    min_size=2,
    max_size=4,
    unique_by=lambda call: call.id,
)


@pytest.mark.parametrize(("provider", "caller"), MIXING)
@given(data=st.data())
def test_any_mixture_of_parallel_calls_tells_the_same_calls(
    provider: str, caller: str, data: st.DataObject
) -> None:
    called = data.draw(parallel)
    in_order = [
        event for at, call in enumerate(called) for event in EVENTS[provider](at, call, [call.arguments])
    ]
    one_by_one = caller_hears(provider, caller, stream(provider, in_order))
    assert one_by_one.parts == tuple(called)
    mixture = caller_hears(provider, caller, stream(provider, data.draw(mixed(provider, called))))
    assert by_id(mixture) == by_id(one_by_one)
    assert (mixture.stop, mixture.usage) == (one_by_one.stop, one_by_one.usage)


@pytest.mark.parametrize(("provider", "caller"), MIXING)
@given(data=st.data())
def test_values_come_back_in_calls_whose_pieces_are_mixed(
    provider: str, caller: str, data: st.DataObject
) -> None:
    values = {"[PERSON_1]": "Ana Lima", "[US_SSN_1]": '123"45'}
    called = [
        ToolCall("call_a", "f", '{"who":"[PERSON_1]","n":"[US_SSN_1]"}'),
        ToolCall("call_b", "f", '{"n":["[US_SSN_1]","[PERSON_1"]}'),
    ]
    sent = stream(provider, data.draw(mixed(provider, called)))

    class Reader:
        def stream_meter(self, parsed: Any, request_bytes: int) -> Any:
            encoder = SPOKEN[caller].encoder(PARSED[caller], NOW_S)
            return TranslatedStream(SPOKEN[provider].meter(10), SPOKEN[provider].decoder(), encoder)

        def read_answer(self, parsed: Any, body: bytes, request_bytes: int) -> Any:
            raise NotImplementedError

    restoring = RestoringReader(Reader(), Redacted(caller, values)).stream_meter(None, 0)
    told = restoring.feed(sent)
    assert restoring.final is not None
    first, second = by_id(fold(heard(caller, told + restoring.final)))
    assert json.loads(first.arguments) == {"who": "Ana Lima", "n": '123"45'}
    assert json.loads(second.arguments) == {"n": ['123"45', "[PERSON_1"]}


def decoded(provider: str, *given: sse.Event) -> list[list[Event]]:
    """What each event became."""
    decoder = SPOKEN[provider].decoder()
    for event in AROUND[provider][0]:
        decoder.decode(event)
    return [decoder.decode(event) for event in given]


A, B, C = (ToolCall(f"call_{name}", "f", '{"x":"}"}') for name in "abc")


def test_the_open_call_streams_on_and_the_others_follow_in_the_order_of_their_index() -> None:
    call = chat_chunks.call
    assert decoded(
        "openai-chat",
        call(0, id="call_a", name="f", arguments='{"x":'),
        call(2, id="call_c", name="f", arguments='{"x"'),
        call(1, id="call_b", name="f", arguments=""),
        call(0, arguments='"}"'),
        call(2, arguments=':"}"}'),
        call(0, arguments="}"),
        call(0, arguments="\n"),
        call(1, arguments="{"),
        call(1, arguments="}"),
        chat_chunks.chunk({}, "tool_calls"),
    ) == [
        [PartStarted(0, CALL, "call_a", "f"), Delta(0, CALL, '{"x":')],
        [],
        [],
        [Delta(0, CALL, '"}"')],
        [],
        [Delta(0, CALL, "}"), PartStopped(0), PartStarted(1, CALL, "call_b", "f")],
        [],
        [Delta(1, CALL, "{")],
        [
            Delta(1, CALL, "}"),
            PartStopped(1),
            PartStarted(2, CALL, "call_c", "f"),
            Delta(2, CALL, '{"x"'),
            Delta(2, CALL, ':"}"}'),
        ],
        [PartStopped(2)],
    ]


def test_what_the_provider_says_ends_a_call_also_where_its_json_does_not() -> None:
    cut = ToolCall("call_a", "f", '{"x":')
    began, over = PartStarted(1, CALL, "call_b", "f"), PartStopped(1)
    assert decoded(
        "openai-responses", added(0, cut), argued(0, '{"x":'), added(1, B), done(1, B), done(0, cut)
    )[2:] == [[], [], [PartStopped(0), began, Delta(1, CALL, B.arguments), over]]


@pytest.mark.parametrize("provider", EVENTS)
def test_calls_one_after_the_other_stream_without_waiting(provider: str) -> None:
    pieces = list(A.arguments)
    for at, call in enumerate((A, B, C)):
        events = [
            one
            for before, call in enumerate((A, B, C)[:at])
            for one in EVENTS[provider](before, call, pieces)
        ]
        told = decoded(provider, *events, *EVENTS[provider](at, call, pieces))[len(events) :]
        assert told[0][-1] == PartStarted(at, CALL, call.id, call.name)
        assert told[1 : len(pieces) + 1] == [[Delta(at, CALL, piece)] for piece in pieces]


@pytest.mark.parametrize("provider", EVENTS)
def test_text_that_comes_between_ends_the_calls_before_it(provider: str) -> None:
    pieces = [EVENTS[provider](at, call, [call.arguments]) for at, call in enumerate((A, B))]
    text = {
        "openai-chat": chat_chunks.chunk({"content": "so"}),
        "openai-responses": responses_events.text("so", output_index=2),
    }[provider]
    told = decoded(provider, pieces[0][0], *pieces[1][:2], text)[-1]
    assert [type(one) for one in told if not isinstance(one, Delta)] == [
        *(PartStopped, PartStarted, PartStopped),
        PartStarted,
    ]
    assert Delta(1, CALL, B.arguments) in told
    assert told[-1] == Delta(2, PartKind.TEXT, "so")


@pytest.mark.parametrize("provider", EVENTS)
def test_more_than_an_event_may_have_is_not_held(provider: str) -> None:
    large = ToolCall("call_b", "f", '{"x":"' + "é" * (MAX_EVENT_BYTES // 4))
    first, second = (EVENTS[provider](at, call, [call.arguments]) for at, call in ((0, A), (1, large)))
    decoder = SPOKEN[provider].decoder()
    for event in (*AROUND[provider][0], first[0], *second[:2]):
        decoder.decode(event)
    with pytest.raises(Failure, match="would have to wait for their turn") as raised:
        decoder.decode(second[1])
    assert raised.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE


def test_what_was_given_out_is_not_counted_as_held() -> None:
    turns = CallsInTurn(max_held_bytes=24)
    for order in range(99):
        call = Call("call", "f", order)
        turns.add(call)
        if turns.open is not None:
            turns.take(call, "0123456789")
            turns.open.over = True
        turn = turns.next()
        assert turn is not None
        turns.open = turn[0]
        turns.open.over = False
