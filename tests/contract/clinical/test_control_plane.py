"""Keys, usage, budget, agreements and providers over the API: for one org, never for another."""

import base64
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest

from tests.contract.clinical.control_world import CONTROL, Side, data, error, org, secret, world
from triptych.core.principal import SCOPES
from triptych.storage.secrets import is_issued_form

KEYS, USAGE, BUDGET = f"{CONTROL}/api_keys", f"{CONTROL}/usage", f"{CONTROL}/usage/budget"
BAA, STATUS = f"{CONTROL}/compliance/baa", f"{CONTROL}/provider-status"
NOBODY = "01J0000000000000000000000Z"


@pytest.fixture(scope="module")
def side() -> Iterator[Side]:
    hipaa = 'compliance = "hipaa"\nbaa = "active"'
    with world(org("acme", hipaa) + org("zeta", hipaa)) as found:
        yield found


def made(side: Side, **fields: Any) -> dict[str, Any]:
    body = {"name": "new", "scopes": ["control:read"], **fields}
    found: dict[str, Any] = data(side.ask(KEYS, body), 201)
    return found


def test_a_key_made_over_the_api_works_at_once_and_is_shown_once(side: Side) -> None:
    key = made(side, name="reports", scopes=["ai:chat", "control:read", "ai:chat"])
    assert is_issued_form(key["plaintext"])
    assert key["plaintext"].startswith("trp_live_")
    assert (key["name"], key["environment"]) == ("reports", "live")
    assert (key["prefix"], key["last_four"]) == ("trp_live_", key["plaintext"][-4:])
    assert key["scopes"] == ["ai:chat", "control:read"]
    assert side.ask(USAGE, key=key["plaintext"]).status == 200
    listed = data(side.ask(KEYS))
    (mine,) = [one for one in listed if one["id"] == key["id"]]
    assert "plaintext" not in mine
    assert key["id"] not in {one["id"] for one in data(side.ask(KEYS, org="zeta"))}
    assert key["plaintext"] not in side.gateway.log


def test_a_revoked_key_is_refused_at_once_and_a_second_revocation_finds_nothing(side: Side) -> None:
    key = made(side)
    target = f"{KEYS}/{key['id']}"
    assert error(side.ask(target, method="DELETE", org="zeta"))[:2] == (404, "RESOURCE_NOT_FOUND")
    assert side.ask(USAGE, key=key["plaintext"]).status == 200
    revoked = data(side.ask(target, method="DELETE"))
    assert (revoked["id"], revoked["revoked_at"][-1]) == (key["id"], "Z")
    assert error(side.ask(USAGE, key=key["plaintext"]))[:2] == (401, "INVALID_API_KEY")
    assert error(side.ask(target, method="DELETE"))[:2] == (404, "RESOURCE_NOT_FOUND")
    assert key["id"] not in {one["id"] for one in data(side.ask(KEYS))}
    for unknown in (NOBODY, f"key_{NOBODY}", "key_", "x"):
        assert side.ask(f"{KEYS}/{unknown}", method="DELETE").status == 404


def test_a_key_grants_no_scope_it_lacks_unless_an_administrators(side: Side) -> None:
    wish = {"name": "more", "scopes": ["control:read", "ai:chat"]}
    refused = side.ask(KEYS, wish, kind="narrow")
    assert error(refused) == (403, "MISSING_SCOPE", {"required_scope": "ai:chat"})
    assert data(side.ask(KEYS, wish, kind="admin"), 201)["scopes"] == ["ai:chat", "control:read"]
    scopeless = data(side.ask(KEYS, {"name": "chat", "scopes": ["ai:chat"]}), 201)["plaintext"]
    for target, method, body in ((KEYS, "GET", None), (USAGE, "GET", None), (BUDGET, "PUT", b"{}")):
        refused = side.ask(target, body, method=method, key=scopeless)
        assert error(refused) == (403, "MISSING_SCOPE", {"required_scope": "control:read"})
    # The agreement and the providers are any valid key's to see.
    assert side.ask(BAA, key=scopeless).status == side.ask(STATUS, key=scopeless).status == 200


