"""Bodies of many megabytes: read beside the event loop, relayed as they are, and never held thrice."""

import gzip
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.caller import Answer, Caller, facts, settled_row
from tests.devices import messages_wire as wire
from tests.devices.faulty_behaviours import JSON, Exchange, answer
from tests.devices.faulty_upstream import FaultyUpstream
from tests.devices.gateway import ORG, Gateway, message, provider

MEBIBYTE = 1 << 20
SIZE = 16 * MEBIBYTE
MAPPED = '\n[[models]]\nid = "mapped"\nprovider = "mock"\nupstream_id = "other"\n'
# What a process may hold besides: buffers of sockets, and what the allocator keeps.
ASIDE = 8 * MEBIBYTE


@pytest.fixture(scope="module")
def gateway(upstream: FaultyUpstream) -> Iterator[Gateway]:
    toml = ORG + provider(upstream.base_url, "m") + MAPPED
    toml += provider(upstream.base_url + "/v1", "gpt", name="gpt", kind="openai")
    with Gateway(toml) as running:
        yield running


def readers(gateway: Gateway) -> list[int]:
    """The processes that the gateway has started."""
    assert gateway.process is not None
    tasks = Path(f"/proc/{gateway.process.pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def memory_bytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(status.split("VmRSS:")[1].split()[0]) * 1024 if "VmRSS:" in status else 0


class Peak:
    """The most memory that the gateway and its reader held together while the block ran."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.grown_bytes = 0

    def _held(self) -> int:
        assert self._gateway.process is not None
        return sum(map(memory_bytes, (self._gateway.process.pid, *readers(self._gateway))))

    def _watch(self) -> None:
        while not self._over.wait(0.001):
            self.grown_bytes = max(self.grown_bytes, self._held() - self._before)

    def __enter__(self) -> "Peak":
        self._before = self._held()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def ask(gateway: Gateway, body: bytes, **how: Any) -> Answer:
    with Caller(gateway, timeout_s=60) as caller:
        return caller.ask(body, **how)


def padded(text: str, size: int, **fields: Any) -> bytes:
    """A messages request of about so many bytes, with much of the same text."""
    body = message(fields.pop("model", "m"), **fields, system="SYSTEM")
    return body.replace(b"SYSTEM", json.dumps(text)[1:-1].encode() * (size // len(json.dumps(text)[1:-1])))


def test_a_small_body_needs_no_other_process(gateway: Gateway) -> None:
    assert ask(gateway, padded("x", MEBIBYTE // 2)).status == 200
    assert readers(gateway) == []


@pytest.mark.parametrize(
    ("path", "model", "body"),
    [
        ("/v1/messages", "m", {"max_tokens": 8, "messages": [{"role": "user", "content": "TEXT"}]}),
        ("/v1/chat/completions", "gpt", {"messages": [{"role": "user", "content": "TEXT"}]}),
        ("/v1/responses", "gpt", {"input": "TEXT", "store": False}),
    ],
)
def test_a_large_body_is_relayed_byte_for_byte_and_read_in_another_process(
    gateway: Gateway, upstream: FaultyUpstream, path: str, model: str, body: dict[str, Any]
) -> None:
    sent = json.dumps({"model": model, **body}).encode().replace(b"TEXT", b'\\"[{ \\u00e9' * 300_000)

    async def good(exchange: Exchange) -> None:
        texts = {
            "/v1/messages": wire.message("m"),
            "/v1/chat/completions": b'{"id":"c","object":"chat.completion","model":"gpt","choices":[]}',
            "/v1/responses": b'{"id":"resp_1","object":"response","status":"completed","output":[]}',
        }
        await answer(exchange, 200, JSON, texts[path])

    upstream.enqueue(good)
    before = len(upstream.requests)
    got = ask(gateway, sent, path=path)
    assert got.status == 200, got.body
    assert [seen.body for seen in upstream.requests[before:]] == [sent]
    assert len(readers(gateway)) == 1
    expected = {"ending": "completed", "bytes_in": len(sent)}
    assert facts(settled_row(gateway, got.request_id), *expected) == expected


def test_a_large_compressed_body_is_inflated_there_too(gateway: Gateway, upstream: FaultyUpstream) -> None:
    sent = message("m", system="".join(map(str, range(600_000))))
    packed = gzip.compress(sent, 1)
    assert len(packed) > 1 << 17
    before = len(upstream.requests)
    got = ask(gateway, packed, headers={"content-encoding": "gzip"})
    assert got.status == 200
    assert [seen.body for seen in upstream.requests[before:]] == [sent]


def test_a_large_body_is_refused_in_the_words_of_a_small_one(gateway: Gateway) -> None:
    for broken in (
        {"max_tokens": 0},
        {"messages": []},
        {"messages": [{"role": "user", "content": "x"}, {"role": "system", "content": "y"}]},
        {"stream": "yes"},
    ):
        small, large = (
            ask(gateway, padded("x", 100, **broken)),
            ask(gateway, padded("x", 2 * MEBIBYTE, **broken)),
        )
        assert (small.status, large.status) == (400, 400)
        assert small.json["error"] == large.json["error"]
        expected = {"ending": "refused", "failure_kind": "invalid_body"}
        assert facts(settled_row(gateway, large.request_id), *expected) == expected
    cut = ask(gateway, padded("x", 2 * MEBIBYTE)[:-1])
    assert cut.status == 400 and "it ends too early (byte 2" in cut.json["error"]["message"]


def test_a_reader_that_was_killed_is_replaced(gateway: Gateway) -> None:
    (reader,) = readers(gateway)
    os.kill(reader, signal.SIGKILL)
    assert ask(gateway, padded("x", 2 * MEBIBYTE)).status == 200
    (other,) = readers(gateway)
    assert other != reader


@pytest.mark.parametrize(("model", "text"), [("m", "x"), ("m", 'é \\ "[{,'), ("mapped", "{}")])
def test_a_large_request_is_held_twice_at_most(
    gateway: Gateway, upstream: FaultyUpstream, model: str, text: str
) -> None:
    ask(gateway, padded("x", 2 * MEBIBYTE))
    body = padded(text, SIZE, model=model)
    with Peak(gateway) as peak:
        got = ask(gateway, body)
    assert got.status == 200
    assert len(upstream.requests[-1].body) >= len(body) - 10
    assert SIZE < peak.grown_bytes < 2 * SIZE + ASIDE
    upstream.requests.clear()


def test_a_large_answer_is_held_twice_at_most_also_while_it_is_read_slowly(
    gateway: Gateway, upstream: FaultyUpstream
) -> None:
    small = wire.message("m")
    text = small[:-1] + b',"more":"' + b"y" * SIZE + b'"}'

    async def large(exchange: Exchange) -> None:
        await answer(exchange, 200, JSON, text)

    upstream.enqueue(large)
    with Peak(gateway) as peak, Caller(gateway, timeout_s=60, receive_buffer_bytes=65536) as caller:
        caller.send(message("m"))
        time.sleep(0.5)
        got = caller.receive()
    assert (got.status, got.body) == (200, text)
    assert SIZE < peak.grown_bytes < 2 * SIZE + ASIDE


def test_a_gateway_that_is_killed_leaves_no_reader_behind(upstream: FaultyUpstream) -> None:
    with Gateway(ORG + provider(upstream.base_url, "m")) as running:
        assert ask(running, padded("x", 2 * MEBIBYTE)).status == 200
        (reader,) = readers(running)
        running.kill()
        limit_s = time.monotonic() + 20
        while memory_bytes(reader) and time.monotonic() < limit_s:
            time.sleep(0.02)
        assert memory_bytes(reader) == 0, "it lives on"
