"""GET /v1/conversations/{id}/items[/{item_id}]: pages, whose it is, and what its errors look like."""

import json
from collections.abc import Iterator

import pytest

from tests.contract.inference.state_world import (
    ANA_TEST,
    BOB,
    EVE,
    RESPONSES,
    StateSides,
    response,
    state_world,
    text,
)
from tests.contract.inference.test_stored_responses import TOOL, spoken


@pytest.fixture(scope="module")
def sides() -> Iterator[StateSides]:
    with state_world() as both:
        yield both


@pytest.fixture(scope="module")
def conversation(sides: StateSides) -> str:
    """Six messages, and a call with its output between them."""
    first = sides.created([{"role": "system", "content": "be brief"}, {"role": "user", "content": "one"}])
    found = str(first["conversation"]["id"])
    call = sides.created("call", model="sandbox-tool", tools=[TOOL], conversation=found)["output"][-1]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "42"}
    sides.created([output], model="sandbox-tool", tools=[TOOL], conversation=found)
    sides.created("last", conversation={"id": found})
    return found


KINDS = ["message"] * 4 + ["function_call", "function_call_output"] + ["message"] * 3


def test_items_are_listed_newest_first_unless_asked_otherwise(sides: StateSides, conversation: str) -> None:
    ascending, descending = sides.items(conversation), sides.items(conversation, "")
    assert ascending["data"] == descending["data"][::-1]
    assert [item["type"] for item in ascending["data"]] == KINDS
    assert set(ascending) == {"object", "data", "has_more", "first_id", "last_id"}
    assert (ascending["object"], ascending["has_more"]) == ("list", False)
    assert ascending["first_id"] == ascending["data"][0]["id"] == descending["last_id"]


def test_every_item_has_an_id_of_its_own_that_stays(sides: StateSides, conversation: str) -> None:
    ids = [item["id"] for item in sides.items(conversation)["data"]]
    assert len(set(ids)) == len(ids) and all(ids)
    assert ids == [item["id"] for item in sides.items(conversation)["data"]]


def test_what_was_sent_as_text_is_listed_in_parts(sides: StateSides, conversation: str) -> None:
    listed = sides.items(conversation)["data"]
    assert listed[0]["role"] == "system"
    assert listed[1]["content"] == [{"type": "input_text", "text": "one"}]
    assert listed[2]["content"][0]["type"] == "output_text"
    assert all(item["status"] == "completed" for item in listed)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_pages_count_messages_and_hold_everything_once(
    sides: StateSides, conversation: str, order: str, limit: int
) -> None:
    whole = sides.items(conversation, f"?order={order}&limit=100")["data"]
    found, after = [], ""
    while True:
        page = sides.items(conversation, f"?order={order}&limit={limit}{after}")
        assert sum(item["type"] == "message" for item in page["data"]) <= limit
        assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
        found += page["data"]
        if not page["has_more"]:
            break
        after = f"&after={page['last_id']}"
    assert found == whole


def test_behind_the_last_item_there_is_an_empty_page(sides: StateSides, conversation: str) -> None:
    last = sides.items(conversation)["last_id"]
    assert sides.items(conversation, f"?order=asc&after={last}") == {
        "object": "list",
        "data": [],
        "has_more": False,
        "first_id": None,
        "last_id": None,
    }


def test_one_item_is_found_by_its_id(sides: StateSides, conversation: str) -> None:
    for item in sides.items(conversation)["data"]:
        got = sides.get(f"/v1/conversations/{conversation}/items/{item['id']}")
        assert (got.status, json.loads(got.body)) == (200, item)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("order=up", "order"),
        ("after=msg_nobody", "after"),
    ],
)
def test_a_page_that_cannot_be_is_refused_by_name(
    sides: StateSides, conversation: str, query: str, param: str
) -> None:
    got = sides.get(f"/v1/conversations/{conversation}/items?{query}")
    said = json.loads(got.body)["error"]
    assert (got.status, said["type"], said["code"], said["param"]) == (
        400,
        "invalid_request_error",
        "invalid_body",
        param,
    )


def test_a_colleague_may_not_read_it(sides: StateSides, conversation: str) -> None:
    for tail in ("items", "items/msg_1"):
        got = sides.get(f"/v1/conversations/{conversation}/{tail}", BOB)
        assert (got.status, json.loads(got.body)["error"]["type"]) == (403, "permission_error")


@pytest.mark.parametrize("key", [EVE, ANA_TEST])
def test_another_org_and_another_environment_do_not_know_of_it(
    sides: StateSides, conversation: str, key: str
) -> None:
    for tail in ("items", "items/msg_1"):
        got = sides.get(f"/v1/conversations/{conversation}/{tail}", key)
        said = json.loads(got.body)["error"]
        assert (got.status, said["type"], said["code"], said["param"]) == (
            404,
            "not_found_error",
            "not_found",
            None,
        )


def test_an_item_that_is_not_there_is_not_found(sides: StateSides, conversation: str) -> None:
    got = sides.get(f"/v1/conversations/{conversation}/items/msg_nobody")
    assert (got.status, json.loads(got.body)["error"]["code"]) == (404, "not_found")


def test_the_401_of_conversations_has_a_message(sides: StateSides, conversation: str) -> None:
    got = sides.get(f"/v1/conversations/{conversation}/items", "nobody")
    said = json.loads(got.body)
    assert (got.status, set(said), said["error"]) == (401, {"error", "message"}, "Unauthorized")


def test_conversations_are_only_read(sides: StateSides, conversation: str) -> None:
    got = sides.ask("POST", f"/v1/conversations/{conversation}/items", body=b"{}")
    assert (got.status, got.header("allow")) == (405, "GET, HEAD")
    assert sides.get(f"/v1/conversations/{conversation}").status == 404


def test_a_deleted_response_leaves_the_conversation(sides: StateSides) -> None:
    first = sides.created("kept")
    found = first["conversation"]["id"]
    second = sides.created("taken out", conversation=found)
    sides.ask("DELETE", f"/v1/responses/{second['id']}")
    assert [spoken(item) for item in sides.items(found)["data"]] == ["kept", "kept"]


def test_a_conversation_goes_on_when_what_answered_a_call_was_deleted(sides: StateSides) -> None:
    """Providers refuse a call without its output, and an output without its call."""
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "42"}
    sides.answers(response("resp_d1", "completed", call))
    first = sides.created("call", model="gpt")
    sides.answers(response("resp_d2", "completed", text("done")))
    second = sides.created([output], model="gpt", previous_response_id=first["id"])
    assert [item.get("type") for item in sides.sent()["input"]] == [
        "message",
        "function_call",
        "function_call_output",
    ]
    sides.answers(response("resp_d3", "completed", text("and more")))
    third = sides.created("more", model="gpt", previous_response_id=second["id"])
    assert sides.ask("DELETE", f"{RESPONSES}/resp_d2").status == 200
    sides.answers(response("resp_d4", "completed", text("last")))
    sides.created("last", model="gpt", previous_response_id=third["id"])
    assert [spoken(item) for item in sides.sent()["input"]] == ["call", "more", "and more", "last"]