def test_a_key_hands_its_own_limits_on(side: Side) -> None:
    """The key called live may ask 5,000 times a minute; what it makes may not ask more often."""
    plain = made(side)["plaintext"]
    assert side.ask(USAGE, key=plain).header("x-ratelimit-limit-requests") == "5000"
    by_admin = data(side.ask(KEYS, {"name": "free", "scopes": ["control:read"]}, kind="admin"), 201)
    assert side.ask(USAGE, key=by_admin["plaintext"]).header("x-ratelimit-limit-requests") is None


def test_a_test_key_stays_among_test_keys(side: Side) -> None:
    body = {"name": "t", "scopes": ["control:read"]}
    assert data(side.ask(KEYS, body, kind="test"), 201)["plaintext"].startswith("trp_test_")
    assert error(side.ask(KEYS, {**body, "environment": "live"}, kind="test"))[:2] == (
        400,
        "VALIDATION_FAILED",
    )
    assert {one["environment"] for one in data(side.ask(KEYS, kind="test"))} == {"test"}
    live = made(side)["id"]
    assert side.ask(f"{KEYS}/{live}", method="DELETE", kind="test").status == 404


def test_a_live_key_makes_keys_of_both_environments(side: Side) -> None:
    for environment in ("live", "test"):
        body = {"name": "e", "scopes": ["control:read"], "environment": environment}
        key = data(side.ask(KEYS, body), 201)
        assert key["environment"] == environment
        assert key["plaintext"].startswith(f"trp_{environment}_")


def test_an_admins_test_key_sees_and_makes_live_keys_too(side: Side) -> None:
    wish = {"name": "t", "scopes": ["control:read"], "environment": "test"}
    admins = data(side.ask(KEYS, wish, kind="admin"), 201)["plaintext"]
    made_live = data(side.ask(KEYS, {**wish, "environment": "live"}, key=admins), 201)
    assert made_live["environment"] == "live"
    assert made_live["id"] in {one["id"] for one in data(side.ask(KEYS, key=admins))}
    assert side.ask(f"{KEYS}/{made_live['id']}", method="DELETE", key=admins).status == 200


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"[]", None),
        (b"{", None),
        (b'{"name":"a","name":"a","scopes":["ai:chat"]}', "name"),
        ({}, "name"),
        ({"scopes": ["ai:chat"]}, "name"),
        ({"name": "", "scopes": ["ai:chat"]}, "name"),
        ({"name": " ", "scopes": ["ai:chat"]}, "name"),
        ({"name": "a" * 101, "scopes": ["ai:chat"]}, "name"),
        ({"name": "a\nb", "scopes": ["ai:chat"]}, "name"),
        ({"name": 1, "scopes": ["ai:chat"]}, "name"),
        ({"name": "a"}, "scopes"),
        ({"name": "a", "scopes": []}, "scopes"),
        ({"name": "a", "scopes": "ai:chat"}, "scopes"),
        ({"name": "a", "scopes": ["ai:chat", "ai:all"]}, "scopes[1]"),
        ({"name": "a", "scopes": [None]}, "scopes[0]"),
        ({"name": "a", "scopes": ["ai:chat"], "environment": "prod"}, "environment"),
        ({"name": "a", "scopes": ["ai:chat"], "environment": None}, "environment"),
        ({"name": "a", "scopes": ["ai:chat"], "admin": True}, "admin"),
    ],
)
def test_what_is_wrong_with_a_wished_key_is_named(side: Side, body: Any, param: str | None) -> None:
    answer = side.ask(KEYS, body, method="POST")
    found = json.loads(answer.body)["error"]
    assert (answer.status, found["code"], found.get("param")) == (400, "VALIDATION_FAILED", param)


