"""Continued and kept responses, the pure parts: expansion, recording, listing."""

import json
from typing import Any

import msgspec
import pytest

from triptych.core.failure import Failure
from triptych.wires.openai_responses import parse_request, rewrite_request
from triptych.wires.openai_responses.expansion import (
    answered_items,
    asked_items,
    call_ids,
    expanded,
    repeated,
)
from triptych.wires.openai_responses.items import Item, listed, page
from triptych.wires.openai_responses.recording import Recording, Replay, with_output_text

EARLIER = [b'{"role":"user","content":"first"}', b'{"type":"message","role":"assistant","content":[]}']


def raw(*items: object) -> list[msgspec.Raw]:
    return [msgspec.Raw(msgspec.json.encode(item)) for item in items]


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (
            b'{"model":"m", "previous_response_id":"r" ,"input":"new\\u00e9","x":1.50}',
            b'{"model":"m" ,"input":[A,B,{"type":"message","role":"user","content":"new\\u00e9"}],"x":1.50}',
        ),
        (
            b'{"conversation":{"id":"c"},"input": [ {"role":"user","content":"x"} ], "model":"m"}',
            b'{"input": [A,B, {"role":"user","content":"x"} ], "model":"m"}',
        ),
        (b'{"model":"m","input":[ ],"conversation":"c"}', b'{"model":"m","input":[A,B ]}'),
        (
            b'{"model":"m","input":[],"conversation":null,"previous_response_id":"r","store":true}',
            b'{"model":"m","input":[A,B],"store":true}',
        ),
    ],
)
def test_earlier_items_go_before_the_new_and_nothing_else_changes(body: bytes, sent: bytes) -> None:
    request = expanded(parse_request(body), EARLIER)
    assert request.body == sent.replace(b"A,B", b",".join(EARLIER))
    again = parse_request(request.body)
    assert again.members == request.members


def test_what_was_continued_is_still_known() -> None:
    request = expanded(parse_request(b'{"model":"m","input":"x","previous_response_id":"r"}'), EARLIER)
    assert request.previous_response_id == "r"


def test_nothing_earlier_leaves_the_input_alone() -> None:
    request = expanded(parse_request(b'{"model":"m","input":"x","conversation":"c"}'), [])
    assert request.body == b'{"model":"m","input":"x"}'


def test_an_expanded_request_is_rewritten_like_any_other() -> None:
    body = b'{"model":"m","store":true,"metadata":{"a":"b"},"input":"x","conversation":"c"}'
    request = expanded(parse_request(body), EARLIER[:1])
    sent = json.loads(rewrite_request(request, "upstream"))
    assert (sent["model"], sent["store"]) == ("upstream", False)
    assert set(sent) == {"model", "store", "input"}
    assert sent["input"][0] == {"role": "user", "content": "first"}


def test_the_reasoning_of_another_vendor_stays_behind_where_openai_goes_on() -> None:
    """OpenAI refuses all of a request for an encrypted content that it did not write."""
    thoughts = ["anthropic:sig", "anthropic-redacted:hidden", "gAAA"]
    found = [{"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": one} for one in thoughts]
    said = [{"role": "user", "content": '"anthropic:'}, *found, {"role": "assistant", "content": "x"}]
    earlier = [bytes(item) for item in raw(*said)]
    body = b'{"model":"m","input":[ {"role":"user","content":"go"}],"previous_response_id":"r","x":1.50}'
    request = expanded(parse_request(body), earlier)
    assert request.body.count(b"anthropic") == 3, "where Anthropic goes on, it is needed"
    sent = rewrite_request(request, "m")
    assert json.loads(sent)["input"] == [*said[:1], said[3], *said[4:], {"role": "user", "content": "go"}]
    assert sent.endswith(b',"x":1.50}')
    # What the caller says himself goes as he said it.
    own = b'{"model":"m","store":false,"input":[%b]}' % b",".join(earlier)
    assert rewrite_request(parse_request(own), "m") == own


def test_an_expansion_deeper_than_a_request_may_be_is_refused() -> None:
    deep = b"[" * 200 + b"]" * 200
    with pytest.raises(Failure):
        expanded(parse_request(b'{"model":"m","input":"x","conversation":"c"}'), [deep])


def test_asked_items_are_those_that_were_sent() -> None:
    request = parse_request(b'{"model":"m","input":[{"role":"user", "content":"x"}]}')
    assert [bytes(item) for item in asked_items(request)] == [b'{"role":"user", "content":"x"}']
    request = parse_request(b'{"model":"m","input":"he said \\"x\\""}')
    assert json.loads(bytes(asked_items(request)[0])) == {
        "type": "message",
        "role": "user",
        "content": 'he said "x"',
    }


