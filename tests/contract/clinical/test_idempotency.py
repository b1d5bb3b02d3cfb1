"""A repeated request is answered once and billed once: the same key, the same answer, for one caller."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.contract.clinical.control_world import (
    CHAT,
    CONTROL,
    MESSAGES,
    Side,
    data,
    error,
    org,
    world,
)
from tests.contract.raw_client import Answer, RawClient, request

KEYS = f"{CONTROL}/api_keys"
REPLAYED = "idempotent-replayed"


@pytest.fixture(scope="module")
def side() -> Iterator[Side]:
    hipaa = 'compliance = "hipaa"\nbaa = "active"'
    with world(org("acme", hipaa) + org("zeta", hipaa) + org("signs", 'compliance = "hipaa"')) as found:
        yield found


def named(key: str) -> str:
    return f"idempotency-key: {key}"


def message(model: str = "good", **more: Any) -> dict[str, Any]:
    return {
        "model": model,
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "hello there"}],
        **more,
    }


def billed(side: Side) -> int:
    return sum(row["cost_nusd"] for row in side.gateway.rows())


BODIES = [
    (CHAT, {"model": "good", "message": "hello there", "stream": False}),
    (CHAT, {"model": "good", "message": "keep nothing", "stream": False, "store": False}),
    (MESSAGES, message()),
]


@pytest.mark.parametrize(("target", "body"), BODIES)
def test_the_first_answer_is_replayed_and_nothing_is_asked_or_billed_again(
    side: Side, target: str, body: dict[str, Any]
) -> None:
    key = named(f"once {target} {body.get('store')}")
    first = side.ask(target, body, key)
    assert (first.status, first.header(REPLAYED)) == (200, None)
    sent, cost = side.sent(), billed(side)
    again = side.ask(target, body, key)
    assert (again.status, again.header(REPLAYED), again.body) == (200, "true", first.body)
    assert again.header("content-type") == first.header("content-type")
    assert again.header("request-id") != first.header("request-id")
    assert (side.sent(), billed(side)) == (sent, cost)
    # A replay has its row, and costs nothing.
    side.until(lambda: bool(side.gateway.rows(f"id = '{(again.header('request-id') or '')[4:]}'")))
    # Another org with the same key is somebody else.
    other = side.ask(target, body, key, org="zeta")
    assert (other.status, other.header(REPLAYED)) == (200, None)
    assert side.sent() == sent + 1


def test_a_replay_takes_nothing_of_the_callers_limits(side: Side) -> None:
    key, body = named("limits"), message()

    def left() -> int:
        return int(side.ask(f"{CONTROL}/usage").header("x-ratelimit-remaining-requests") or -1)

    side.ask(MESSAGES, body, key)
    before = left()
    for _ in range(3):
        again = side.ask(MESSAGES, body, key)
        assert again.header(REPLAYED) == "true"
        # It tells how the limits stand, as every answer does.
        assert again.header("x-ratelimit-limit-requests") == "5000"
        assert again.header("x-ratelimit-remaining-requests") == str(before)
    assert left() == before - 1


def test_the_same_key_with_another_body_is_a_conflict(side: Side) -> None:
    key = named("conflict")
    assert side.ask(MESSAGES, message(), key).status == 200
    sent = side.sent()
    for body in (message(max_tokens=65), json.dumps(message()).encode() + b" "):
        refused = side.ask(MESSAGES, body, key)
        assert error(refused)[:2] == (409, "IDEMPOTENCY_KEY_REUSED")
        assert (refused.header("x-should-retry"), refused.header(REPLAYED)) == ("false", None)
    assert error(side.ask(f"{MESSAGES}?beta=true", message(), key))[:2] == (409, "IDEMPOTENCY_KEY_REUSED")
    assert side.sent() == sent
    # For another endpoint it is another key.
    assert side.chat("good", key).status == 200


@pytest.mark.parametrize("target", [CHAT, MESSAGES])
def test_while_the_first_runs_the_second_is_told_to_wait(side: Side, target: str) -> None:
    key = named(f"running {target}")
    body = message("slow") if target == MESSAGES else {"model": "slow", "message": "hello", "stream": False}
    sent = side.sent()
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(side.ask(target, body, key)))
    thread.start()
    side.until(lambda: side.sent() > sent)
    waiting = side.ask(target, body, key)
    assert error(waiting)[:2] == (409, "IDEMPOTENCY_IN_PROGRESS")
    assert (waiting.header("x-should-retry"), waiting.header("retry-after")) == ("true", "1")
    thread.join()
    again = side.ask(target, body, key)
    assert (again.header(REPLAYED), again.body) == ("true", answers[0].body)
    assert side.sent() == sent + 1


def test_many_at_once_are_asked_and_billed_once(side: Side) -> None:
    key, sent = named("many"), side.sent()
    answers: list[Answer] = []

    def work() -> None:
        answers.append(side.ask(MESSAGES, message("slow"), key))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert side.sent() == sent + 1
    assert sorted({answer.status for answer in answers}) in ([200], [200, 409])
    assert sum(answer.status == 200 and answer.header(REPLAYED) is None for answer in answers) == 1


@pytest.mark.parametrize("target", [CHAT, MESSAGES])
def test_of_a_stream_only_that_it_runs_is_known(side: Side, target: str) -> None:
    key = named(f"stream {target}")
    body = message("long", stream=True) if target == MESSAGES else {"model": "long", "message": "hello"}
    encoded = json.dumps(body).encode()
    with RawClient(side.gateway.port, timeout_s=20.0) as client:
        client.send(request("POST", target, "x-api-key: live-key-of-acme-000000000000", key, body=encoded))
        while b"data:" not in client.socket.recv(65536):
            pass
        assert error(side.ask(target, body, key))[:2] == (409, "IDEMPOTENCY_IN_PROGRESS")
        seen = b""
        while b"\r\n0\r\n\r\n" not in seen:
            seen += client.socket.recv(65536)
    sent = side.sent()
    again = side.ask(target, body, key)
    assert (again.status, again.header(REPLAYED)) == (200, None)
    assert side.sent() == sent + 1


@pytest.mark.parametrize(
    ("refused", "status"),
    [
        (message("nothing-like-it"), 400),
        (message("failing"), 502),
        (message("opus"), 403),
        ({"model": "good"}, 400),
    ],
)
def test_what_was_refused_or_failed_frees_the_key(side: Side, refused: Any, status: int) -> None:
    key = named(f"freed {json.dumps(refused)[:60]}")
    assert side.ask(MESSAGES, refused, key).status == status
    assert side.ask(MESSAGES, refused, key).status == status
    good = side.ask(MESSAGES, message(), key)
    assert (good.status, good.header(REPLAYED)) == (200, None)


def test_a_client_that_leaves_frees_the_key(side: Side) -> None:
    key, body, sent = named("left"), message("slow"), side.sent()
    with RawClient(side.gateway.port) as client:
        encoded = json.dumps(body).encode()
        client.send(request("POST", MESSAGES, "x-api-key: live-key-of-acme-000000000000", key, body=encoded))
        side.until(lambda: side.sent() > sent)
    side.until(lambda: side.ask(MESSAGES, body, key).status == 200)


def test_a_key_is_made_once_however_often_it_is_asked_for(side: Side) -> None:
    body = {"name": "made once", "scopes": ["control:read"]}
    first, again = (side.ask(KEYS, body, named("mine")) for _ in range(2))
    assert (first.status, again.status, again.header(REPLAYED)) == (201, 201, "true")
    assert again.body == first.body
    listed = [one for one in data(side.ask(f"{KEYS}?limit=200")) if one["name"] == "made once"]
    assert len(listed) == 1
    assert error(side.ask(KEYS, {**body, "name": "other"}, named("mine")))[:2] == (
        409,
        "IDEMPOTENCY_KEY_REUSED",
    )
    # Another key of the same org does not get the first one's answer, which holds a secret.
    assert side.ask(KEYS, body, named("mine"), kind="narrow").header(REPLAYED) is None


@pytest.mark.parametrize("key", ["", "a" * 256, "caf\xe9", "a\tb"])
def test_a_key_that_is_none_is_refused(side: Side, key: str) -> None:
    refused = side.ask(MESSAGES, message(), named(key))
    assert error(refused) == (400, "VALIDATION_FAILED", "Idempotency-Key")
    twice = side.ask(MESSAGES, message(), named("a"), named("a"))
    assert error(twice)[:2] == (400, "VALIDATION_FAILED")


def test_a_key_that_is_none_is_told_after_what_comes_before_it(side: Side) -> None:
    bad = named("a\tb")
    counted = side.ask(MESSAGES, message(), bad)
    assert counted.status == 400 and counted.header("x-ratelimit-remaining-requests") is not None
    assert error(side.ask(MESSAGES, message(), bad, kind="narrow"))[1] == "MISSING_SCOPE"
    assert error(side.ask(MESSAGES, b"{", bad))[1:] == ("VALIDATION_FAILED", None)
    assert error(side.ask(MESSAGES, message(model="no-such-model"), bad))[2] == "Idempotency-Key"
    wished = {"name": "x", "scopes": []}
    assert error(side.ask(KEYS, wished, bad))[2] == "scopes"
    assert error(side.ask(KEYS, {**wished, "scopes": ["ai:chat"]}, bad))[2] == "Idempotency-Key"


def test_a_replay_is_refused_to_whom_the_request_would_be(side: Side) -> None:
    key, body = named("lapsing"), message()
    plain = data(side.ask(KEYS, {"name": "lapsing", "scopes": ["ai:chat"]}), 201)
    assert side.ask(MESSAGES, body, key, key=plain["plaintext"]).status == 200
    assert side.ask(MESSAGES, body, key, key=plain["plaintext"]).header(REPLAYED) == "true"
    side.ask(f"{KEYS}/{plain['id']}", method="DELETE")
    assert side.ask(MESSAGES, body, key, key=plain["plaintext"]).status == 401


@pytest.mark.parametrize(("target", "body"), BODIES[::2])
def test_a_replay_needs_the_agreement_that_the_request_needs(
    side: Side, target: str, body: dict[str, Any]
) -> None:
    def asked() -> Answer:
        return side.ask(target, body, named("agreed"), org="signs")

    signer = ("--name", "Ana Abreu", "--title", "CEO", "--email", "ana@example.org")
    side.command("baa", "sign", "--org", "signs", *signer)
    side.until(lambda: asked().status == 200)
    assert asked().header(REPLAYED) == "true"
    side.command("baa", "expire", "--org", "signs")
    side.until(lambda: asked().status == 402)
    assert error(asked())[1] == "BAA_REQUIRED"


def test_no_answer_and_no_key_can_be_read_in_the_files(side: Side) -> None:
    marked = "a very particular key of ours"
    side.ask(CHAT, {"model": "good", "message": "hello", "stream": False, "store": False}, named(marked))
    with closing(sqlite3.connect(side.gateway.database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert side.gateway.folder is not None
    for path in Path(side.gateway.folder).glob("triptych.db*"):
        assert marked.encode() not in path.read_bytes()
    assert marked not in side.gateway.log


def test_a_killed_gateway_loses_no_answer_and_keeps_no_key() -> None:
    with world(org("acme") + org("zeta")) as side:
        done, cut = named("done"), named("cut")
        first = side.ask(MESSAGES, message(), done)
        sent = side.sent()
        with RawClient(side.gateway.port) as client:
            encoded = json.dumps(message("slow")).encode()
            client.send(
                request("POST", MESSAGES, "x-api-key: live-key-of-acme-000000000000", cut, body=encoded)
            )
            side.until(lambda: side.sent() > sent)
            side.gateway.kill()
        side.gateway.start()
        again = side.ask(MESSAGES, message(), done)
        assert (again.header(REPLAYED), again.body) == ("true", first.body)
        fresh = side.ask(MESSAGES, message("slow"), cut)
        assert (fresh.status, fresh.header(REPLAYED)) == (200, None)
        assert side.ask(MESSAGES, message("slow"), cut).header(REPLAYED) == "true"
        assert side.sent() == sent + 2
