"""Requests of the chat wire, whatever they say and however wrong they are."""

from hypothesis import given

from tests.unit.wires.chat_requests import AGENT_TURNS
from tests.unit.wires.chat_strategies import conversations
from tests.unit.wires.misplaced_json import misplaced
from triptych.core.conversation import Conversation
from triptych.core.failure import Failure, FailureKind
from triptych.wires.openai_chat import decode_request, encode_request, parse_request
from triptych.wires.translation import EncodedRequest, Inexpressible


@given(conversations())
def test_what_the_wire_can_say_comes_back_the_same(conversation: Conversation) -> None:
    request = encode_request(conversation, "the-model")
    assert request.left_out == ()
    parsed = parse_request(request.body)
    assert (parsed.model, parsed.stream) == ("the-model", conversation.stream)
    assert parsed.include_usage is conversation.stream
    assert decode_request(request.body) == conversation


@given(misplaced(AGENT_TURNS))
def test_no_body_however_wrong_is_more_than_a_failure(body: bytes) -> None:
    try:
        parse_request(body)
        outcome: object = encode_request(decode_request(body), "m")
    except (Failure, Inexpressible) as refusal:
        outcome = refusal
    if isinstance(outcome, Failure):
        assert outcome.kind in (FailureKind.INVALID_BODY, FailureKind.UNSUPPORTED_PARAMETER)
        assert outcome.param is not None
    else:
        assert isinstance(outcome, EncodedRequest | Inexpressible)
