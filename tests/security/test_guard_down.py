"""A guard that fails, whatever way, lets nothing out; the gateway goes on, and so do orgs without one."""

import json
import socket
from collections.abc import Iterator
from itertools import product
from time import monotonic, sleep

import pytest

from tests.acceptance.caller import settled_row
from tests.devices.guarded import PATHS, Guarded, guarded, key_of, request, said
from tests.devices.rules import FAULTS
from tests.devices.speaker import Answer, ask

WIRES = tuple(PATHS)
DOWN = ("hangs", "dies", "babbles")
"""After these the process is replaced."""


@pytest.fixture(scope="module")
def scene() -> Iterator[Guarded]:
    with guarded(limit_s=2.0) as running:
        yield running


def once_up(scene: Guarded, wire: str) -> Answer:
    """The answer to a guarded request, once the guard is there (again)."""
    deadline_s = monotonic() + 30
    while (answer := scene.ask(wire, "Ana Lima")).status == 503 and monotonic() < deadline_s:
        sleep(0.05)
    return answer


@pytest.mark.parametrize(("fault", "wire"), [*product(FAULTS, WIRES)])
def test_a_guard_that_fails_lets_nothing_out(scene: Guarded, fault: str, wire: str) -> None:
    assert said(wire, once_up(scene, wire)) == "Ana Lima"
    scene.upstream.forget()
    for stream in (False,) if fault in DOWN else (False, True):
        answer = scene.ask(wire, f"Ana Lima #{fault}", stream=stream)
        assert answer.status == 503, answer.body
        assert b"Nothing was sent" in answer.body and b"Ana" not in answer.body
        assert answer.headers["retry-after"] == "1"
        row = settled_row(scene.gateway, answer.headers["request-id"])
        assert (row["failure_kind"], row["ending"]) == ("service_unavailable", "failed")
    assert not scene.upstream.received
    # Nobody else is harmed.
    assert said(wire, scene.ask(wire, "as it is", org="open")) == "as it is"
    assert "Ana" not in scene.gateway.log


def test_a_caller_who_leaves_while_the_guard_reads_leaves_nothing_behind(scene: Guarded) -> None:
    assert once_up(scene, "chat").status == 200
    scene.upstream.forget()
    before = len(scene.gateway.rows())
    body = json.dumps({"model": "chat", **request("chat", "Ana Lima #hangs")}).encode()
    head = f"POST {PATHS['chat']} HTTP/1.1\r\nhost: x\r\nx-api-key: {key_of('redact')}\r\n"
    with socket.create_connection(("127.0.0.1", scene.gateway.port)) as caller:
        caller.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    row = scene.gateway.settled_rows(before + 1)[-1]
    assert row["ending"] == "cancelled" and not scene.upstream.received
    assert ask(scene.gateway.port, body, path=PATHS["chat"], key=key_of("open")).status == 200