@pytest.mark.parametrize("response", [b"{}", b"[]", b"{", b'{"output":7}', b'{"output":[]}'])
def test_a_response_without_readable_output_has_no_items(response: bytes) -> None:
    assert answered_items(response) == []


def test_items_are_repeated_without_what_only_their_keeper_knows() -> None:
    items = raw(
        {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": []},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "abc"},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "id": "fco_1", "call_id": "c1", "output": "1"},
        {"type": "function_call_output", "call_id": "gone", "output": "2"},
        {"type": "mcp_call", "id": "mcp_1", "name": "f"},
        {"role": "user", "content": "x"},
        7,
    )
    assert [json.loads(item) for item in repeated(items, call_ids(items))] == [
        {"type": "message", "role": "assistant", "status": "completed", "content": []},
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "abc"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
        {"type": "mcp_call", "id": "mcp_1", "name": "f"},
        {"role": "user", "content": "x"},
    ]


def test_a_call_is_repeated_with_its_output_or_while_that_may_still_come() -> None:
    def call(id: str) -> dict[str, str]:
        return {"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"}

    def output(id: str) -> dict[str, str]:
        return {"type": "function_call_output", "call_id": id, "output": "1"}

    # Some providers give every turn's call the same id.
    items = [call("c0"), output("c0"), call("lost"), call("new"), call("c0"), call("open")]
    kept = [*items[:2], call("new"), call("open")]
    open_calls = call_ids(raw(call("open"), output("new"), {"role": "user", "content": "x"}, 7))
    assert open_calls == {"open", "new"}
    assert [json.loads(item) for item in repeated(raw(*items), open_calls)] == kept


# -- recording --------------------------------------------------------------------------------


def test_a_plain_answer_says_where_it_is_kept_and_else_stays_as_it_was() -> None:
    recording = Recording("conv_1", "resp_0")
    body = b'{ "id":"resp_1","store":false,"x":1.50,"status":"completed","previous_response_id":null }'
    told = recording.plain(body)
    assert told == (
        b'{ "id":"resp_1","store":true,"x":1.50,"status":"completed","previous_response_id":"resp_0"'
        b',"conversation":{"id":"conv_1"},"output_text":"" }'
    )
    assert (recording.id, recording.ended, recording.kept()) == ("resp_1", "completed", told)


def test_an_answer_that_is_no_object_is_left_alone() -> None:
    for body in (b"[]", b"{}", b"{", b'{"id":1,"id":2}'):
        assert Recording("c", None).plain(body) == body


@pytest.mark.parametrize(
    ("status", "kept"),
    [("completed", "completed"), ("incomplete", "incomplete"), ("failed", "failed"), ("cancelled", "failed")],
)
def test_how_it_ended_is_what_the_provider_said(status: str, kept: str) -> None:
    recording = Recording("c", None)
    recording.plain(json.dumps({"id": "r", "status": status}).encode())
    assert recording.ended == kept


def event(type_: str, number: int, **more: Any) -> bytes:
    data = json.dumps({"type": type_, "sequence_number": number, **more})
    return f"event: {type_}\ndata: {data}\n\n".encode()


def test_a_stream_is_told_in_every_snapshot_and_nowhere_else() -> None:
    recording = Recording("conv_1", None)
    delta = event("response.output_text.delta", 1, delta="response.created")
    created = recording.events(event("response.created", 0, response={"id": "r", "status": "in_progress"}))
    assert json.loads(created.split(b"data: ")[1])["response"] == {
        "id": "r",
        "status": "in_progress",
        "store": True,
        "conversation": {"id": "conv_1"},
    }
    assert (recording.id, recording.ended) == ("r", "failed")
    assert recording.events(delta) is not None and recording.events(delta) == delta
    final = event(
        "response.completed",
        2,
        response={
            "id": "r",
            "status": "completed",
            "output": [{"type": "message", "content": [{"type": "output_text", "text": "hi"}]}],
        },
    )
    told = recording.events(delta + final + b": comment\n\n")
    assert told.startswith(delta) and told.endswith(b": comment\n\n")
    assert recording.ended == "completed"
    assert json.loads(recording.kept())["output_text"] == "hi"
    assert b"output_text" in told and b'"output_text":"hi"' not in told


def test_snapshots_in_any_spelling_of_an_event_are_told() -> None:
    data = b'{"type":"response.created",\ndata: "response":{"id":"r"}}'
    for block in (
        b"event:response.created\r\ndata:" + data.replace(b"\ndata: ", b"") + b"\r\n\r\n",
        b"event: response.created\ndata: " + data + b"\n\n",
        b"data: " + data.replace(b"\ndata: ", b"") + b"\n\n",
    ):
        recording = Recording("conv_1", None)
        told = recording.events(block)
        assert b'"conversation":{"id":"conv_1"}' in told and recording.id == "r"
        assert told.endswith((b"\n\n", b"\r\n\r\n"))


def test_a_snapshot_that_cannot_be_read_is_relayed() -> None:
    for block in (b"event: response.created\ndata: {\n\n", event("response.created", 0, response=7)):
        assert Recording("c", None).events(block) == block


def test_a_replay_tells_what_has_a_higher_number() -> None:
    events = [event("a", 0), b": ping\n\n", event("b", 1), event("c", 2)]
    error = b'event: error\ndata: {"error":{}}\n\n'
    replay = Replay(0)
    assert replay.feed(b"".join(events)) == events[2] + events[3]
    assert (replay.ended, json.loads(replay.last)["type"]) == (False, "c")
    assert Replay(-1).feed(b"".join(events)) == events[0] + events[2] + events[3]
    late = Replay(9)
    assert late.feed(b"".join(events) + error) == error
    assert late.ended


@pytest.mark.parametrize("type_", ["response.completed", "response.incomplete", "response.failed"])
def test_a_replay_has_ended_with_the_terminal_event_seen_or_not(type_: str) -> None:
    replay = Replay(5)
    assert replay.feed(event(type_, 5)) == b"" and replay.ended
    nameless = Replay(-1)
    assert nameless.feed(event(type_, 5).partition(b"\n")[2]) and nameless.ended


def test_a_stream_that_broke_off_is_kept_as_failed() -> None:
    recording = Recording("c", None)
    recording.events(event("response.created", 0, response={"id": "r", "status": "in_progress"}))
    recording.events(b'event: error\ndata: {"type":"error","code":"x"}\n\n')
    assert recording.ended == "failed"
    found = json.loads(recording.kept())
    assert (found["id"], found["status"], found["error"]["code"]) == ("r", "failed", "server_error")


def test_output_text_is_all_text_of_all_messages_unless_told_already() -> None:
    output = [
        {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "no"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "a"}, {"type": "refusal"}]},
        {"type": "function_call", "arguments": "{}"},
        {"type": "message", "content": [{"type": "output_text", "text": "b"}]},
    ]
    assert json.loads(with_output_text(json.dumps({"output": output}).encode()))["output_text"] == "ab"
    told = b'{"output":[],"output_text":"mine"}'
    assert with_output_text(told) == told
    for odd in (b"[]", b"{", b'{"output":3}', b"{}"):
        assert with_output_text(odd) == odd


