"""POST /v1/responses with state, GET and DELETE /v1/responses/{id}: what is kept, for whom, until when."""

import gzip
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.contract.inference.state_world import (
    ANA,
    ANA_SINGLE,
    ANA_TEST,
    BOB,
    EVE,
    RESPONSES,
    StateSides,
    event,
    events_of,
    leave,
    read_events,
    response,
    state_world,
    text,
)
from tests.contract.raw_client import Answer, RawClient, request

INVALID = "invalid_request_error"


@pytest.fixture(scope="module")
def sides() -> Iterator[StateSides]:
    with state_world() as both:
        yield both


def error(got: Answer) -> tuple[int, str, str | None, str | None]:
    said = json.loads(got.body)["error"]
    return got.status, said["type"], said["code"], said["param"]


# -- storing and reading ----------------------------------------------------------------------


def test_a_stored_answer_is_read_back_byte_for_byte(sides: StateSides) -> None:
    got = sides.create("read me back")
    found = sides.get(f"{RESPONSES}/{json.loads(got.body)['id']}")
    assert (found.status, found.body) == (200, got.body)
    assert found.header("content-type") == "application/json"
    assert found.header("x-request-id") != got.header("x-request-id")


def test_a_stored_answer_says_where_it_is_kept_and_else_is_the_providers(sides: StateSides) -> None:
    theirs = b'{ "id":"resp_a","store":false, "status":"completed","output":[],"odd":1.50,"model":"theirs" }'
    sides.answers(theirs)
    got = sides.create("x", model="gpt")
    assert sides.sent() == {"model": "gpt", "input": "x", "store": False}
    conversation = json.loads(got.body)["conversation"]["id"]
    assert conversation.startswith("conv_")
    told = theirs.replace(b'"store":false', b'"store":true')
    told = told[:-2] + b',"conversation":{"id":"%b"},"output_text":"" }' % conversation.encode()
    assert got.body == told


def test_nothing_is_stored_unless_asked_for(sides: StateSides) -> None:
    for number, fields in enumerate(({"store": False}, {"store": False, "stream": True})):
        sides.answers(response(f"resp_unstored{number}", "completed"))
        sides.create("x", model="gpt", **fields)
        assert sides.get(f"{RESPONSES}/resp_unstored{number}").status == 404
    body = json.dumps({"model": "gpt", "input": "x"}).encode()
    sides.answers(response("resp_default", "completed"))
    got = sides.ask("POST", RESPONSES, ANA, body)
    assert json.loads(got.body)["store"] is False
    assert sides.get(f"{RESPONSES}/resp_default").status == 404


def test_a_streamed_answer_is_stored_as_its_last_snapshot(sides: StateSides) -> None:
    got = sides.create("one two three", stream=True)
    assert (
        got.header(
            "content-type",
        )
        is not None
    )
    snapshots = [data["response"] for _, data in events_of(got.body) if "response" in data]
    assert len(snapshots) >= 3
    assert len({snapshot["conversation"]["id"] for snapshot in snapshots}) == 1
    assert all(snapshot["store"] is True for snapshot in snapshots)
    found = sides.stored(snapshots[-1]["id"])
    assert found["output_text"] == "one two three"
    assert {**found, "output_text": ""} == {**snapshots[-1], "output_text": ""}


def test_a_translated_answer_is_stored_as_its_caller_saw_it(sides: StateSides) -> None:
    got = sides.create("hello", model="claude")
    body = json.loads(got.body)
    assert got.status == 200 and body["object"] == "response"
    assert sides.stored(body["id"]) == body
    sides.created("and then?", model="claude", previous_response_id=body["id"])
    said = [message["role"] for message in sides.sent()["messages"]]
    assert said == ["user", "assistant", "user"]


def test_a_providers_error_is_passed_on_and_nothing_is_stored(sides: StateSides) -> None:
    before = stored_rows(sides)
    for stream in (False, True):
        got = sides.create("x", model="sandbox-error-upstream_overloaded", stream=stream)
        assert got.status == 503
    assert stored_rows(sides) == before


