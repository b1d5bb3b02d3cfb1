"""Two gateways on one PostgreSQL: what one is told the other knows within a second, and a request that
both get is answered and billed once."""

import json
import os
import threading
import time
import uuid
from collections.abc import Iterator

import pytest

from tests.contract.clinical.control_world import CONTROL, MESSAGES, MODELS, Side, data, error, org, secret
from tests.contract.raw_client import Answer, RawClient, request
from tests.devices.faulty_upstream import FaultyUpstream
from tests.devices.gateway import Gateway

POSTGRES_URL = os.environ.get("TRIPTYCH_TEST_POSTGRES_URL")
REDIS_URL = os.environ.get("TRIPTYCH_TEST_REDIS_URL")
pytestmark = pytest.mark.postgres
ORGS = (
    org("acme", 'compliance = "hipaa"\nbaa = "active"') + org("zeta") + org("fresh", 'compliance = "hipaa"')
)
SIGN = ("--name", "Ana Abreu", "--title", "CEO", "--email", "ana@example.org")
ELSEWHERE_S = 5.0
"""A second is promised; a busy machine gets five."""


STALE_S = 5.0
"""Who could not look at the database for so long refuses."""


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    if not POSTGRES_URL or not REDIS_URL:
        pytest.skip("Two nodes are NOT tested: TRIPTYCH_TEST_POSTGRES_URL and _REDIS_URL are not both set")
    psycopg = pytest.importorskip("psycopg")
    schema = f"triptych_{uuid.uuid4().hex}"
    separator = "&" if "?" in POSTGRES_URL else "?"
    url = f"{POSTGRES_URL}{separator}options=-csearch_path%3D{schema}"
    with psycopg.connect(POSTGRES_URL, autocommit=True) as admin:
        admin.execute(f"CREATE SCHEMA {schema}")
        try:
            yield url
        finally:
            admin.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture(scope="module")
def sides(database_url: str) -> Iterator[tuple[Side, Side]]:
    secrets = f'[secrets]\nmaster_key = "{os.urandom(32).hex()}"\n'
    with FaultyUpstream() as upstream:
        toml = secrets + MODELS.format(upstream=upstream.base_url) + ORGS
        with Gateway(toml, storage_url=database_url) as one, Gateway(toml, storage_url=database_url) as two:
            yield Side(one, upstream), Side(two, upstream)


def message(model: str = "good") -> dict[str, object]:
    return {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": "hello there"}]}


def test_a_replay_comes_from_the_other_node_too(sides: tuple[Side, Side]) -> None:
    one, two = sides
    first = one.ask(MESSAGES, message(), "idempotency-key: across")
    sent = one.sent()
    again = two.ask(MESSAGES, message(), "idempotency-key: across")
    assert (again.header("idempotent-replayed"), again.body) == ("true", first.body)
    assert two.ask(MESSAGES, message(), "idempotency-key: across", org="zeta").status == 200
    assert one.sent() == sent + 1


def test_both_nodes_at_once_ask_once(sides: tuple[Side, Side]) -> None:
    sent = sides[0].sent()
    answers: list[Answer] = []

    def work(side: Side) -> None:
        answers.append(side.ask(MESSAGES, message("slow"), "idempotency-key: both"))

    threads = [threading.Thread(target=work, args=(side,)) for side in sides for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sides[0].sent() == sent + 1
    assert sum(a.status == 200 and a.header("idempotent-replayed") is None for a in answers) == 1
    assert {answer.status for answer in answers} <= {200, 409}


def test_what_one_node_is_told_the_other_knows(sides: tuple[Side, Side]) -> None:
    one, two = sides
    keys, budget = f"{CONTROL}/api_keys", f"{CONTROL}/usage/budget"
    made = data(one.ask(keys, {"name": "n", "scopes": ["control:read"]}), 201)
    two.until(lambda: two.ask(keys, key=made["plaintext"]).status == 200, ELSEWHERE_S)
    data(one.ask(f"{keys}/{made['id']}", method="DELETE"))
    two.until(lambda: two.ask(keys, key=made["plaintext"]).status == 401, ELSEWHERE_S)
    data(one.ask(budget, {"spend_cap_usd": 0}, method="PUT"))
    two.until(lambda: two.ask(MESSAGES, message()).status == 429, ELSEWHERE_S)
    assert two.ask(MESSAGES, message(), org="zeta").status == 200
    data(two.ask(budget, {"spend_cap_usd": None}, method="PUT"))
    one.until(lambda: one.ask(MESSAGES, message()).status == 200, ELSEWHERE_S)


def test_signing_opens_the_gate_on_both(sides: tuple[Side, Side]) -> None:
    one, two = sides
    assert error(two.ask(MESSAGES, message(), org="fresh"))[:2] == (402, "BAA_REQUIRED")
    one.command("baa", "sign", "--org", "fresh", *SIGN)
    for side in sides:
        side.until(lambda side=side: side.ask(MESSAGES, message(), org="fresh").status == 200, ELSEWHERE_S)  # type: ignore[misc]


def test_requests_that_wait_for_each_other_in_the_database_hold_up_no_others(
    sides: tuple[Side, Side], database_url: str
) -> None:
    """However many there are: the node goes on to look for revoked keys and to renew its lease."""
    import psycopg

    one, made = sides[0], f"{CONTROL}/api_keys"
    answers: list[Answer] = []

    def make(number: int) -> None:
        answers.append(one.ask(made, {"name": f"waiting{number}", "scopes": ["control:read"]}))

    threads = [threading.Thread(target=make, args=(number,)) for number in range(5)]
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT version FROM snapshot_version FOR UPDATE")
        for thread in threads:
            thread.start()
        until_s = time.monotonic() + STALE_S + 2.0
        while time.monotonic() < until_s:
            assert one.ask(MESSAGES, message(), org="zeta").status == 200
            time.sleep(0.2)
        assert not answers
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers} == {201}


@pytest.mark.slow
def test_a_key_of_a_killed_node_is_free_once_its_exchange_is_settled(sides: tuple[Side, Side]) -> None:
    one, two = sides
    sent = one.sent()
    with RawClient(two.gateway.port) as client:
        body = json.dumps(message("slow")).encode()
        head = (f"x-api-key: {secret('acme')}", "idempotency-key: killed")
        client.send(request("POST", MESSAGES, *head, body=body))
        one.until(lambda: one.sent() > sent)
        two.gateway.kill()
    waiting = one.ask(MESSAGES, message("slow"), "idempotency-key: killed")
    assert error(waiting)[:2] == (409, "IDEMPOTENCY_IN_PROGRESS")
    answers: list[Answer] = []

    def answered() -> bool:
        answers.append(one.ask(MESSAGES, message("slow"), "idempotency-key: killed"))
        return answers[-1].status == 200

    # Its lease lapses within 10 s, and within 5 more its exchange is settled.
    one.until(answered, 40.0)
    assert answers[-1].header("idempotent-replayed") is None
    assert one.sent() == sent + 2
