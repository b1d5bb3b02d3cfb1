"""Whatever one provider does wrong before it said anything, the next one answers: one whole answer,
one row that names who gave it, and not a byte of the first."""

import asyncio
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.acceptance.caller import Answer, Caller, ask, facts, settled_row
from tests.acceptance.expected import BILLED, NO_TOKENS
from tests.devices import messages_wire
from tests.devices.faulty_behaviours import (
    JSON,
    SSE,
    Behaviour,
    Exchange,
    answer,
    begin_stream,
    chunk,
    whole_stream,
)
from tests.devices.faulty_upstream import FaultyUpstream, refused_port
from tests.devices.gateway import ORG, Gateway
from tests.devices.openings import BEARER, MESSAGES, RESPONSES, WIRES, Wire

TIMEOUT_S = 0.8
Fault = Callable[[Wire, bool], str | Behaviour]


def cut_json(wire: Wire, stream: bool) -> Behaviour:
    async def play(exchange: Exchange) -> None:
        await answer(exchange, 200, JSON, wire.answer[: len(wire.answer) // 2])

    return play


def wrong_type(wire: Wire, stream: bool) -> str | Behaviour:
    """For a stream the right events under a type that says otherwise; for JSON, a page."""

    async def play(exchange: Exchange) -> None:
        await answer(exchange, 200, "text/plain", b"".join(wire.opening + wire.content))

    return play if stream else "html:200"


def error_event(wire: Wire, stream: bool) -> Behaviour:
    """An answer that is no stream cannot have one: there it is the body that says so."""

    async def play(exchange: Exchange) -> None:
        if exchange.stream:
            await whole_stream(exchange, [*wire.opening, wire.error])
        else:
            await answer(exchange, 529, JSON, b'{"error":{"type":"overloaded_error","message":"Busy."}}')

    return play


def cut_early(wire: Wire, stream: bool) -> Behaviour:
    async def play(exchange: Exchange) -> None:
        if exchange.stream:
            await begin_stream(exchange)
            for event in wire.opening:
                await chunk(exchange, event)
            exchange.close()
        else:
            fields = f"content-type: {JSON}\r\ncontent-length: {len(wire.answer)}\r\n\r\n".encode()
            await exchange.send(b"HTTP/1.1 200 OK\r\n" + fields + wire.answer[:-5])
            exchange.close()

    return play


def malformed(wire: Wire, stream: bool) -> Behaviour:
    """Events and a body that say nothing a client of the wire could read."""

    async def play(exchange: Exchange) -> None:
        if exchange.stream:
            broken = [event.replace(b'{"', b'{"' * 2, 1) for event in wire.opening + wire.content]
            await whole_stream(exchange, broken)
        else:
            await answer(exchange, 200, JSON, b"[1, 2" + wire.answer)

    return play


FAULTS: dict[str, Fault] = {
    "refused": lambda wire, stream: "never asked",
    "hang before headers": lambda wire, stream: "hang_before_head",
    "reset before headers": lambda wire, stream: "reset",
    "429 with retry-after": lambda wire, stream: "rate_limited:1",
    "429 without": lambda wire, stream: "rate_limited",
    "500": lambda wire, stream: "error:500",
    "502": lambda wire, stream: "error:502",
    "503": lambda wire, stream: "error:503",
    "529": lambda wire, stream: "error:529",
    "empty 500": lambda wire, stream: "empty:500",
    "html 502": lambda wire, stream: "html:502",
    "slow first byte": lambda wire, stream: "slow_first_byte:2000",
    "wrong content type": wrong_type,
    "cut json": cut_json,
    "redirect": lambda wire, stream: "redirect",
    "error event before content": error_event,
    "cut before content": cut_early,
    "malformed": malformed,
}
# Each case has a model of its own: what a target did in one does not concern another.
CASES = [
    (f"{wire.name}/{number}/{'streamed' if stream else 'plain'}", wire, name, stream)
    for wire in WIRES
    for number, name in enumerate(FAULTS)
    for stream in (False, True)
]


def good(wire: Wire) -> Behaviour:
    async def play(exchange: Exchange) -> None:
        if exchange.stream:
            await whole_stream(exchange, wire.opening + wire.content)
        else:
            await answer(exchange, 200, JSON, wire.answer)

    return play


def expected(wire: Wire, stream: bool) -> bytes:
    return b"".join(wire.opening + wire.content) if stream else wire.answer


def providers(*named: tuple[str, str, int]) -> str:
    return "\n".join(
        f'[[providers]]\nname = "{name}"\nkind = "{kind}"\nbase_url = "http://127.0.0.1:{port}"\n'
        'api_key = "k"\n'
        for name, kind, port in named
    )


def model(id: str, *targets: str, more: str = "") -> str:
    """Each target is ``provider`` or ``provider:priority``; the id there is ``<provider>-id``."""
    listed = []
    for target in targets:
        name, _, priority = target.partition(":")
        listed.append(f'{{ provider = "{name}", upstream_id = "{name}-id", priority = {priority or 0} }}')
    price = "price = { input = 3.0, output = 15.0 }\n"
    return f'[[models]]\nid = "{id}"\ntargets = [{", ".join(listed)}]\n{price}{more}'


class World:
    """A gateway between two providers."""

    def __init__(self, first: FaultyUpstream, second: FaultyUpstream) -> None:
        self.first = first
        self.second = second
        self.gateway: Gateway

    def ask(self, wire: Wire, id: str, *, stream: bool = False) -> tuple[Answer, int, int]:
        """The answer, and how many requests each provider saw of it."""
        before = len(self.first.requests), len(self.second.requests)
        body = (wire.streamed if stream else wire.request).replace(b"@", id.encode())
        got = ask(self.gateway, body, path=wire.path, headers=wire.headers)
        assert got.whole
        return got, len(self.first.requests) - before[0], len(self.second.requests) - before[1]

    def script(self, first: object = None, second: object = None) -> None:
        """What each does with its next request, and nothing left over from before."""
        for device, script in ((self.first, first), (self.second, second)):
            device.queue.clear()
            if script is not None:
                device.enqueue(*(script if isinstance(script, tuple) else (script,)))


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with ExitStack() as stack:
        first, second = (stack.enter_context(FaultyUpstream()) for _ in range(2))
        nobody = stack.enter_context(refused_port())
        toml = ORG + providers(
            ("one-anthropic", "anthropic", first.port),
            ("one-openai", "openai", first.port),
            ("two-anthropic", "anthropic", second.port),
            ("two-openai", "openai", second.port),
            ("no-anthropic", "anthropic", nobody),
            ("no-openai", "openai", nobody),
        )
        for id, wire, name, _ in CASES:
            bad = "no" if name == "refused" else "one"
            toml += model(id, f"{bad}-{wire.kind}", f"two-{wire.kind}:1")
        toml += model("stored", "one-openai", "two-openai:1")
        toml += model("both", "one-anthropic", "two-anthropic:1")
        toml += model("across", "one-anthropic", "two-openai:1")
        toml += model("last", "one-anthropic", more='fallback = ["other"]\n')
        toml += model("other", "two-anthropic", more='tier = "standard"\n').replace("3.0", "6.0")
        toml += model("hidden", "two-anthropic", more='groups = ["nobody-is-in"]\n')
        toml += model("alone", "one-anthropic", more='fallback = ["hidden"]\n')
        server = f"first_byte_timeout_s = {TIMEOUT_S}\nidle_stream_timeout_s = 3\n"
        toml += "[breaker]\nmin_calls = 100000\n"
        made = World(first, second)
        made.gateway = stack.enter_context(Gateway(toml, server=server))
        yield made


@pytest.mark.parametrize(("id", "wire", "name", "stream"), CASES, ids=[f"{c[0]} {c[2]}" for c in CASES])
def test_the_second_target_answers_for_the_first(
    world: World, id: str, wire: Wire, name: str, stream: bool
) -> None:
    world.script(FAULTS[name](wire, stream), good(wire))
    got, first, second = world.ask(wire, id, stream=stream)
    assert (got.status, got.body) == (200, expected(wire, stream))
    assert got.header("content-type") == (SSE if stream else JSON)
    assert (first, second) == (0 if name == "refused" else 1, 1)
    row = settled_row(world.gateway, got.request_id)
    told = {
        "model": id,
        "provider": f"two-{wire.kind}",
        "upstream_model": f"two-{wire.kind}-id",
        "ending": "completed",
        "status": 200,
        "failure_kind": None,
        "upstream_status": 200,
        "retries": 0,
        "bytes_out": len(got.body),
        **BILLED,
    }
    assert facts(row, *told) == told
    assert len(world.gateway.rows(f"id = '{row['id']}'")) == 1


def test_each_target_gets_its_own_body(world: World) -> None:
    world.script("error:529", good(MESSAGES))
    world.ask(MESSAGES, "both")
    one, two = world.first.requests[-1], world.second.requests[-1]
    assert (one.json["model"], two.json["model"]) == ("one-anthropic-id", "two-anthropic-id")
    assert one.body.replace(b"one-", b"two-") == two.body


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_target_on_another_wire_is_translated(world: World, stream: bool) -> None:
    world.script("error:529", good(RESPONSES))
    got, first, second = world.ask(MESSAGES, "across", stream=stream)
    assert (got.status, first, second) == (200, 1, 1)
    asked = world.second.requests[-1]
    assert asked.target.endswith("/responses") and asked.json["model"] == "two-openai-id"
    if stream:
        names = [name for name, _ in got.events]
        assert (names[0], names.count("message_start"), names[-1]) == ("message_start", 1, "message_stop")
    else:
        assert [block["text"] for block in got.json["content"]] == ["Hi there."]
    row = settled_row(world.gateway, got.request_id)
    assert facts(row, "provider", "ending", "input_tokens", "output_tokens") == {
        "provider": "two-openai",
        "ending": "completed",
        "input_tokens": 12,
        "output_tokens": 7,
    }


def test_what_the_next_target_cannot_say_is_left_with_the_first_error(world: World) -> None:
    """top_k has no place on OpenAI's wires: that target is no way out."""
    world.script(("error:500",) * 3, good(RESPONSES))
    body = b'{"model":"across","max_tokens":9,"top_k":5,"messages":[{"role":"user","content":"x"}]}'
    before = len(world.second.requests)
    got = ask(world.gateway, body)
    assert got.status == 500 and got.body == messages_wire.error("api_error", "Internal server error.")
    assert len(world.second.requests) == before
    row = settled_row(world.gateway, got.request_id)
    assert facts(row, "provider", "status", "ending") == {
        "provider": "one-anthropic",
        "status": 500,
        "ending": "failed",
    }


def test_the_last_error_is_shown_when_all_fail(world: World) -> None:
    world.script("error:529", ("error:503",) * 3)
    got, first, second = world.ask(MESSAGES, "both")
    assert (got.status, first, second) == (503, 1, 3)
    assert got.body == messages_wire.error("api_error", "Unavailable.")
    row = settled_row(world.gateway, got.request_id)
    assert facts(row, "provider", "status", "retries", "ending") == {
        "provider": "two-anthropic",
        "status": 503,
        "retries": 2,
        "ending": "failed",
    }


def test_another_model_is_asked_after_this_one_was_tried_again(world: World) -> None:
    world.script(("error:529",) * 3, good(MESSAGES))
    got, first, second = world.ask(MESSAGES, "last")
    assert (got.status, first, second) == (200, 3, 1)
    row = settled_row(world.gateway, got.request_id)
    assert facts(row, "model", "provider", "retries") == {
        "model": "last",
        "provider": "two-anthropic",
        "retries": 2,
    }
    assert row["cost_nusd"] == 12 * 6_000 + 7 * 15_000, "the price is that of the model that answered"


def test_a_fallback_the_caller_may_not_use_is_not_used(world: World) -> None:
    world.script(("error:529",) * 3, good(MESSAGES))
    got, first, second = world.ask(MESSAGES, "alone")
    assert (got.status, first, second) == (529, 3, 0)


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_an_error_of_the_callers_own_is_not_taken_elsewhere(world: World, status: int) -> None:
    world.script(f"error:{status}", good(MESSAGES))
    got, first, second = world.ask(MESSAGES, "both")
    assert (got.status, first, second) == (status, 1, 0)


@pytest.mark.parametrize("status", [401, 402, 403])
def test_what_a_provider_has_against_the_gateway_is_not_the_callers_matter(world: World, status: int) -> None:
    world.script(f"error:{status}", good(MESSAGES))
    got, first, second = world.ask(MESSAGES, "both")
    assert (got.status, first, second) == (200, 1, 1)


@pytest.mark.parametrize("wire", WIRES, ids=[wire.name for wire in WIRES])
def test_after_the_first_word_nothing_is_taken_elsewhere(world: World, wire: Wire) -> None:
    async def play(exchange: Exchange) -> None:
        await whole_stream(exchange, [*wire.opening, wire.content[0], wire.error])

    id = next(case[0] for case in CASES if case[1] is wire and case[2] == "500")
    world.script(play, good(wire))
    got, first, second = world.ask(wire, id, stream=True)
    assert (got.status, first, second) == (200, 1, 0)
    assert got.body.startswith(b"".join([*wire.opening, wire.content[0]]))
    assert b"Overloaded" in got.body
    row = settled_row(world.gateway, got.request_id)
    assert (row["ending"], row["failure_kind"]) == ("failed", "upstream_stream_error")


def test_an_early_error_event_of_the_last_target_passes_verbatim(world: World) -> None:
    events = [*MESSAGES.opening, MESSAGES.error]

    async def play(exchange: Exchange) -> None:
        await whole_stream(exchange, events)

    world.script("error:529", play)
    got, _, second = world.ask(MESSAGES, "both", stream=True)
    assert (got.status, second, got.body) == (200, 1, b"".join(events))
    row = settled_row(world.gateway, got.request_id)
    assert facts(row, "ending", "provider") == {"ending": "failed", "provider": "two-anthropic"}


def test_a_stored_response_is_that_of_the_target_that_answered(world: World) -> None:
    world.script(error_event(RESPONSES, True), good(RESPONSES))
    body = b'{"model":"stored","store":true,"input":"x","stream":true}'
    got = ask(world.gateway, body, path="/v1/responses", headers=RESPONSES.headers)
    names = [name for name, _ in got.events]
    assert (got.status, names.count("response.created"), names[-1]) == (200, 1, "response.completed")
    url = world.gateway.url + "/v1/responses/resp_1"
    with urllib.request.urlopen(urllib.request.Request(url, headers=dict(BEARER))) as stored:
        kept = json.loads(stored.read())
    assert (kept["id"], kept["status"]) == ("resp_1", "completed")


# -- what is held, and for how long ---------------------------------------------------------------


def first_piece(world: World, play: Behaviour) -> tuple[bytes, float]:
    """What the client sees first, and after how many seconds."""
    world.script(play, good(MESSAGES))
    with Caller(world.gateway) as caller:
        began_s = time.monotonic()
        caller.send(MESSAGES.streamed.replace(b"@", b"both"))
        got = Answer()
        piece = next(caller.pieces(got))
        return piece, time.monotonic() - began_s


def test_the_opening_waits_for_the_first_word(world: World) -> None:
    said = threading.Event()

    async def play(exchange: Exchange) -> None:
        await begin_stream(exchange)
        await chunk(exchange, b"".join(MESSAGES.opening))
        while not said.is_set():
            await exchange.send(b"")
            said.wait(0.3)
            said.set()
        await chunk(exchange, MESSAGES.content[0])
        await exchange.hang()

    piece, took_s = first_piece(world, play)
    assert piece == b"".join([*MESSAGES.opening, MESSAGES.content[0]])
    assert took_s > 0.25


def test_the_opening_waits_a_second_and_no_longer(world: World) -> None:
    async def play(exchange: Exchange) -> None:
        await begin_stream(exchange)
        await chunk(exchange, b"".join(MESSAGES.opening))
        await exchange.hang()

    piece, took_s = first_piece(world, play)
    assert piece == b"".join(MESSAGES.opening)
    assert 0.9 < took_s < 10


def test_an_opening_of_16_kb_is_not_held(world: World) -> None:
    ping = messages_wire.event("ping", {"padding": "x" * 4000})

    async def play(exchange: Exchange) -> None:
        await begin_stream(exchange)
        for _ in range(5):
            await chunk(exchange, ping)
        await exchange.hang()

    quickest_s = 9.0
    for _ in range(4):  # a busy machine takes its time; an opening that is held takes a second each time
        piece, took_s = first_piece(world, play)
        assert len(piece) > 16 << 10
        quickest_s = min(quickest_s, took_s)
        if quickest_s < 0.8:
            break
    assert quickest_s < 0.8


def test_what_was_held_too_long_is_the_clients_and_breaks_like_any_stream(world: World) -> None:
    async def play(exchange: Exchange) -> None:
        await begin_stream(exchange)
        await chunk(exchange, b"".join(MESSAGES.opening))
        await asyncio.sleep(1.3)
        exchange.close()

    world.script(play, good(MESSAGES))
    got, first, second = world.ask(MESSAGES, "both", stream=True)
    assert (got.status, first, second) == (200, 1, 0)
    assert got.body.startswith(b"".join(MESSAGES.opening)) and got.events[-1][0] == "error"
    row = settled_row(world.gateway, got.request_id)
    assert (row["ending"], row["failure_kind"]) == ("failed", "upstream_interrupted")


def test_a_client_that_leaves_during_the_opening_ends_the_exchange(world: World) -> None:
    async def play(exchange: Exchange) -> None:
        await begin_stream(exchange)
        await chunk(exchange, MESSAGES.opening[0])
        await exchange.hang()

    world.script(play, good(MESSAGES))
    before, asked = len(world.first.requests), len(world.second.requests)
    rows = len(world.gateway.rows())
    caller = Caller(world.gateway)
    caller.send(MESSAGES.streamed.replace(b"@", b"both"))
    assert world.first.wait_until(lambda: len(world.first.requests) > before)
    time.sleep(0.1)
    connection = world.first.connections[world.first.requests[-1].connection]
    caller.close()
    assert world.first.wait_until(lambda: connection.closed_by == "peer")
    limit_s = time.monotonic() + 30
    while True:
        row = world.gateway.rows()[-1]
        if row["ended_us"] is not None or time.monotonic() > limit_s:
            break
        time.sleep(0.02)
    assert len(world.gateway.rows()) == rows + 1
    assert facts(row, "ending", "provider") == {"ending": "cancelled", "provider": "one-anthropic"}
    assert len(world.second.requests) == asked


def test_no_tokens_of_a_target_that_was_left_are_in_the_row(world: World) -> None:
    """message_start counts input tokens; the one that failed in its stead counted for nothing."""
    world.script(error_event(MESSAGES, True), ("error:400",))
    got, _, second = world.ask(MESSAGES, "both", stream=True)
    assert (got.status, second) == (400, 1)
    row = settled_row(world.gateway, got.request_id)
    assert facts(row, *NO_TOKENS) == NO_TOKENS
