"""A key that is taken back between a request's head and its turn: it does nothing more."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.clinical.control_world import CONTROL, Side, data, error, org, world
from tests.contract.raw_client import RawClient

KEYS, BUDGET = f"{CONTROL}/api_keys", f"{CONTROL}/usage/budget"
A_SECOND_S = 1.0
"""From then on a revoked key is refused, whatever began before."""


@pytest.fixture(scope="module")
def side() -> Iterator[Side]:
    with world(org("acme")) as found:
        yield found


def request(key: str, method: str, target: str, body: Any) -> tuple[bytes, bytes]:
    """Head and body."""
    text = json.dumps(body).encode()
    head = f"{method} {target} HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: {len(text)}\r\n\r\n"
    return head.encode(), text


def key_of(side: Side) -> tuple[str, str]:
    """Target and secret of a new key."""
    made = data(side.ask(KEYS, {"name": "lost", "scopes": ["ai:chat", "control:read"]}), 201)
    return f"{KEYS}/{made['id']}", made["plaintext"]


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", KEYS, {"name": "heir", "scopes": ["ai:chat"]}),
        ("PUT", BUDGET, {"spend_cap_usd": 12345}),
        ("POST", f"{CONTROL}/ai/chat", {"message": "hello", "model": "good"}),
        ("POST", "/v1/messages", {"model": "good", "max_tokens": 9, "messages": []}),
        ("POST", "/v2/emotions/analysis", {"messages": []}),
    ],
)
def test_a_body_that_comes_after_its_key_was_revoked_is_refused(
    side: Side, method: str, target: str, body: Any
) -> None:
    own, key = key_of(side)
    asked = side.sent()
    with RawClient(side.gateway.port) as late:
        head, text = request(key, method, target, body)
        late.send(head, text[:4])
        time.sleep(0.1)
        data(side.ask(own, method="DELETE"))
        time.sleep(A_SECOND_S)
        late.send(text[4:])
        answer = late.answer()
    # The emotion surface tells a revoked key from an unknown one.
    assert answer.status == (403 if target.startswith("/v2") else 401), answer.body
    assert "heir" not in {one["name"] for one in data(side.ask(KEYS))}
    assert data(side.ask(BUDGET))["spend_cap_usd"] is None
    assert side.sent() == asked


def test_a_request_that_waits_behind_another_is_refused_when_its_key_is_gone_by_then(side: Side) -> None:
    own, key = key_of(side)
    slow = request(key, "POST", f"{CONTROL}/ai/chat", {"message": "hi", "model": "slow", "stream": False})
    heir = request(key, "POST", KEYS, {"name": "heir", "scopes": ["ai:chat"]})
    with RawClient(side.gateway.port) as client:
        client.send(b"".join((*slow, *heir)))
        time.sleep(0.2)
        data(side.ask(own, method="DELETE"))
        assert client.answer().status == 200
        assert error(client.answer())[:2] == (401, "INVALID_API_KEY")


def test_a_good_key_may_take_its_time(side: Side) -> None:
    _, key = key_of(side)
    head, text = request(key, "POST", KEYS, {"name": "patient", "scopes": ["ai:chat"]})
    with RawClient(side.gateway.port) as late:
        late.send(head, text, gap_s=A_SECOND_S)
        answer = late.answer()
    assert answer.status == 201
