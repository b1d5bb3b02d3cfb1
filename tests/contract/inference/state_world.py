"""The configuration behind the tests of stored responses: three users in two orgs, and providers of
three kinds; what a client asks, and what a provider of the Responses wire answers."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.contract.raw_client import Answer, RawClient, ask, request
from tests.devices.faulty_behaviours import (
    JSON,
    Exchange,
    answer,
    begin_stream,
    chunk,
    end_stream,
    whole_stream,
)
from tests.devices.faulty_upstream import FaultyUpstream
from tests.devices.gateway import Gateway, provider

ANA, ANA_TEST = "acme-key-of-ana-000000000000000", "acme-key-of-ana-for-tests-00000"
ANA_SINGLE = "acme-key-of-ana-one-at-a-time00"
BOB, EVE = "acme-key-of-bob-000000000000000", "other-key-of-eve-00000000000000"
RESPONSES = "/v1/responses"

_PEOPLE = f"""
[retries]
attempts = 0
[[providers]]
name = "box"
kind = "sandbox"
[[models]]
id = "sandbox-echo"
provider = "box"
[[models]]
id = "sandbox-lorem"
provider = "box"
[[models]]
id = "sandbox-tool"
provider = "box"
[[models]]
id = "sandbox-error-upstream_overloaded"
provider = "box"
[[models]]
id = "sandbox-error-midstream_cut"
provider = "box"
[[models]]
id = "sandbox-error-midstream_overloaded"
provider = "box"
[[orgs]]
slug = "acme"
plan = "enterprise"
  [[orgs.groups]]
  name = "everyone"
  models = ["*"]
  api_key_access = true
  [[orgs.users]]
  name = "ana"
  groups = ["everyone"]
  [[orgs.users]]
  name = "bob"
  groups = ["everyone"]
  [[orgs.keys]]
  name = "ana"
  user = "ana"
  secret = "{ANA}"
  [[orgs.keys]]
  name = "ana test"
  user = "ana"
  secret = "{ANA_TEST}"
  environment = "test"
  [[orgs.keys]]
  name = "ana single"
  user = "ana"
  secret = "{ANA_SINGLE}"
  concurrency = 1
  [[orgs.keys]]
  name = "bob"
  user = "bob"
  secret = "{BOB}"
[[orgs]]
slug = "other"
plan = "enterprise"
  [[orgs.groups]]
  name = "everyone"
  models = ["*"]
  api_key_access = true
  [[orgs.users]]
  name = "eve"
  groups = ["everyone"]
  [[orgs.keys]]
  name = "eve"
  user = "eve"
  secret = "{EVE}"
"""


class StateSides:
    """The gateway, the providers behind it, and clients before it."""

    def __init__(self, gateway: Gateway, upstream: FaultyUpstream) -> None:
        self.gateway = gateway
        self.upstream = upstream

    def ask(self, method: str, target: str, key: str = ANA, body: bytes | None = None) -> Answer:
        return ask(self.gateway.port, method, target, f"authorization: Bearer {key}", body=body)

    def get(self, target: str, key: str = ANA) -> Answer:
        return self.ask("GET", target, key)

    def create(self, said: Any, key: str = ANA, *, model: str = "sandbox-echo", **fields: Any) -> Answer:
        body = {"model": model, "input": said, "store": True, **fields}
        return self.ask("POST", RESPONSES, key, json.dumps(body).encode())

    def created(self, said: Any, key: str = ANA, **fields: Any) -> Any:
        got = self.create(said, key, **fields)
        assert got.status == 200, got.body
        return json.loads(got.body)

    def stored(self, response_id: str, key: str = ANA) -> Any:
        got = self.get(f"{RESPONSES}/{response_id}", key)
        assert got.status == 200, got.body
        return json.loads(got.body)

    def items(self, conversation: str, query: str = "?order=asc", key: str = ANA) -> Any:
        got = self.get(f"/v1/conversations/{conversation}/items{query}", key)
        assert got.status == 200, got.body
        return json.loads(got.body)

    def begin(self, said: Any, key: str = ANA, *, model: str, **fields: Any) -> RawClient:
        """A stored stream whose client has sent its request and read nothing."""
        body = {"model": model, "input": said, "store": True, "stream": True, **fields}
        client = RawClient(self.gateway.port)
        client.send(
            request(
                "POST",
                RESPONSES,
                f"authorization: Bearer {key}",
                body=json.dumps(body).encode(),
            )
        )
        return client

    def answers(self, body: object) -> None:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()

        async def play(exchange: Exchange) -> None:
            await answer(exchange, 200, JSON, text)

        self.upstream.enqueue(play)

    def streams(self, *events: bytes, pause_s: float = 0.0) -> None:
        async def play(exchange: Exchange) -> None:
            await whole_stream(exchange, list(events), pause_s)

        self.upstream.enqueue(play)

    def streams_and_waits(self, *events: bytes, wait_s: float, end: bytes) -> None:
        async def play(exchange: Exchange) -> None:
            await begin_stream(exchange)
            await chunk(exchange, b"".join(events))
            await asyncio.sleep(wait_s)
            await chunk(exchange, end)
            await end_stream(exchange)

        self.upstream.enqueue(play)

    def sent(self) -> Any:
        """What reached the provider last."""
        return json.loads(self.upstream.requests[-1].body)

    def wait_for_rows(self, where: str, count: int, limit_s: float = 30.0) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []

        def settled() -> bool:
            found[:] = self.gateway.rows(f"ended_us IS NOT NULL AND ({where})")
            return len(found) >= count

        self.upstream.wait_until(settled, limit_s)
        return found


def read_events(client: RawClient, until: bytes) -> bytes:
    """What the client has read once ``until`` came by: head and chunks as they are."""
    data = b""
    while until not in data:
        piece = client.socket.recv(65536)
        assert piece, data
        data += piece
    return data


def leave(client: RawClient) -> None:
    client.socket.shutdown(socket.SHUT_RDWR)
    client.socket.close()


def event(type_: str, number: int, **more: Any) -> bytes:
    data = json.dumps({"type": type_, "sequence_number": number, **more})
    return f"event: {type_}\ndata: {data}\n\n".encode()


def response(response_id: str, status: str, *output: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": response_id,
        "object": "response",
        "status": status,
        "store": False,
        "previous_response_id": None,
        "model": "theirs",
        "output": list(output),
        "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
        **more,
    }


def text(said: str, item_id: str = "msg_1") -> dict[str, Any]:
    part = {"type": "output_text", "text": said, "annotations": []}
    return {
        "id": item_id,
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }


def events_of(body: bytes) -> list[tuple[str, Any]]:
    """Name and data of each event."""
    found = []
    for block in body.split(b"\n\n"):
        lines = [line for line in block.split(b"\n") if line and not line.startswith(b":")]
        if lines:
            found.append((lines[0].removeprefix(b"event: ").decode(), json.loads(lines[1][6:])))
    return found


@contextmanager
def state_world(more: str = "", **options: Any) -> Iterator[StateSides]:
    """``more``: further TOML; ``options`` are those of the gateway."""
    with FaultyUpstream() as upstream:
        models = provider(upstream.base_url, "gpt", name="vendor", kind="openai")
        models += provider(upstream.base_url, "claude", name="ant")
        with Gateway(more + _PEOPLE + models, **options) as gateway:
            yield StateSides(gateway, upstream)
