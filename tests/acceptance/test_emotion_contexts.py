"""Contexts over the lives of gateways: killed in the middle, started again, several at a time."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.acceptance.test_shared_budgets import schema
from tests.contract.raw_client import Answer, RawClient, ask, request
from tests.devices.gateway import LIVE_KEY, ORG, TEST_KEY, Gateway

pytestmark = pytest.mark.timeout(180)  # several gateways or processes, on a busy machine too
KEY, TEST = f"x-api-key: {LIVE_KEY}", f"x-api-key: {TEST_KEY}"
PLACE = "/v2/emotions/shared"


ONCE = "idempotency-key: once"
SERVED = "from triptych.cli import main\nmain()\n"
DIES_BEFORE_IT_SETTLES_A_KEY = (
    """
import os
from triptych.surfaces import idempotent

def die(self, *arguments):
    os._exit(9)

idempotent._Once.end = idempotent._Once.writes = die
"""
    + SERVED
)
STORES_SLOWLY = (
    """
import time
from triptych.storage.contexts import Contexts

append = Contexts.append

def slowly(self, *arguments):
    time.sleep(1)
    return append(self, *arguments)

Contexts.append = slowly
"""
    + SERVED
)


def body(*ids: str) -> bytes:
    messages = [{"externalId": id, "content": f"Message {id}."} for id in ids]
    return json.dumps({"model": "emotion-v2", "messages": messages}).encode()


def post(port: int, *ids: str) -> Answer:
    return ask(port, "POST", PLACE + "/analysis", KEY, body=body(*ids))


def count(port: int, key: str = KEY) -> int:
    answer = ask(port, "GET", PLACE, key)
    if answer.status == 404:
        return 0
    assert answer.status == 200, answer.body
    return int(json.loads(answer.body)["metadata"]["message_count"])


def stored(port: int, id: str) -> bool:
    return ask(port, "GET", f"{PLACE}/message/{id}", KEY).status == 200


def test_a_killed_gateway_leaves_whole_bodies_and_every_one_that_was_answered() -> None:
    with Gateway('[ledger]\ndurability = "process"\n' + ORG) as gateway:
        post(gateway.port, "warm")
        answered: list[int] = []

        def write(number: int) -> None:
            try:
                if post(gateway.port, f"{number}-a", f"{number}-b", f"{number}-c").status == 200:
                    answered.append(number)
            except OSError:
                pass

        writers = [threading.Thread(target=write, args=(number,)) for number in range(9)]
        for writer in writers:
            writer.start()
        deadline_s = time.monotonic() + 20
        while not answered and time.monotonic() < deadline_s:
            time.sleep(0.001)
        gateway.kill()
        for writer in writers:
            writer.join(20)
        gateway.start(limit_s=50)
        found = [[stored(gateway.port, f"{number}-{part}") for part in "abc"] for number in range(9)]
        assert all(parts in ([True] * 3, [False] * 3) for parts in found)
        assert all(found[number][0] for number in answered) and answered
        assert count(gateway.port) == 1 + 3 * sum(parts[0] for parts in found)
        # What was not stored can be stored now; what was, only once.
        for number, parts in enumerate(found):
            assert post(gateway.port, f"{number}-a").status == (409 if parts[0] else 200)


def test_a_body_that_was_stored_by_a_gateway_that_died_at_once_is_not_stored_again_under_its_key() -> None:
    with Gateway(ORG, preload=DIES_BEFORE_IT_SETTLES_A_KEY) as gateway:
        content = json.dumps({"model": "emotion-v2", "messages": [{"content": "Only once."}]}).encode()
        with pytest.raises(ConnectionError):
            ask(gateway.port, "POST", PLACE + "/analysis", KEY, ONCE, body=content)
        gateway.kill()
        gateway.start(limit_s=50)
        assert count(gateway.port) == 1
        again = ask(gateway.port, "POST", PLACE + "/analysis", KEY, ONCE, body=content)
        assert (again.status, again.header("idempotent-replayed")) == (200, "true")
        told = json.loads(again.body)
        assert (told["metadata"], told["trajectory"]) == ({"context_id": "shared"}, {"n": 1})
        assert (told["usage"], count(gateway.port)) == ({"analyse_tokens": 3}, 1)
        gateway.kill()


CHAT = json.dumps(
    {
        "model": "sandbox-lorem",
        "messages": [{"role": "user", "content": "I am so happy today!"}],
        "context_id": "shared",
    }
).encode()


def say(port: int) -> Answer:
    return ask(port, "POST", "/v2/chat/completions", TEST, ONCE, body=CHAT)


def test_what_was_said_in_a_chat_of_a_gateway_that_died_at_once_is_not_said_again_under_its_key() -> None:
    with Gateway(ORG, preload=DIES_BEFORE_IT_SETTLES_A_KEY) as gateway:
        with pytest.raises(ConnectionError):
            say(gateway.port)
        gateway.kill()
        gateway.start(limit_s=50)
        assert count(gateway.port, TEST) == 2
        again = say(gateway.port)
        assert (again.status, again.header("idempotent-replayed")) == (200, "true")
        told = json.loads(again.body)
        assert told["choices"][0]["message"]["content"]
        assert (told["emotions"]["user"]["category"], told["trajectory"]) == ("joy", {"n": 1})
        assert count(gateway.port, TEST) == 2
        gateway.kill()


def test_a_client_that_left_while_its_chat_was_stored_gets_the_answer_when_it_comes_back() -> None:
    with Gateway(ORG, preload=STORES_SLOWLY) as gateway:
        warm = ask(gateway.port, "POST", "/v2/emotions/warm/analysis", KEY, body=body("w"))
        assert warm.status == 200
        with RawClient(gateway.port) as leaving:
            leaving.send(request("POST", "/v2/chat/completions", TEST, ONCE, body=CHAT))
            time.sleep(0.5)
        deadline_s = time.monotonic() + 20
        while (again := say(gateway.port)).status == 409:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
        assert (again.status, again.header("idempotent-replayed")) == (200, "true")
        assert count(gateway.port, TEST) == 2


def test_a_client_that_left_while_its_body_was_stored_gets_the_answer_when_it_comes_back() -> None:
    with Gateway(ORG, preload=STORES_SLOWLY) as gateway:
        assert post(gateway.port, "warm").status == 200
        with RawClient(gateway.port) as leaving:
            leaving.send(request("POST", PLACE + "/analysis", KEY, ONCE, body=body("m1")))
            time.sleep(0.5)
        deadline_s = time.monotonic() + 20
        while (
            again := ask(gateway.port, "POST", PLACE + "/analysis", KEY, ONCE, body=body("m1"))
        ).status == 409:
            assert json.loads(again.body)["error"]["code"] == "idempotency_mismatch"
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
        assert (again.status, again.header("idempotent-replayed")) == (200, "true")
        assert count(gateway.port) == 2


def test_a_gateway_that_stops_says_so_in_the_form_of_the_surface() -> None:
    with Gateway(ORG) as gateway:
        chat = {
            "model": "sandbox-lorem",
            "messages": [{"role": "user", "content": "400 words"}],
            "stream": True,
        }
        with RawClient(gateway.port, timeout_s=30) as streaming, RawClient(gateway.port) as waiting:
            waiting.send(request("GET", "/v2/models", KEY))
            assert waiting.answer("GET").status == 200
            content = json.dumps(chat).encode()
            streaming.send(request("POST", "/v2/chat/completions", f"x-api-key: {TEST_KEY}", body=content))
            time.sleep(0.2)
            assert gateway.process is not None
            gateway.process.terminate()
            deadline_s = time.monotonic() + 10
            while True:
                waiting.send(request("GET", "/v2/models", KEY))
                answer = waiting.answer("GET")
                if answer.status == 503:
                    break
                assert time.monotonic() < deadline_s
            told = json.loads(answer.body)["error"]
            assert (told["type"], told["code"]) == ("server_error", "service_unavailable")
            assert told["message"].endswith("See /v2/status.") and answer.header("retry-after") == "1"
            last = streaming.answer()
            assert last.body.endswith(b"data: [DONE]\n\n") and b"conversationMode" in last.body
        gateway.stop(limit_s=30)


@pytest.fixture
def shared() -> Iterator[tuple[list[Gateway], Any]]:
    """Two nodes, and a connection to their database."""
    toml = f'[secrets]\nmaster_key = "{os.urandom(32).hex()}"\n{ORG}'
    with schema() as (url, connection), ExitStack() as running:
        yield [running.enter_context(Gateway(toml, storage_url=url)) for _ in range(2)], connection


@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.slow
def test_a_node_that_stands_still_in_the_middle_of_a_write_holds_up_the_others_for_its_lease_only(
    shared: tuple[list[Gateway], Any],
) -> None:
    (standing, other), connection = shared
    assert post(other.port, "warm").status == 200
    refused: list[int] = []
    writer = threading.Thread(target=lambda: refused.append(post(standing.port, "m1").status))
    assert standing.process is not None
    with connection.transaction():
        connection.execute("SELECT 1 FROM emotion_contexts FOR UPDATE")
        writer.start()
        # PostgreSQL's own queue at a row.
        waiting = (
            "SELECT count(*) FROM pg_locks "
            "WHERE locktype = 'tuple' AND relation = 'emotion_contexts'::regclass"
        )
        deadline_s = time.monotonic() + 20
        while not connection.execute(waiting).fetchone()[0]:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        standing.process.send_signal(signal.SIGSTOP)
    try:
        # The context is the standing node's now.
        written = ask(other.port, "POST", PLACE + "/analysis", KEY, body=body("m1"), timeout_s=20)
        assert written.status == 200
    finally:
        standing.process.send_signal(signal.SIGCONT)
    writer.join(30)
    assert (refused, count(other.port)) == ([503], 2)


@pytest.mark.postgres
@pytest.mark.redis
def test_two_nodes_write_to_one_context_and_one_of_them_gets_each_id(
    shared: tuple[list[Gateway], Any],
) -> None:
    nodes, _ = shared
    statuses: list[int] = []

    def write(node: Gateway, number: int) -> None:
        statuses.append(post(node.port, f"shared-{number}", f"own-{node.port}-{number}").status)

    writers = [threading.Thread(target=write, args=(node, n)) for n in range(8) for node in nodes]
    for at in range(0, len(writers), 8):  # no more than ten at a time
        for writer in writers[at : at + 8]:
            writer.start()
        for writer in writers[at : at + 8]:
            writer.join(30)
    assert sorted(statuses) == [200] * 8 + [409] * 8
    assert [count(node.port) for node in nodes] == [16, 16]
    assert ask(nodes[0].port, "DELETE", PLACE, KEY).status == 204
    assert count(nodes[1].port) == 0