def stored_rows(sides: StateSides) -> int:
    return int(query(sides, "SELECT count(*) FROM stored_responses")[0][0])


def query(sides: StateSides, statement: str, *values: object) -> list[Any]:
    connection = sqlite3.connect(sides.gateway.database)
    try:
        found = connection.execute(statement, values).fetchall()
        connection.commit()
        return found
    finally:
        connection.close()


@pytest.mark.parametrize("odd", [b'{"status":"completed"}', b'{"id":7}', b'{"id":""}', b'{"id":"a\\nb"}'])
@pytest.mark.parametrize("stream", [False, True])
def test_a_response_without_an_id_it_could_be_found_by_is_an_invalid_one(
    sides: StateSides, odd: bytes, stream: bool
) -> None:
    if stream:
        sides.streams(b'event: response.created\ndata: {"type":"response.created","response":%b}\n\n' % odd)
    else:
        sides.answers(odd)
    got = sides.create("x", model="gpt", stream=stream)
    assert error(got) == (502, "server_error", "upstream_invalid_response", None)


@pytest.mark.parametrize(
    ("fields", "packed"),
    [
        ((), lambda body: body.replace(b'"store"', b'"st\\u006fre"')),
        ((), lambda body: body.replace(b'"store": true', b'"store"\n:\ttrue')),
        (("content-encoding: gzip",), gzip.compress),
    ],
    ids=["escaped", "spaced", "compressed"],
)
def test_however_it_is_asked_for_a_stored_stream_goes_on_without_its_client(
    sides: StateSides, fields: tuple[str, ...], packed: Callable[[bytes], bytes]
) -> None:
    said = f"30 words {packed}"
    body = {"model": "sandbox-lorem", "input": said, "store": True, "stream": True}
    with RawClient(sides.gateway.port) as client:
        sent = packed(json.dumps(body).encode())
        client.send(request("POST", RESPONSES, f"authorization: Bearer {ANA}", *fields, body=sent))
        seen = read_events(client, b"output_text.delta")
    response_id = json.loads(seen.split(b"data: ")[1].split(b"\n")[0])["response"]["id"]
    resumed = sides.get(f"{RESPONSES}/{response_id}?stream=true")
    assert events_of(resumed.body)[-1][0] == "response.completed"


# -- continuing -------------------------------------------------------------------------------


def test_a_response_continues_another_with_all_that_was_said(sides: StateSides) -> None:
    first = sides.created("my name is Ana", model="gpt", **answered(sides, "resp_c1", "hello Ana"))
    second = sides.created(
        [{"role": "user", "content": "what is it?"}],
        model="gpt",
        previous_response_id=first["id"],
        temperature=0.5,
        **answered(sides, "resp_c2", "Ana", "msg_2"),
    )
    sent = sides.sent()
    assert set(sent) == {"model", "input", "store", "temperature"} and sent["store"] is False
    assert [(item["role"], spoken(item)) for item in sent["input"]] == [
        ("user", "my name is Ana"),
        ("assistant", "hello Ana"),
        ("user", "what is it?"),
    ]
    assert not any("id" in item for item in sent["input"])
    assert second["previous_response_id"] == "resp_c1"
    assert second["conversation"] == first["conversation"]
    sides.created("and?", model="gpt", previous_response_id="resp_c2", **answered(sides, "resp_c3", "."))
    assert len(sides.sent()["input"]) == 5


def answered(sides: StateSides, response_id: str, said: str, item_id: str = "msg_1") -> dict[str, Any]:
    sides.answers(response(response_id, "completed", text(said, item_id)))
    return {}


def spoken(item: dict[str, Any]) -> str:
    content = item["content"]
    return str(content if isinstance(content, str) else content[0]["text"])


