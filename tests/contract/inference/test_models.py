"""GET /v1/models and /v1/models/{id}: what the caller may use, in both vendors' shapes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.inference.world import (
    LIMITED,
    NARROW,
    NO_ACCESS,
    SCOPELESS,
    UNSIGNED,
    WORLD,
    TwoSides,
)
from tests.contract.raw_client import LIVE, TEST, Answer
from tests.devices.faulty_upstream import FaultyUpstream, refused_port
from tests.devices.gateway import Gateway, message

VERSION = "anthropic-version: 2023-06-01"
SLASHED = "acme/team-one/best-model"
SLASHED_IN_URL = "acme%2Fteam-one%2Fbest-model"
LEAVING = "leaving-model"
MORE = f"""
[[models]]
id = "{SLASHED}"
provider = "mock"
groups = ["everyone"]
context_window = 200000
max_output_tokens = 64000
[[models]]
id = "{LEAVING}"
provider = "mock"
retires_at = "2100-06-01"
[[models]]
id = "other-groups-model"
provider = "mock"
groups = ["somebody-else"]
[[providers]]
name = "signed"
kind = "anthropic"
base_url = "http://127.0.0.1:9"
api_key = "upstream-secret-key"
baa = "agreement_2026"
[[models]]
id = "covered-model"
provider = "signed"
[[models]]
id = "covered-in-the-end"
provider = "mock"
fallback = ["covered-model"]
"""
SIGNED = "signed-key-with-an-agreement-00"
HOSPITAL = f"""
[[orgs]]
slug = "hospital"
plan = "enterprise"
compliance = "hipaa"
baa = "active"
  [[orgs.groups]]
  name = "everyone"
  models = ["*"]
  api_key_access = true
  [[orgs.users]]
  name = "ana"
  groups = ["everyone"]
  [[orgs.keys]]
  name = "live"
  user = "ana"
  secret = "{SIGNED}"
