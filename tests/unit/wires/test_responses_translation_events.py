"""A provider's stream of the Responses wire, event by event."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.devices.fold import check_grammar, fold
from tests.unit.wires.responses_bodies import ANSWER, BODY
from tests.unit.wires.responses_events import CALL, NOW_S, REASONING, TEXT, event, heard, text
from triptych.core.conversation import Citation, Opaque, Reasoning, Stop
from triptych.core.events import (
    AnswerEnded,
    AnswerFailed,
    AnswerStarted,
    CitationGiven,
    Delta,
    Event,
    OpaqueGiven,
    PartKind,
    PartStarted,
    PartStopped,
    Pinged,
)
from triptych.core.failure import Failure, FailureKind
from triptych.wires import sse
from triptych.wires.openai_responses import EventDecoder

CREATED = event("created", response={**BODY, "status": "in_progress", "output": [], "usage": None})
STARTED = AnswerStarted("resp_1", "gpt-5.2-2026-01-01", NOW_S)
MESSAGE = event("output_item.added", output_index=0, item={"type": "message", "id": "msg_1", "content": []})
THOUGHT: dict[str, object] = {"type": "reasoning", "id": "rs_1", "summary": []}


def end(status: str = "completed", **fields: object) -> sse.Event:
    return event(status, response={**BODY, "status": status, **fields})


def test_a_stream_of_the_provider_is_understood() -> None:
    item: dict[str, object] = {"output_index": 0, "item_id": "rs_1"}
    events = heard(
        CREATED,
        event("in_progress", response=BODY),
        event("output_item.added", output_index=0, item=THOUGHT),
        event(
            "reasoning_summary_part.added", summary_index=0, part={"type": "summary_text", "text": ""}, **item
        ),
        event("reasoning_summary_text.delta", summary_index=0, delta="a", **item),
        event("reasoning_summary_text.done", summary_index=0, text="a", **item),
        event(
            "reasoning_summary_part.done", summary_index=0, part={"type": "summary_text", "text": "a"}, **item
        ),
        event("reasoning_summary_text.delta", summary_index=1, delta="b", **item),
        event("reasoning_summary_text.delta", summary_index=1, delta="c", **item),
        event("output_item.done", output_index=0, item=BODY["output"][0]),
        event("output_item.added", output_index=1, item={"type": "message", "id": "msg_1", "content": []}),
        event(
            "content_part.added", output_index=1, content_index=0, part={"type": "output_text", "text": ""}
        ),
        text("See ", output_index=1, obfuscation="x9"),
        text("there", output_index=1),
        event(
            "output_text.annotation.added",
            output_index=1,
            content_index=0,
            annotation_index=0,
            annotation=BODY["output"][1]["content"][0]["annotations"][0],
        ),
        event("output_text.done", output_index=1, content_index=0, text="See there"),
        event("content_part.done", output_index=1, content_index=0, part=BODY["output"][1]["content"][0]),
        event("refusal.delta", output_index=1, content_index=1, delta="No."),
        event("refusal.done", output_index=1, content_index=1, refusal="No."),
        event(
            "content_part.done", output_index=1, content_index=1, part={"type": "refusal", "refusal": "No."}
        ),
        event("output_item.done", output_index=1, item=BODY["output"][1]),
        event("output_item.added", output_index=2, item={**BODY["output"][2], "arguments": ""}),
        event("function_call_arguments.delta", output_index=2, delta='{"a":'),
        event("function_call_arguments.delta", output_index=2, delta=" 1}"),
        event("function_call_arguments.done", output_index=2, arguments='{"a": 1}'),
        event("output_item.done", output_index=2, item=BODY["output"][2]),
        end(),
        sse.Event("", b"[DONE]"),
    )
    assert events == [
        STARTED,
        PartStarted(0, REASONING),
        Delta(0, REASONING, "a"),
        Delta(0, REASONING, "\n\nb"),
        Delta(0, REASONING, "c"),
        OpaqueGiven(0, Opaque("openai", "gAAA", id="rs_1")),
        PartStopped(0),
        PartStarted(1, TEXT),
        Delta(1, TEXT, "See "),
        Delta(1, TEXT, "there"),
        CitationGiven(1, Citation("https://a.test", "A", None, 0, 3)),
        PartStopped(1),
        PartStarted(2, PartKind.REFUSAL),
        Delta(2, PartKind.REFUSAL, "No."),
        PartStopped(2),
        PartStarted(3, CALL, "call_1", "f"),
        Delta(3, CALL, '{"a":'),
        Delta(3, CALL, " 1}"),
        PartStopped(3),
        AnswerEnded(Stop.TOOL_CALLS, None, ANSWER.usage, "default"),
    ]


def test_what_has_no_deltas_is_read_at_its_end() -> None:
    done = [event("output_item.done", output_index=at, item=item) for at, item in enumerate(BODY["output"])]
    assert fold(heard(CREATED, *done, end())) == ANSWER
    content = BODY["output"][1]["content"]
    parts = [
        event("content_part.done", output_index=1, content_index=at, part=part)
        for at, part in enumerate(content)
    ]
    assert fold(heard(CREATED, done[0], *parts, *done[1:], end())) == ANSWER
    arguments = event("function_call_arguments.done", output_index=2, arguments='{"a": 1}')
    added = event("output_item.added", output_index=2, item={**BODY["output"][2], "arguments": ""})
    assert fold(heard(CREATED, *done[:2], added, arguments, done[2], end())) == ANSWER


def test_a_stream_that_only_ends_is_read_from_the_response_at_its_end() -> None:
    assert fold(heard(CREATED, end())) == ANSWER
    assert fold(heard(CREATED, end(output=None))).parts == ()


def test_an_event_is_known_by_its_data_when_it_has_no_name() -> None:
    given = [CREATED, MESSAGE, text("hi"), end(output=[])]
    nameless = [sse.Event("", one.data) for one in given]
    assert heard(*nameless) == heard(*given)


def test_open_reasoning_is_shown_reasoning() -> None:
    item = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "hm"}],
    }
    events = heard(
        CREATED,
        event("output_item.added", output_index=0, item=THOUGHT),
        event("reasoning_text.delta", output_index=0, content_index=0, delta="hm"),
        event("reasoning_text.done", output_index=0, content_index=0, text="hm"),
        event("output_item.done", output_index=0, item=item),
        end(),
    )
    assert fold(events).parts == (Reasoning("hm"),)


def test_what_is_announced_and_stays_empty_is_no_part() -> None:
    events = heard(
        CREATED,
        event("output_item.added", output_index=0, item=THOUGHT),
        event("output_item.done", output_index=0, item=THOUGHT),
        event("output_item.added", output_index=1, item={"type": "message", "id": "m", "content": []}),
        text("", output_index=1),
        event("content_part.done", output_index=1, content_index=0, part={"type": "output_text", "text": ""}),
        end(),
    )
    assert [type(one) for one in events] == [AnswerStarted, AnswerEnded]


def test_a_part_that_is_cut_off_is_closed_before_the_end() -> None:
    events = heard(
        CREATED, MESSAGE, text("hi"), end("incomplete", incomplete_details={"reason": "max_output_tokens"})
    )
    assert events[-2:] == [PartStopped(0), AnswerEnded(Stop.MAX_TOKENS, None, ANSWER.usage, "default")]


@pytest.mark.parametrize(
    ("given", "failed"),
    [
        (
            event("failed", response={**BODY, "error": {"code": "rate_limit_exceeded", "message": "slow"}}),
            AnswerFailed("rate_limit_exceeded", "slow", "rate_limit_exceeded"),
        ),
        (
            event("error", error={}),
            AnswerFailed("server_error", "The provider reported an error without words."),
        ),
        (event("error", error={"code": 429, "message": "slow"}), AnswerFailed("429", "slow", "429")),
        (event("error", code="c", message="broken", param=None), AnswerFailed("c", "broken", "c")),
        (
            event("error", error={"type": "server_error", "code": None, "message": "broken"}),
            AnswerFailed("server_error", "broken"),
        ),
    ],
)
def test_an_error_of_the_provider_ends_the_stream(given: sse.Event, failed: AnswerFailed) -> None:
    assert heard(given, end(), CREATED) == [failed]
    assert heard(CREATED, MESSAGE, text("hi"), given, text("no more"), end())[-1] == failed


def test_a_failure_without_words_waits_for_those_of_the_event_behind_it() -> None:
    """As Azure says that a limit of tokens was exceeded."""
    words = {"type": "too_many_requests", "code": "rate_limit_exceeded", "message": "slow"}
    wordless = event("failed", response={**BODY, "error": None})
    assert heard(CREATED, wordless, event("error", error=words)) == [
        STARTED,
        AnswerFailed("too_many_requests", "slow", "rate_limit_exceeded"),
    ]


def test_a_sign_of_life_is_a_ping() -> None:
    assert heard(CREATED, event("keepalive"), event("new.thing", x=1)) == [STARTED, Pinged()]


@pytest.mark.parametrize(
    "given",
    [
        [text("hi")],
        [MESSAGE],
        [end()],
        [CREATED, sse.Event("response.output_text.delta", b"{")],
        [CREATED, sse.Event("response.output_text.delta", b'{"delta":7}')],
        [CREATED, sse.Event("", b"not json")],
        [sse.Event("response.created", b'{"response":{}}')],
        [CREATED, event("output_item.added", output_index=0, item={"type": "web_search_call"})],
        [CREATED, event("output_item.added", output_index=0, item={"type": "function_call"})],
        [CREATED, event("function_call_arguments.delta", output_index=0, delta="{")],
        [CREATED, text("a"), text("b", output_index=1), text("c")],
        [CREATED, event("content_part.done", output_index=0, part={"type": "output_audio"})],
    ],
)
def test_what_cannot_be_understood_is_refused(given: list[sse.Event]) -> None:
    with pytest.raises(Failure) as raised:
        heard(*given)
    assert raised.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE


def test_half_a_pair_of_surrogates_is_still_text() -> None:
    half = sse.Event("response.output_text.delta", b'{"delta":"a\\ud83d","output_index":0,"content_index":0}')
    assert heard(CREATED, half)[-1] == Delta(0, TEXT, "a\ufffd")


ALPHABET = [
    CREATED,
    MESSAGE,
    text("a"),
    text("b", content_index=1),
    text("c", output_index=1),
    event("output_text.done", output_index=0, content_index=0, text="ab"),
    event("content_part.done", output_index=0, content_index=1, part={"type": "output_text", "text": "b"}),
    event("refusal.delta", output_index=0, content_index=1, delta="n"),
    event("output_item.added", output_index=1, item=BODY["output"][2]),
    event("function_call_arguments.delta", output_index=1, delta="{"),
    event("function_call_arguments.done", output_index=1, arguments="{}"),
    event("reasoning_summary_text.delta", output_index=2, summary_index=1, delta="r"),
    event("reasoning_summary_text.done", output_index=2, summary_index=0, text="r"),
    *[event("output_item.done", output_index=at, item=item) for at, item in enumerate(BODY["output"])],
    event("output_text.annotation.added", annotation=BODY["output"][1]["content"][0]["annotations"][0]),
    event("keepalive"),
    end(),
    event("failed", response=BODY),
]


@given(st.lists(st.sampled_from(ALPHABET), max_size=14))
def test_the_grammar_is_kept_whatever_the_provider_sends(given: list[sse.Event]) -> None:
    decoder = EventDecoder()
    events: list[Event] = []
    for one in (CREATED, *given):
        try:
            events += decoder.decode(one)
        except Failure:
            break
    check_grammar(events)