@pytest.mark.parametrize("spelling", ["text", "object"])
def test_a_conversation_is_continued_by_its_id(sides: StateSides, spelling: str) -> None:
    first = sides.created(f"one {spelling}")
    conversation = first["conversation"]["id"]
    named: object = conversation if spelling == "text" else {"id": conversation}
    second = sides.created("two", conversation=named)
    assert second["conversation"] == {"id": conversation}
    listed = sides.items(conversation)["data"]
    assert [spoken(item) for item in listed] == [f"one {spelling}", f"one {spelling}", "two", "two"]


def test_continuing_without_storing_leaves_the_conversation_as_it_was(sides: StateSides) -> None:
    first = sides.created("said and kept")
    got = sides.created("not kept", store=False, previous_response_id=first["id"])
    assert sides.get(f"{RESPONSES}/{got['id']}").status == 404
    assert len(sides.items(first["conversation"]["id"])["data"]) == 2


def test_what_goes_on_from_the_middle_is_a_branch_of_its_own(sides: StateSides) -> None:
    first = sides.created("root")
    trunk = sides.created("trunk", previous_response_id=first["id"])
    branch = sides.created("branch", previous_response_id=first["id"])
    assert trunk["conversation"] == first["conversation"] != branch["conversation"]
    said = [spoken(item) for item in sides.items(branch["conversation"]["id"])["data"]]
    assert said == ["root", "root", "branch", "branch"]
    said = [spoken(item) for item in sides.items(first["conversation"]["id"])["data"]]
    assert said == ["root", "root", "trunk", "trunk"]


TOOL = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}


def test_a_call_of_a_clients_tool_ends_the_turn_and_its_output_begins_the_next(sides: StateSides) -> None:
    first = sides.created("look it up", model="sandbox-tool", tools=[TOOL])
    call = first["output"][-1]
    assert call["type"] == "function_call"
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "42"}
    second = sides.created([output], model="sandbox-tool", tools=[TOOL], previous_response_id=first["id"])
    assert "42" in second["output_text"]
    kinds = [item["type"] for item in sides.items(second["conversation"]["id"])["data"]]
    assert kinds == ["message", "function_call", "function_call_output", "message"]


def test_tools_of_an_mcp_server_may_be_named_in_a_stored_request(sides: StateSides) -> None:
    tool = {"type": "mcp", "server_label": "x", "server_url": "https://mcp.test"}
    sides.answers(response("resp_mcp", "completed"))
    assert sides.create("x", model="gpt", tools=[tool]).status == 200
    got = sides.create("x", model="gpt", tools=[tool], store=False)
    assert error(got) == (400, INVALID, "unsupported_tool_type", "tools[0].type")


# -- whose it is ------------------------------------------------------------------------------


def test_what_is_not_there_is_not_found(sides: StateSides) -> None:
    assert error(sides.get(f"{RESPONSES}/resp_none")) == (404, "not_found", None, None)
    assert error(sides.ask("DELETE", f"{RESPONSES}/resp_none")) == (404, "not_found", None, None)
    assert error(sides.create("x", previous_response_id="resp_none")) == (
        404,
        INVALID,
        "previous_response_not_found",
        "previous_response_id",
    )
    assert error(sides.create("x", conversation="conv_none")) == (404, "not_found", None, "conversation")
    assert sides.get(f"{RESPONSES}/a/b").status == 404


def test_a_colleague_may_not_and_another_org_does_not_know(sides: StateSides) -> None:
    mine = sides.created("this is Ana's alone")
    target, conversation = f"{RESPONSES}/{mine['id']}", mine["conversation"]["id"]
    for got in (
        sides.get(target, BOB),
        sides.get(target + "?stream=true", BOB),
        sides.ask("DELETE", target, BOB),
        sides.create("x", BOB, previous_response_id=mine["id"]),
        sides.create("x", BOB, conversation=conversation),
    ):
        assert error(got)[:2] == (403, "permission_error")
    for key in (EVE, ANA_TEST):
        assert error(sides.get(target, key)) == (404, "not_found", None, None)
        assert error(sides.ask("DELETE", target, key))[0] == 404
        assert error(sides.create("x", key, previous_response_id=mine["id"]))[2] == (
            "previous_response_not_found"
        )
        assert error(sides.create("x", key, conversation=conversation))[:2] == (404, "not_found")
    assert sides.stored(mine["id"])["output_text"] == "this is Ana's alone"


