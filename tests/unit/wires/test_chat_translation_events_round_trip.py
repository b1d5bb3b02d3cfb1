"""Streams of the chat wire, whatever they say: read, written, and read again."""

from hypothesis import given
from hypothesis import strategies as st

from tests.devices.fold import check_grammar, fold, unfold
from tests.unit.wires.chat_chunks import (
    COUNTED,
    DONE,
    ROLE,
    USAGE,
    annotation,
    blocks,
    call,
    chunk,
    decoded,
    event,
    written,
)
from tests.unit.wires.chat_strategies import answers
from triptych.core.conversation import Answer
from triptych.core.events import Event
from triptych.core.failure import Failure, FailureKind
from triptych.wires import sse
from triptych.wires.openai_chat import EventDecoder, decode_answer, encode_answer


@given(answers(), st.integers(1, 9))
def test_a_stream_says_what_the_whole_answer_says(answer: Answer, delta_chars: int) -> None:
    events = decoded(*blocks(written(unfold(answer, delta_chars=delta_chars))))
    assert fold(events) == answer == decode_answer(encode_answer(answer, COUNTED))


fragments = st.one_of(
    st.sampled_from(
        [ROLE, DONE, chunk({}, "stop"), chunk({}, "tool_calls"), event({"choices": [], "usage": USAGE})]
    ),
    st.builds(
        chunk,
        st.dictionaries(
            st.sampled_from(["content", "reasoning_content", "refusal", "reasoning"]),
            st.none() | st.text(max_size=3),
        ),
    ),
    st.builds(
        lambda index, **fields: call(
            index, **{name: value for name, value in fields.items() if value is not None}
        ),
        st.none() | st.integers(0, 2),
        id=st.none() | st.sampled_from(["", "c1", "c2"]),
        name=st.none() | st.sampled_from(["", "f", "g"]),
        arguments=st.none() | st.sampled_from(["", "{", "}"]),
    ),
    st.builds(
        lambda block: chunk({"thinking_blocks": [block]}),
        st.one_of(
            st.fixed_dictionaries(
                {
                    "type": st.just("thinking"),
                    "thinking": st.text(max_size=2),
                    "signature": st.sampled_from([None, "", "s"]),
                }
            ),
            st.fixed_dictionaries(
                {"type": st.just("redacted_thinking"), "data": st.sampled_from(["d", "openai:e30"])}
            ),
        ),
    ),
    st.builds(
        lambda start, end: chunk({"annotations": [annotation(start, end)]}),
        st.integers(-1, 9),
        st.integers(-1, 9),
    ),
    st.sampled_from([event({"error": {"message": "Busy"}}), event({"choices": None}), sse.Event("", b"{}")]),
)


@given(st.lists(fragments, max_size=12))
def test_whatever_a_provider_sends_the_grammar_holds(sent: list[sse.Event]) -> None:
    decoder = EventDecoder()
    said: list[Event] = []
    failures = 0
    for one in sent:
        try:
            said += decoder.decode(one)
        except Failure as failure:
            failures += failure.kind is FailureKind.UPSTREAM_INVALID_RESPONSE
            break
    check_grammar(said)
    assert failures <= 1
    # What was read can be written, and read again.
    decoded(*blocks(written(said)))