"""


@pytest.fixture(scope="module")
def sides() -> Iterator[TwoSides]:
    with FaultyUpstream() as upstream, refused_port() as nobody:
        organised = WORLD.format(upstream=upstream.base_url, nobody=nobody)
        models, orgs = organised.split("[[orgs]]", 1)
        with Gateway(models + MORE + "[[orgs]]" + orgs + HOSPITAL) as gateway:
            yield TwoSides(gateway, upstream)


def get(sides: TwoSides, target: str, *fields: str) -> Any:
    answer = sides.ask(*fields, method="GET", target=target)
    assert answer.status == 200, answer.body
    assert answer.header("content-type") == "application/json"
    return json.loads(answer.body)


def ids(sides: TwoSides, key: str, *fields: str) -> list[str]:
    return [model["id"] for model in get(sides, "/v1/models?limit=1000", key, *fields)["data"]]


def test_the_list_holds_what_a_call_would_be_let_through_for(sides: TwoSides) -> None:
    found = ids(sides, LIVE)
    assert {"mapped-model", SLASHED, LEAVING} <= set(found)
    assert not {"retired-model", "premium-model", "other-groups-model", "sandbox-echo"} & set(found)
    assert ids(sides, LIVE, VERSION) == found


def test_a_group_that_grants_one_model_lists_one_model(sides: TwoSides) -> None:
    assert ids(sides, f"x-api-key: {NARROW}") == ["mapped-model"]


def test_an_org_that_needs_agreements_sees_what_is_covered_by_one(sides: TwoSides) -> None:
    """The same answer as a call of the model, in the list and of the model alone."""
    key = f"x-api-key: {SIGNED}"
    found = ids(sides, key)
    assert {"covered-model", "covered-in-the-end"} <= set(found) < set(ids(sides, LIVE)) | {LEAVING}
    assert "mapped-model" not in found
    called = sides.ask(key, body=message("mapped-model"))
    shown = sides.ask(key, VERSION, method="GET", target="/v1/models/mapped-model")
    assert (called.status, shown.status) == (403, 403)
    assert json.loads(called.body)["error"] == json.loads(shown.body)["error"]
    assert get(sides, "/v1/models/covered-in-the-end", key)["id"] == "covered-in-the-end"


def test_a_test_key_also_sees_the_sandbox_each_id_once(sides: TwoSides) -> None:
    found = ids(sides, TEST)
    assert {"sandbox-echo", "sandbox-tool", "mapped-model"} <= set(found)
    assert found.count("sandbox-error-internal_error") == 1
    assert len(found) == len(set(found))


def test_the_list_of_a_client_of_openai_is_in_its_shape(sides: TwoSides) -> None:
    listed = get(sides, "/v1/models", LIVE)
    assert set(listed) == {"object", "data"} and listed["object"] == "list"
    by_id = {model["id"]: model for model in listed["data"]}
    assert by_id[SLASHED] == {"id": SLASHED, "object": "model", "created": 0, "owned_by": "mock"}
    assert by_id[LEAVING]["shutdown_date"] == "2100-06-01"


def test_the_list_of_a_client_of_anthropic_is_in_its_shape(sides: TwoSides) -> None:
    listed = get(sides, "/v1/models?limit=1000", LIVE, VERSION)
    assert set(listed) == {"data", "has_more", "first_id", "last_id"}
    by_id = {model["id"]: model for model in listed["data"]}
    assert by_id[SLASHED] == {
        "type": "model",
        "id": SLASHED,
        "display_name": SLASHED,
        "created_at": "1970-01-01T00:00:00Z",
        "lifecycle": "active",
        "deprecated_at": None,
        "retires_at": None,
        "capabilities": None,
        "line": None,
        "max_input_tokens": 200000,
        "max_tokens": 64000,
    }
    assert by_id[LEAVING]["lifecycle"] == "deprecated"
    assert by_id[LEAVING]["retires_at"] == "2100-06-01T00:00:00Z"


@pytest.mark.parametrize("target", [f"/v1/models/{SLASHED_IN_URL}", "/v1/models/acme/team-one/best-model"])
def test_a_model_id_may_hold_slashes_encoded_or_not(sides: TwoSides, target: str) -> None:
    assert get(sides, target, LIVE)["id"] == get(sides, target, LIVE, VERSION)["id"] == SLASHED


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_pages_forwards_hold_the_whole_list_in_order(sides: TwoSides, limit: int) -> None:
    found: list[str] = []
    target = f"/v1/models?limit={limit}"
    while True:
        page = get(sides, target, LIVE, VERSION)
        listed = [model["id"] for model in page["data"]]
        assert 0 < len(listed) <= limit
        assert (page["first_id"], page["last_id"]) == (listed[0], listed[-1])
        found += listed
        if not page["has_more"]:
            break
        target = f"/v1/models?limit={limit}&after_id={quoted(page['last_id'])}"
    assert found == ids(sides, LIVE)


def test_pages_backwards_hold_the_whole_list_too(sides: TwoSides) -> None:
    whole = ids(sides, LIVE)
    found, cursor, more = whole[-1:], whole[-1], True
    while more:
        page = get(sides, f"/v1/models?limit=4&before_id={quoted(cursor)}", LIVE, VERSION)
        found = [model["id"] for model in page["data"]] + found
        cursor, more = page["first_id"], page["has_more"]
    assert found == whole


def quoted(model_id: str) -> str:
    return model_id.replace("/", "%2F")


def test_a_page_behind_the_end_is_empty_and_has_no_ids(sides: TwoSides) -> None:
    last = ids(sides, LIVE)[-1]
    assert get(sides, f"/v1/models?after_id={quoted(last)}", LIVE, VERSION) == {
        "data": [],
        "has_more": False,
        "first_id": None,
        "last_id": None,
    }


def test_a_page_is_twenty_models_unless_asked_otherwise(sides: TwoSides) -> None:
    page = get(sides, "/v1/models", TEST, VERSION)
    assert (len(page["data"]), page["has_more"]) == (20, True)


@pytest.mark.parametrize("spelling", ["lifecycle=deprecated", "lifecycle[]=retired&lifecycle[]=deprecated"])
def test_the_lifecycle_narrows_the_list(sides: TwoSides, spelling: str) -> None:
    listed = get(sides, f"/v1/models?{spelling}", LIVE, VERSION)["data"]
    assert [model["id"] for model in listed] == [LEAVING]


BAD_PAGES = {
    "limit=": "limit",
    "limit=0": "limit",
    "limit=1001": "limit",
    "limit=ten": "limit",
    "limit=1_0": "limit",
    "limit=%D9%A1": "limit",
    "limit=" + "9" * 5000: "limit",
    "limit=1&limit=2": "limit",
    "after_id=nobody": "after_id",
    "after_id=retired-model": "after_id",
    "before_id=nobody": "before_id",
    "before_id=mapped-model&after_id=mapped-model": "before_id",
    "lifecycle=young": "lifecycle",
    "limit=%FF%C0": "limit",
}


@pytest.mark.parametrize(("query", "param"), BAD_PAGES.items())
def test_a_page_that_cannot_be_is_refused_by_name(sides: TwoSides, query: str, param: str) -> None:
    answer = sides.ask(LIVE, VERSION, method="GET", target=f"/v1/models?{query}")
    said = json.loads(answer.body)
    assert (answer.status, said["type"], said["error"]["type"]) == (400, "error", "invalid_request_error")
    assert said["error"]["message"].startswith(param + " ")


REFUSED = {
    "an unknown model": (LIVE, "nobody/knows", 400, "model_not_found", "model_not_found"),
    "a retired model": (LIVE, "retired-model", 400, "model_not_found", "model_retired"),
    "a model of other groups": (
        LIVE,
        "other-groups-model",
        403,
        "model_access_denied",
        "model_access_denied",
    ),
    "a premium model": (LIVE, "premium-model", 403, "model_access_denied", "premium_not_enabled"),
    "a sandbox id for a live key": (LIVE, "sandbox-echo", 400, "model_not_found", "model_not_found"),
}


@pytest.mark.parametrize(("key", "model", "status", "code", "kind"), REFUSED.values(), ids=REFUSED)
def test_a_model_that_no_call_may_use_is_refused_as_the_call_would_be(
    sides: TwoSides, key: str, model: str, status: int, code: str, kind: str
) -> None:
    answer = sides.ask(key, method="GET", target=f"/v1/models/{model}")
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["code"], error["param"]) == (status, code, "model")
    row = sides.row(answer)
    assert row is not None and (row["failure_kind"], row["ending"]) == (kind, "refused")
    spoken = sides.ask(key, VERSION, method="GET", target=f"/v1/models/{model}")
    said = json.loads(spoken.body)
    assert (spoken.status, said["type"]) == (status, "error") and "code" not in said["error"]


@pytest.mark.parametrize("target", ["/v1/models", "/v1/models/mapped-model"])
@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (SCOPELESS, "insufficient_scope"),
        (NO_ACCESS, "api_key_access_denied"),
        (UNSIGNED, "baa_required"),
    ],
)
def test_who_may_call_nothing_is_shown_nothing(sides: TwoSides, target: str, key: str, kind: str) -> None:
    answer = sides.ask(f"x-api-key: {key}", method="GET", target=target)
    row = sides.row(answer)
    assert answer.status == 403 and row is not None and row["failure_kind"] == kind


@pytest.mark.parametrize("target", ["/v1/models", "/v1/models/a/b"])
def test_a_stranger_gets_the_401_of_the_envelope_he_asked_for(sides: TwoSides, target: str) -> None:
    plain = sides.ask(method="GET", target=target)
    assert (plain.status, plain.body) == (401, b'{"error":"Unauthorized"}')
    spoken = sides.ask(VERSION, method="GET", target=target)
    assert spoken.status == 401
    assert json.loads(spoken.body)["error"] == {"type": "authentication_error", "message": "Unauthorized"}


def names(answer: Answer, start: str) -> set[str]:
    return {name for name in answer.names if name.startswith(start)}


def test_a_look_up_counts_as_a_request_and_says_so(sides: TwoSides) -> None:
    key = f"x-api-key: {LIMITED}"
    first = sides.ask(key, method="GET", target="/v1/models")
    second = sides.ask(key, VERSION, method="GET", target="/v1/models/mapped-model")
    third = sides.ask(key, method="GET", target="/v1/models")
    assert (first.status, second.status, third.status) == (200, 200, 429)
    assert (first.header("x-ratelimit-limit-requests"), first.header("x-ratelimit-remaining-requests")) == (
        "2",
        "1",
    )
    assert second.header("anthropic-ratelimit-requests-remaining") == "0"
    assert not names(second, "x-ratelimit") and not names(first, "anthropic")
    assert int(third.header("retry-after") or 0) >= 1


def test_a_look_up_is_one_row_and_calls_nobody(sides: TwoSides) -> None:
    before = len(sides.upstream.requests)
    answer = sides.ask(TEST, method="GET", target="/v1/models")
    assert answer.header("x-triptych-environment") == "test"
    row = sides.row(answer)
    assert row is not None
    assert (row["endpoint"], row["ending"], row["status"], row["cost_nusd"]) == (
        "models",
        "completed",
        200,
        0,
    )
    assert row["bytes_out"] == len(answer.body)
    assert len(sides.upstream.requests) == before


def test_head_answers_with_the_head_of_get(sides: TwoSides) -> None:
    got = sides.ask(LIVE, method="GET", target="/v1/models")
    head = sides.ask(LIVE, method="HEAD", target="/v1/models")
    assert (head.status, head.header("content-length")) == (200, str(len(got.body)))


@pytest.mark.parametrize("target", ["/v1/models", "/v1/models/mapped-model"])
def test_only_reading_is_allowed(sides: TwoSides, target: str) -> None:
    answer = sides.ask(LIVE, target=target, body=b"{}")
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD")


def test_a_path_without_an_id_is_nobodys(sides: TwoSides) -> None:
    answer = sides.ask(method="GET", target="/v1/models/")
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (404, "unknown_url")