def test_pages_are_stable_while_keys_are_made(side: Side) -> None:
    names = [f"page-{number}" for number in range(5)]
    ids = [made(side, name=name)["id"] for name in names]
    answer = side.ask(f"{KEYS}?limit=2")
    first = json.loads(answer.body)
    assert [one["id"] for one in first["data"]] == [ids[4], ids[3]]
    assert first["meta"]["has_more"] is True
    made(side, name="meanwhile")
    second = json.loads(side.ask(f"{KEYS}?limit=2&cursor={first['meta']['next_cursor']}").body)
    assert [one["id"] for one in second["data"]] == [ids[2], ids[1]]
    rest = json.loads(side.ask(f"{KEYS}?limit=200&cursor={second['meta']['next_cursor']}").body)
    assert rest["data"][0]["id"] == ids[0]
    assert (rest["meta"]["has_more"], rest["meta"]["next_cursor"]) == (False, None)
    # A cursor is a place in time, and shows nothing of another org.
    other = json.loads(side.ask(f"{KEYS}?cursor={first['meta']['next_cursor']}", org="zeta").body)
    assert not {one["id"] for one in other["data"]} & set(ids)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=", "limit"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=ten", "limit"),
        ("cursor=nonsense", "cursor"),
        ("cursor=" + base64.urlsafe_b64encode(b"key_1").decode().rstrip("="), "cursor"),
        ("cursor=%C3%A4", "cursor"),
        ("cursor=a&cursor=b", "cursor"),
    ],
)
def test_a_page_that_cannot_be_is_refused(side: Side, query: str, param: str) -> None:
    for target in (KEYS, f"{BAA}/acceptances"):
        assert error(side.ask(f"{target}?{query}")) == (400, "VALIDATION_FAILED", param)


def test_usage_tells_what_models_cost_this_org_and_not_that_it_was_asked(side: Side) -> None:
    before, others = data(side.ask(USAGE)), data(side.ask(USAGE, org="zeta"))
    assert side.chat("good").status == 200
    assert side.chat("failing").status == 502
    side.until(lambda: data(side.ask(USAGE))["requests"]["total"] == before["requests"]["total"] + 2)
    after = data(side.ask(USAGE))
    assert after["requests"]["failed"] == before["requests"]["failed"] + 1
    row = side.gateway.rows("model = 'good' AND endpoint = 'chat'")[-1]
    used = next(one for one in after["by_model"] if one["model"] == "good")
    tokens = {"input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"}
    assert set(used) == {"model", "requests", "failed", "credits", "spend_usd"} | tokens
    assert Decimal(str(used["spend_usd"])) == Decimal(row["cost_nusd"] * used["requests"]) / 10**9
    assert after["credits"]["used"] - before["credits"]["used"] == row["credits"]
    assert (after["credits"]["allotment"], after["credits"]["remaining"]) == (None, None)
    assert after["period"]["start"] < after["period"]["end"]
    assert data(side.ask(USAGE, org="zeta"))["requests"] == others["requests"]


def test_a_cap_that_is_put_holds_for_the_next_request_and_when_raised_lets_it_through(side: Side) -> None:
    lowered = data(side.ask(BUDGET, {"spend_cap_usd": 0}, method="PUT", org="zeta"))
    assert lowered["spend_cap_usd"] == 0
    status, code, details = error(side.chat(org="zeta"))
    assert (status, code) == (429, "BUDGET_EXCEEDED")
    assert details["cap_usd"] == 0
    assert details["cycle_reset_at"] == lowered["cycle_reset_at"]
    assert side.chat(org="acme").status == 200
    raised = data(side.ask(BUDGET, {"spend_cap_usd": None}, method="PUT", org="zeta"))
    assert raised["spend_cap_usd"] is None
    assert side.chat(org="zeta").status == 200