def test_equal_ids_are_everybodys_own(sides: StateSides) -> None:
    """The sandbox gives equal requests equal ids."""
    hers, his = sides.created("the very same"), sides.created("the very same", BOB)
    assert hers["id"] == his["id"] and hers["conversation"] != his["conversation"]
    assert sides.stored(hers["id"]) == hers and sides.stored(his["id"], BOB) == his


def test_a_stranger_is_told_nothing(sides: StateSides) -> None:
    for method in ("GET", "DELETE"):
        got = sides.ask(method, f"{RESPONSES}/resp_1", "nobody")
        assert (got.status, got.body) == (401, b'{"error":"Unauthorized"}')


def test_reading_counts_as_a_request_and_is_one_row(sides: StateSides) -> None:
    mine = sides.created("counted")
    got = sides.get(f"{RESPONSES}/{mine['id']}")
    request_id = (got.header("request-id") or "").removeprefix("req_")
    [row] = sides.wait_for_rows(f"id = '{request_id}'", 1)
    assert (row["endpoint"], row["ending"], row["status"], row["cost_nusd"]) == (
        "responses",
        "completed",
        200,
        0,
    )


# -- deleting and retention -------------------------------------------------------------------


def test_a_deleted_response_is_gone(sides: StateSides) -> None:
    mine = sides.created("to be deleted", stream=False)
    got = sides.ask("DELETE", f"{RESPONSES}/{mine['id']}")
    assert (got.status, json.loads(got.body)) == (
        200,
        {"id": mine["id"], "object": "response", "deleted": True},
    )
    assert sides.get(f"{RESPONSES}/{mine['id']}").status == 404
    assert sides.ask("DELETE", f"{RESPONSES}/{mine['id']}").status == 404
    assert error(sides.create("x", previous_response_id=mine["id"]))[0] == 404
    assert sides.get(f"/v1/conversations/{mine['conversation']['id']}/items").status == 404


def test_past_its_retention_a_response_was_never_there(sides: StateSides) -> None:
    mine = sides.created("old news")
    old_us = time.time_ns() // 1000 - 31 * 86_400_000_000
    query(sides, "UPDATE stored_responses SET created_us = ? WHERE id = ?", old_us, mine["id"])
    assert sides.get(f"{RESPONSES}/{mine['id']}").status == 404
    assert error(sides.create("x", previous_response_id=mine["id"]))[2] == "previous_response_not_found"
    assert error(sides.create("x", conversation=mine["conversation"]))[0] == 404


def test_nothing_of_what_was_said_stands_in_the_files(sides: StateSides) -> None:
    canary = "xylophone-quarry-4711"
    sides.created(f"remember {canary}")
    sides.create(f"remember {canary} too", stream=True)
    for path in sides.gateway.folder.iterdir():
        if path.is_file():
            assert canary.encode() not in path.read_bytes(), path.name


# -- streams that are read again --------------------------------------------------------------


def test_a_stream_is_read_again_from_any_event_on(sides: StateSides) -> None:
    got = sides.create("alpha beta gamma", stream=True)
    events = events_of(got.body)
    response_id = events[0][1]["response"]["id"]
    target = f"{RESPONSES}/{response_id}?stream=true"
    again = sides.get(target)
    assert (again.status, again.header("content-type")) == (200, "text/event-stream; charset=utf-8")
    assert again.body == got.body
    blocks = [block + b"\n\n" for block in got.body.split(b"\n\n")[:-1]]
    for place, (_, data) in enumerate(events):
        after = sides.get(f"{target}&starting_after={data['sequence_number']}")
        assert after.body == b"".join(blocks[place + 1 :])


