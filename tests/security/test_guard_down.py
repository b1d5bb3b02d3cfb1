"""A guard that fails, whatever way, lets nothing out; the gateway goes on, and so do orgs without one."""

import json
import socket
from itertools import product

import pytest

from tests.acceptance.caller import settled_row
from tests.devices.guarded import PATHS, guarded, key_of, request, said
from tests.devices.speaker import ask

WIRES = tuple(PATHS)
FAULTS = ("raises", "hangs", "garbage", "nonsense", "dies")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_guard_that_fails_lets_nothing_out(fault: str) -> None:
    with guarded(fault, limit_s=0.5) as scene:
        for wire, stream in product(WIRES, (False, True)):
            answer = scene.ask(wire, "Ana Lima is here", stream=stream)
            assert answer.status == 503, answer.body
            assert b"Nothing was sent" in answer.body and b"Ana" not in answer.body
            assert answer.headers["retry-after"] == "1"
            row = settled_row(scene.gateway, answer.headers["request-id"])
            assert (row["failure_kind"], row["ending"]) == ("service_unavailable", "failed")
            assert said(wire, scene.ask(wire, "as it is", org="open")) == "as it is"
        # What reached the provider is what the org without a guard said.
        assert len(scene.upstream.bodies) == len(WIRES) * 2
        assert b"Ana" not in scene.upstream.received
        assert "Ana" not in scene.gateway.log


def test_a_guard_that_hung_is_replaced() -> None:
    """The process is killed, and one that works takes its place."""
    with guarded("hangs_once", limit_s=0.5) as scene:
        assert scene.ask("chat", "Ana Lima").status == 503
        for _ in range(100):
            answer = scene.ask("chat", "Ana Lima")
            if answer.status == 200:
                break
        assert said("chat", answer) == "Ana Lima" and b"Ana" not in scene.upstream.received


def test_one_that_never_gets_ready_is_said_in_readyz() -> None:
    with pytest.raises(AssertionError, match="not ready within"), guarded("never_ready", ready_limit_s=1.5):
        pass


def test_a_caller_who_leaves_while_the_guard_reads_leaves_nothing_behind() -> None:
    with guarded("hangs", limit_s=1.0) as scene:
        body = json.dumps({"model": "chat", **request("chat", "Ana Lima")}).encode()
        head = f"POST {PATHS['chat']} HTTP/1.1\r\nhost: x\r\nx-api-key: {key_of('redact')}\r\n"
        with socket.create_connection(("127.0.0.1", scene.gateway.port)) as caller:
            caller.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        (row,) = scene.gateway.settled_rows(1)
        assert row["ending"] == "cancelled" and not scene.upstream.received
        assert ask(scene.gateway.port, body, path=PATHS["chat"], key=key_of("open")).status == 200