# -- items ------------------------------------------------------------------------------------


def test_a_listed_item_has_an_id_a_type_a_status_and_parts() -> None:
    def shown(item: object) -> Any:
        found = listed(raw(item)[0], "01JX", 3)
        assert found is not None
        return json.loads(bytes(found.text))

    assert shown({"role": "user", "content": "hi"}) == {
        "id": "msg_01jx0003",
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_text", "text": "hi"}],
    }
    assert shown({"role": "assistant", "content": "yo"})["content"] == [
        {"type": "output_text", "text": "yo", "annotations": []}
    ]
    assert shown({"type": "function_call_output", "call_id": "c", "output": "1", "id": None})["id"] == (
        "fco_01jx0003"
    )
    told = {"type": "message", "id": "msg_x", "role": "assistant", "status": "incomplete", "content": []}
    assert shown(told) == told
    assert listed(msgspec.Raw(b"7"), "01JX", 0) is None


def items(*spelled: str) -> list[Item]:
    return [Item(word, word.startswith("m"), msgspec.Raw(b"{}")) for word in spelled]


@pytest.mark.parametrize(
    ("limit", "after", "expected", "more"),
    [
        (1, None, ["m1", "c1", "o1"], True),
        (2, None, ["m1", "c1", "o1", "m2"], True),
        (3, None, ["m1", "c1", "o1", "m2", "m3", "c2"], False),
        (100, "m2", ["m3", "c2"], False),
        (1, "m1", ["c1", "o1", "m2"], True),
        (1, "c2", [], False),
    ],
)
def test_a_page_counts_messages_only(limit: int, after: str | None, expected: list[str], more: bool) -> None:
    found = page(items("m1", "c1", "o1", "m2", "m3", "c2"), limit=limit, after=after)
    assert found is not None
    assert ([item.id for item in found.items], found.has_more) == (expected, more)


def test_a_page_behind_an_unknown_item_is_none() -> None:
    assert page(items("m1"), limit=5, after="m9") is None