def test_there_are_no_events_of_what_was_not_streamed(sides: StateSides) -> None:
    mine = sides.created("not streamed")
    got = sides.get(f"{RESPONSES}/{mine['id']}?stream=true")
    assert error(got) == (404, "not_found", None, "stream")


def test_events_are_gone_an_hour_after_the_end(sides: StateSides) -> None:
    got = sides.create("an hour", stream=True)
    response_id = events_of(got.body)[0][1]["response"]["id"]
    past_us = time.time_ns() // 1000 - 3_601_000_000
    query(sides, "UPDATE stored_responses SET ended_us = ? WHERE id = ?", past_us, response_id)
    assert error(sides.get(f"{RESPONSES}/{response_id}?stream=true")) == (404, "not_found", None, "stream")
    assert sides.stored(response_id)["output_text"] == "an hour"


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ("stream=yes", "stream"),
        ("starting_after=1", "starting_after"),
        ("stream=true&starting_after=-1", "starting_after"),
        ("stream=true&starting_after=x", "starting_after"),
        ("stream=true&stream=true", "stream"),
    ],
)
def test_a_query_that_cannot_be_is_refused_by_name(sides: StateSides, asked: str, param: str) -> None:
    mine = sides.created("queried")
    assert error(sides.get(f"{RESPONSES}/{mine['id']}?{asked}")) == (400, INVALID, "invalid_body", param)


def test_head_of_a_stream_is_a_head(sides: StateSides) -> None:
    got = sides.create("head", stream=True)
    response_id = events_of(got.body)[0][1]["response"]["id"]
    assert sides.ask("HEAD", f"{RESPONSES}/{response_id}?stream=true").status == 200


def test_a_client_that_leaves_does_not_stop_what_is_stored(sides: StateSides) -> None:
    client = sides.begin("90 words", model="sandbox-lorem")
    seen = read_events(client, b"output_text.delta")
    leave(client)
    response_id = json.loads(seen.split(b"data: ")[1].split(b"\n")[0])["response"]["id"]
    running = sides.stored(response_id)
    assert running["status"] == "in_progress"
    resumed = sides.get(f"{RESPONSES}/{response_id}?stream=true&starting_after=3")
    names = [name for name, _ in events_of(resumed.body)]
    assert names[-1] == "response.completed" and names.count("response.output_text.delta") == 90
    assert [data["sequence_number"] for _, data in events_of(resumed.body)] == list(range(4, 4 + len(names)))
    assert len(sides.stored(response_id)["output_text"].split()) == 90
    rows = sides.wait_for_rows("model = 'sandbox-lorem' AND ending = 'completed'", 1)
    assert rows[-1]["output_tokens"] > 90


def test_a_client_that_leaves_a_plain_stored_request_does_not_stop_it(sides: StateSides) -> None:
    before = len(sides.wait_for_rows("endpoint = 'responses' AND model = 'gpt'", 0))
    first = sides.created("start", model="gpt", **answered(sides, "resp_p1", "one"))
    sides.streams_and_waits(
        event("response.created", 0, response=response("resp_p2", "in_progress")),
        wait_s=0.5,
        end=event("response.completed", 1, response=response("resp_p2", "completed", text("two"))),
    )
    client = sides.begin("go on", model="gpt", previous_response_id=first["id"])
    read_events(client, b"resp_p2")
    leave(client)
    rows = sides.wait_for_rows("endpoint = 'responses' AND model = 'gpt'", before + 2)
    assert rows[-1]["ending"] == "completed"
    assert sides.stored("resp_p2")["output_text"] == "two"
    assert len(sides.items(first["conversation"]["id"])["data"]) == 4


def test_a_client_that_leaves_what_is_not_stored_stops_it(sides: StateSides) -> None:
    client = sides.begin("5000 words", model="sandbox-lorem", store=False)
    read_events(client, b"output_text.delta")
    leave(client)
    rows = sides.wait_for_rows("model = 'sandbox-lorem' AND ending = 'cancelled'", 1, 3.0)
    assert rows[-1]["failure_kind"] == "client_disconnected"