def test_premium_models_are_enabled_over_the_api(side: Side) -> None:
    assert error(side.chat("opus", org="zeta")) == (403, "OPUS_NOT_ENABLED", {"model": "opus"})
    assert data(side.ask(BUDGET, {"opus_enabled": True}, method="PUT", org="zeta"))["opus_enabled"] is True
    assert side.chat("opus", org="zeta").status == 200
    assert error(side.chat("opus", org="acme"))[:2] == (403, "OPUS_NOT_ENABLED")


def test_what_a_budget_change_leaves_out_stays(side: Side) -> None:
    data(side.ask(BUDGET, {"spend_cap_usd": 1234.000000001, "alert_thresholds": [90, 50]}, method="PUT"))
    for body in (b"", b"{}", b' {"alert_thresholds": [50, 90]} '):
        found = data(side.ask(BUDGET, body, method="PUT"))
        assert (found["spend_cap_usd"], found["alert_thresholds"]) == (1234.000000001, [50, 90])
    assert data(side.ask(BUDGET))["spend_cap_usd"] == 1234.000000001
    assert data(side.ask(BUDGET, {"alert_thresholds": None}, method="PUT"))["alert_thresholds"] == []
    data(side.ask(BUDGET, {"spend_cap_usd": None}, method="PUT"))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"spend_cap_usd": -1}, "spend_cap_usd"),
        ({"spend_cap_usd": "5"}, "spend_cap_usd"),
        ({"spend_cap_usd": True}, "spend_cap_usd"),
        ({"spend_cap_usd": [1]}, "spend_cap_usd"),
        (b'{"spend_cap_usd": 1e400}', "spend_cap_usd"),
        (b'{"spend_cap_usd": 0.0000000001}', "spend_cap_usd"),
        ({"alert_thresholds": [0]}, "alert_thresholds"),
        ({"alert_thresholds": [100]}, "alert_thresholds"),
        ({"alert_thresholds": [50, 50]}, "alert_thresholds"),
        ({"alert_thresholds": [1, 2, 3, 4]}, "alert_thresholds"),
        ({"alert_thresholds": [1.5]}, "alert_thresholds"),
        ({"alert_thresholds": 50}, "alert_thresholds"),
        ({"opus_enabled": 1}, "opus_enabled"),
        ({"opus_enabled": None}, "opus_enabled"),
        ({"credits": 10}, "credits"),
        (b"null", None),
    ],
)
def test_what_is_wrong_with_a_budget_is_named_and_nothing_changes(
    side: Side, body: Any, param: str | None
) -> None:
    before = data(side.ask(BUDGET))
    answer = side.ask(BUDGET, body, method="PUT")
    found = json.loads(answer.body)["error"]
    assert (answer.status, found["code"], found.get("param")) == (400, "VALIDATION_FAILED", param)
    assert data(side.ask(BUDGET))["spend_cap_usd"] == before["spend_cap_usd"]


def test_an_agreement_is_shown_to_its_org_and_as_pdf(side: Side) -> None:
    said = side.command(
        "baa", "sign", "--org", "acme", "--name", "Ana Abreu", "--title", "CEO", "--email", "ana@example.org"
    )
    identity = said.split(":")[0]
    (one,) = data(side.ask(f"{BAA}/acceptances"))
    assert (one["id"], one["status"], one["expires_at"]) == (identity, "active", None)
    assert one["signer"] == {"name": "Ana Abreu", "title": "CEO", "email": "ana@example.org"}
    told = data(side.ask(BAA))
    assert (told["status"], told["required"], told["template"]) == ("active", True, one["template"])
    assert told["accepted_at"] == one["accepted_at"]
    for spelling in (identity, identity.removeprefix("baa_")):
        assert data(side.ask(f"{BAA}/acceptances/{spelling}")) == one
        pdf = side.ask(f"{BAA}/acceptances/{spelling}/download")
        assert (pdf.status, pdf.header("content-type"), pdf.body[:5]) == (200, "application/pdf", b"%PDF-")
    for target in (f"{BAA}/acceptances/{identity}", f"{BAA}/acceptances/{identity}/download"):
        mine, theirs = side.ask(target.replace(identity, NOBODY)), side.ask(target, org="zeta")
        assert error(theirs)[:2] == error(mine)[:2] == (404, "RESOURCE_NOT_FOUND")
        assert len(mine.body) == len(theirs.body)
    assert data(side.ask(f"{BAA}/acceptances", org="zeta")) == []


