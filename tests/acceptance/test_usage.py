"""What the ledger says of tokens and money: the provider's word where it can be believed, else an
estimate that is called one; rounded up once; nothing for what was not worked on."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.acceptance.caller import Answer, ask, settled_row
from tests.devices import messages_wire as wire
from tests.devices.faulty_behaviours import JSON, USAGE_LIES, Exchange, answer, whole_stream
from tests.devices.faulty_upstream import FaultyUpstream
from tests.devices.gateway import ORG, TEST_KEY, Gateway, message, provider


@pytest.fixture(scope="module")
def gateway(upstream: FaultyUpstream) -> Iterator[Gateway]:
    lies = [f"fault-usage:{lie}" for lie in USAGE_LIES]
    toml = ORG + provider(upstream.base_url, "m", *lies)
    for name, price in {
        "cached": "price = { input = 3.0, output = 15.0, cache_read = 0.3, cache_write = 3.75 }",
        "uncached": "price = { input = 3.0, output = 15.0 }",
        "cheap": "price = { input = 0.0000015, output = 0.0000015 }",
        "unpriced": "",
    }.items():
        toml += f'[[models]]\nid = "{name}"\nprovider = "mock"\n{price}\n'
    with Gateway(toml) as running:
        yield running


def tokens(row: Mapping[str, Any]) -> tuple[int, int, str]:
    return row["input_tokens"], row["output_tokens"], row["usage_source"]


def ask_with_usage(
    gateway: Gateway, upstream: FaultyUpstream, model: str, usage: dict[str, object], *, stream: bool
) -> dict[str, Any]:
    async def reporting(exchange: Exchange) -> None:
        if stream:
            await whole_stream(exchange, wire.stream_events(4, model, usage))
        else:
            await answer(exchange, 200, JSON, wire.message(model, usage))

    upstream.enqueue(reporting)
    got = ask(gateway, message(model, stream=stream))
    assert got.status == 200
    return settled_row(gateway, got.request_id)


def ask_with_events(
    gateway: Gateway, upstream: FaultyUpstream, events: list[bytes]
) -> tuple[Answer, dict[str, Any]]:
    async def streaming(exchange: Exchange) -> None:
        await whole_stream(exchange, events)

    upstream.enqueue(streaming)
    got = ask(gateway, message("m", stream=True))
    assert got.status == 200
    return got, settled_row(gateway, got.request_id)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("lie", USAGE_LIES)
def test_a_count_that_cannot_be_true_is_replaced_by_an_estimate(
    gateway: Gateway, lie: str, stream: bool
) -> None:
    body = message(f"fault-usage:{lie}", stream=stream)
    got = ask(gateway, body)
    reported = USAGE_LIES[lie]
    model = f"fault-usage:{lie}"
    if stream:
        assert got.body == b"".join(wire.stream_events(4, model, reported))
    else:
        assert got.body == wire.message(model, reported)
    row = settled_row(gateway, got.request_id)
    # Four characters a token: of the request's body, and of the text that came.
    text = "word0 word1 word2 word3 " if stream else "Hello there."
    estimated = (len(body) // 4, len(text) // 4, "estimate")
    assert tokens(row) == estimated
    assert row["cost_nusd"] == estimated[0] * 3_000 + estimated[1] * 15_000
    assert row["ending"] == "completed"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_tokens_of_the_cache_have_their_own_price(
    gateway: Gateway, upstream: FaultyUpstream, stream: bool
) -> None:
    usage: dict[str, object] = {
        "input_tokens": 5,
        "output_tokens": 70,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 200,
    }
    for model, read_nusd, write_nusd in (("cached", 300, 3_750), ("uncached", 3_000, 3_000)):
        row = ask_with_usage(gateway, upstream, model, usage, stream=stream)
        assert tokens(row) == (5, 70, "provider")
        assert (row["cache_read_tokens"], row["cache_write_tokens"]) == (1000, 200)
        assert row["cost_nusd"] == 5 * 3_000 + 70 * 15_000 + 1000 * read_nusd + 200 * write_nusd


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_money_is_rounded_up_once(gateway: Gateway, upstream: FaultyUpstream, stream: bool) -> None:
    usage: dict[str, object] = {"input_tokens": 1, "output_tokens": 1}
    row = ask_with_usage(gateway, upstream, "cheap", usage, stream=stream)
    # Twice 0.0015 nano-dollars: one, not two, and not none.
    assert (row["cost_nusd"], row["unpriced"]) == (1, 0)


def test_a_model_without_a_price_is_flagged(gateway: Gateway, upstream: FaultyUpstream) -> None:
    row = ask_with_usage(gateway, upstream, "unpriced", {"input_tokens": 5, "output_tokens": 7}, stream=False)
    assert tokens(row) == (5, 7, "provider")
    assert (row["cost_nusd"], row["unpriced"]) == (0, 1)


def test_the_last_cumulative_count_of_a_stream_holds(gateway: Gateway, upstream: FaultyUpstream) -> None:
    events = wire.stream_events(2, "m")
    early = wire.event("message_delta", {"delta": {}, "usage": {"output_tokens": 3}})
    late = wire.event("message_delta", {"delta": {}, "usage": {"input_tokens": 13, "output_tokens": 9}})
    _, row = ask_with_events(gateway, upstream, [*events[:-2], early, late, events[-1]])
    assert tokens(row) == (13, 9, "provider")
    _, row = ask_with_events(gateway, upstream, [*events[:-2], early])
    assert tokens(row) == (12, 3, "estimate")
    assert row["failure_kind"] == "upstream_interrupted"


def test_what_a_broken_stream_had_brought_is_estimated(gateway: Gateway, upstream: FaultyUpstream) -> None:
    events = wire.stream_events(40, "m")
    got, row = ask_with_events(gateway, upstream, events[:23])
    text = "".join(f"word{number} " for number in range(20))
    assert got.events[-1][0] == "error"
    assert tokens(row) == (12, len(text) // 4, "estimate")
    assert row["cost_nusd"] == 12 * 3_000 + len(text) // 4 * 15_000


def test_an_answer_that_is_an_error_costs_nothing(gateway: Gateway, upstream: FaultyUpstream) -> None:
    upstream.enqueue("error:400")
    row = settled_row(gateway, ask(gateway, message("m")).request_id)
    assert (*tokens(row), row["cost_nusd"], row["unpriced"]) == (0, 0, "none", 0, 0)


def test_counting_tokens_costs_nothing(gateway: Gateway) -> None:
    got = ask(gateway, message("m"), path="/v1/messages/count_tokens")
    assert got.json == {"input_tokens": 12}
    row = settled_row(gateway, got.request_id)
    assert (row["endpoint"], row["ending"], row["cost_nusd"]) == ("count_tokens", "completed", 0)
    assert tokens(row) == (0, 0, "none")


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_a_test_key_is_answered_by_the_sandbox_under_the_real_id(
    gateway: Gateway, upstream: FaultyUpstream, path: str, stream: bool
) -> None:
    before = len(upstream.requests)
    counts = path.endswith("count_tokens")
    body = message("m") if counts else message("m", stream=stream)
    got = ask(gateway, body, path=path, key=TEST_KEY)
    assert got.status == 200
    assert got.header("x-triptych-environment") == "test"
    assert len(upstream.requests) == before
    if counts:
        assert got.json["input_tokens"] > 0
    elif stream:
        assert got.events[0][1]["message"]["model"] == "m"
        assert got.events[-1][0] == "message_stop"
    else:
        assert got.json["model"] == "m"
    row = settled_row(gateway, got.request_id)
    assert (row["environment"], row["model"], row["provider"]) == ("test", "m", "sandbox")
    assert (row["ending"], row["cost_nusd"]) == ("completed", 0)


def test_a_live_key_is_not_told_of_an_environment(gateway: Gateway) -> None:
    got = ask(gateway, message("m"))
    assert got.header("x-triptych-environment") is None
    assert settled_row(gateway, got.request_id)["environment"] == "live"


def test_a_refused_test_key_is_told_that_it_is_one(gateway: Gateway, upstream: FaultyUpstream) -> None:
    before = len(upstream.requests)
    got = ask(gateway, message("nobody-knows-it"), key=TEST_KEY)
    assert (got.status, got.header("x-triptych-environment")) == (400, "test")
    assert got.json["error"]["message"] == "Model 'nobody-knows-it' not found."
    assert len(upstream.requests) == before