def test_a_key_of_one_request_at_a_time_can_follow_and_stop_what_its_client_left(sides: StateSides) -> None:
    client = sides.begin("8000 words", ANA_SINGLE, model="sandbox-lorem")
    seen = read_events(client, b"output_text.delta")
    leave(client)
    response_id = json.loads(seen.split(b"data: ")[1].split(b"\n")[0])["response"]["id"]
    assert error(sides.create("another", ANA_SINGLE))[:3] == (429, "rate_limit_error", "concurrency_exceeded")
    assert sides.stored(response_id, ANA_SINGLE)["status"] == "in_progress"
    with RawClient(sides.gateway.port) as follower:
        target = f"{RESPONSES}/{response_id}?stream=true&starting_after=3"
        follower.send(request("GET", target, f"authorization: Bearer {ANA_SINGLE}"))
        read_events(follower, b"output_text.delta")
        assert sides.ask("DELETE", f"{RESPONSES}/{response_id}", ANA_SINGLE).status == 200
        read_events(follower, b"response.failed")
    free = sides.upstream.wait_until(lambda: sides.create("another", ANA_SINGLE).status == 200, 3.0)
    assert free


@pytest.mark.parametrize("stays", [True, False])
def test_deleting_a_running_response_stops_it(sides: StateSides, stays: bool) -> None:
    before = len(sides.wait_for_rows("ending = 'cancelled'", 0))
    client = sides.begin(f"7000 words {stays}", model="sandbox-lorem")
    seen = read_events(client, b"output_text.delta")
    response_id = json.loads(seen.split(b"data: ")[1].split(b"\n")[0])["response"]["id"]
    if not stays:
        leave(client)
    assert sides.ask("DELETE", f"{RESPONSES}/{response_id}").status == 200
    assert sides.get(f"{RESPONSES}/{response_id}").status == 404
    rows = sides.wait_for_rows("ending = 'cancelled'", before + 1, 3.0)
    assert (rows[-1]["stream"], rows[-1]["status"]) == (1, 200) and rows[-1]["output_tokens"] > 0
    if stays:
        end = seen + read_events(client, b"\r\n0\r\n\r\n")
        assert b"event: error" in end and b"event: response.failed" in end
        leave(client)
    assert query(sides, "SELECT count(*) FROM stored_responses WHERE id = ?", response_id) == [(0,)]
    left = "exchange_id NOT IN (SELECT exchange_id FROM stored_responses)"
    assert query(sides, f"SELECT count(*) FROM stored_events WHERE {left}") == [(0,)]


@pytest.mark.parametrize("model", ["sandbox-error-midstream_cut", "sandbox-error-midstream_overloaded"])
def test_a_stream_that_broke_is_stored_as_failed(sides: StateSides, model: str) -> None:
    got = sides.create("broken", model=model, stream=True)
    events = events_of(got.body)
    response_id = events[0][1]["response"]["id"]
    found = sides.stored(response_id)
    assert found["status"] == "failed" and found["error"]["code"] == "server_error"
    assert sides.get(f"{RESPONSES}/{response_id}?stream=true").body == got.body
    refused = sides.create("x", previous_response_id=response_id)
    assert error(refused)[2] == "previous_response_not_found"


def test_a_response_that_is_still_made_cannot_be_continued(sides: StateSides) -> None:
    client = sides.begin("3000 words", model="sandbox-lorem")
    seen = read_events(client, b"output_text.delta")
    response_id = json.loads(seen.split(b"data: ")[1].split(b"\n")[0])["response"]["id"]
    assert error(sides.create("x", previous_response_id=response_id))[2] == "previous_response_not_found"
    sides.ask("DELETE", f"{RESPONSES}/{response_id}")
    leave(client)