def test_making_a_pdf_writes_nothing_of_the_signer_into_the_log(side: Side) -> None:
    facts = ("--title", "CEO", "--email", "li@example.org")
    said = side.command("baa", "sign", "--org", "zeta", "--name", "李明 🙂", *facts)
    before = len(side.gateway.log.splitlines())
    target = f"{BAA}/acceptances/{said.split(':')[0]}/download"
    assert side.ask(target, org="zeta").status == 200
    lines = [json.loads(line) for line in side.gateway.log.splitlines()[before:]]
    assert [line for line in lines if line["event"] != "exchange"] == []


def test_a_pdf_is_made_once_until_what_it_tells_changes(side: Side) -> None:
    facts = ("--title", "CEO", "--email", "ana@example.org")
    said = side.command("baa", "sign", "--org", "zeta", "--name", "Ana Łucja", *facts)
    target = f"{BAA}/acceptances/{said.split(':')[0]}/download"
    first = side.ask(target, org="zeta").body
    began_s = time.monotonic()
    assert {side.ask(target, org="zeta").body for _ in range(60)} == {first}
    assert time.monotonic() - began_s < 3.0, "making one takes a tenth of a second"
    side.command("baa", "expire", "--org", "zeta")
    assert side.ask(target, org="zeta").body != first


def test_providers_of_the_callers_models_are_told_of(side: Side) -> None:
    found = data(side.ask(STATUS))
    assert [(one["provider"], one["status"]) for one in found] == [
        ("bare", "operational"),
        ("mock", "operational"),
    ]


def test_whoever_did_it_is_noted(side: Side) -> None:
    key = made(side, name="noted")
    side.ask(f"{KEYS}/{key['id']}", method="DELETE")
    with closing(sqlite3.connect(side.gateway.database)) as connection:
        rows = connection.execute(
            "SELECT action, via, ip_address, key_id IS NOT NULL, user_id IS NOT NULL FROM admin_actions "
            "WHERE entity_id = ? ORDER BY id",
            (key["id"].removeprefix("key_"),),
        ).fetchall()
    assert rows == [
        ("api_key.created", "api", "127.0.0.1", 1, 1),
        ("api_key.revoked", "api", "127.0.0.1", 1, 1),
    ]


def test_a_key_outlives_the_revocation_of_its_maker_which_the_record_names(side: Side) -> None:
    maker = made(side)
    made_by_it = data(side.ask(KEYS, {"name": "x", "scopes": ["control:read"]}, key=maker["plaintext"]), 201)
    assert side.ask(f"{KEYS}/{maker['id']}", method="DELETE").status == 200
    assert side.ask(USAGE, key=maker["plaintext"]).status == 401
    assert side.ask(USAGE, key=made_by_it["plaintext"]).status == 200
    with closing(sqlite3.connect(side.gateway.database)) as connection:
        (found,) = connection.execute(
            "SELECT entity_id FROM admin_actions WHERE action = 'api_key.created' AND key_id = ?",
            (maker["id"].removeprefix("key_"),),
        )
    assert "key_" + found[0] == made_by_it["id"]


def test_the_file_has_every_scope_and_a_listed_key_names_them(side: Side) -> None:
    listed = {one["name"]: one for one in data(side.ask(f"{KEYS}?limit=200"))}
    assert listed["live"]["scopes"] == sorted(SCOPES)
    assert listed["narrow"]["scopes"] == ["control:read"]
    assert secret("acme")[-4:] == listed["live"]["last_four"]
