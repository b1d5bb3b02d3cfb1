"""A target that keeps failing is left alone for a while, and asked again in time; one that is all
there is keeps its errors. Seen by the client, the providers' logs and the metrics."""

import re
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.acceptance.caller import ask, facts, settled_row
from tests.acceptance.test_fallback import World, good, model, providers
from tests.devices.faulty_behaviours import Exchange, whole_stream
from tests.devices.faulty_upstream import FaultyUpstream, refused_port
from tests.devices.gateway import ORG, Gateway, message
from tests.devices.openings import MESSAGES

MIN_CALLS = 6
OPEN_S = 2.0


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with ExitStack() as stack:
        first, second = (stack.enter_context(FaultyUpstream()) for _ in range(2))
        nobody = stack.enter_context(refused_port())
        toml = ORG + providers(
            ("one", "anthropic", first.port), ("two", "anthropic", second.port), ("no", "anthropic", nobody)
        )
        for id in ("half", "fours", "rests", "rests-both", "begun", "slow"):
            toml += model(id, "one", "two:1")
        toml += model("dead", "no", "two:1") + model("all-dead", "no", "one:1")
        toml += model("sole", "one") + model("sole-dead", "no") + model("sole-mute", "one")
        toml += f"[breaker]\nwindow_s = 30\nmin_calls = {MIN_CALLS}\nfailure_ratio = 0.5\nopen_s = {OPEN_S}\n"
        toml += "[retries]\nattempts = 0\n"
        made = World(first, second)
        made.gateway = stack.enter_context(Gateway(toml, server="first_byte_timeout_s = 0.6\n"))
        yield made


def metric(world: World, name: str, id: str, provider: str) -> float:
    with urllib.request.urlopen(world.gateway.url + "/metrics") as answer:
        text = answer.read().decode()
    labels = f'{{model="{id}",provider="{provider}",upstream_model="{provider}-id"}}'
    found = re.search(rf"^{name}{re.escape(labels)} (\S+)$", text, re.MULTILINE)
    assert found, text
    return float(found[1])


def state(world: World, id: str, provider: str) -> float:
    return metric(world, "triptych_target_state", id, provider)


def test_it_opens_is_probed_and_closes(world: World) -> None:
    world.script(("error:500",) * MIN_CALLS)
    for _ in range(MIN_CALLS):
        assert world.ask(MESSAGES, "half")[1:] == (1, 1)
    assert state(world, "half", "one") == 2
    assert metric(world, "triptych_target_opened_total", "half", "one") == 1
    for _ in range(5):
        got, first, second = world.ask(MESSAGES, "half")
        assert (got.status, first, second) == (200, 0, 1)
        assert world.second.requests[-1].json["model"] == "two-id"
        row = settled_row(world.gateway, got.request_id)
        assert (row["provider"], row["upstream_model"]) == ("two", "two-id")
    time.sleep(OPEN_S)
    world.script("error:500")
    got, first, second = world.ask(MESSAGES, "half")
    assert (got.status, first, second) == (200, 1, 1), "one call is let through to see"
    assert world.ask(MESSAGES, "half")[1:] == (0, 1), "and it failed"
    time.sleep(OPEN_S)
    assert world.ask(MESSAGES, "half")[1:] == (1, 0)
    assert state(world, "half", "one") == 0
    assert world.ask(MESSAGES, "half")[1:] == (1, 0)


def test_a_refused_connection_and_a_timeout_are_faults(world: World) -> None:
    for _ in range(MIN_CALLS):
        assert world.ask(MESSAGES, "dead")[0].status == 200
    assert state(world, "dead", "no") == 2
    world.script(("hang_before_head",) * MIN_CALLS)
    for _ in range(MIN_CALLS):
        assert world.ask(MESSAGES, "slow")[0].status == 200
    assert state(world, "slow", "one") == 2


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422, 429])
def test_an_error_of_four_hundred_never_opens_one(world: World, status: int) -> None:
    for _ in range(2 * MIN_CALLS):
        world.script(f"error:{status}", "error:400")
        assert world.ask(MESSAGES, "fours")[1] == 1
    assert state(world, "fours", "one") == 0


def test_streams_that_break_after_their_first_word_count(world: World) -> None:
    async def play(exchange: Exchange) -> None:
        await whole_stream(exchange, [*MESSAGES.opening, MESSAGES.content[0]])

    world.script((play,) * MIN_CALLS)
    for _ in range(MIN_CALLS):
        assert world.ask(MESSAGES, "begun", stream=True)[1:] == (1, 0)
    assert state(world, "begun", "one") == 2
    assert world.ask(MESSAGES, "begun", stream=True)[1:] == (0, 1)


def test_every_circuit_open_is_503(world: World) -> None:
    world.script(("error:529",) * 30)
    for _ in range(MIN_CALLS):
        assert world.ask(MESSAGES, "all-dead")[0].status == 529
    got, first, _ = world.ask(MESSAGES, "all-dead")
    assert (got.status, first) == (503, 0) and got.header("retry-after") in ("1", "2")
    assert got.json["error"]["type"] == "overloaded_error"
    row = settled_row(world.gateway, got.request_id)
    assert facts(row, "ending", "failure_kind", "upstream_status") == {
        "ending": "failed",
        "failure_kind": "service_unavailable",
        "upstream_status": None,
    }
    body = b'{"model":"all-dead","messages":[{"role":"user","content":"x"}]}'
    other = ask(world.gateway, body, path="/v1/chat/completions")
    assert (other.status, other.json["error"]["code"]) == (503, "service_unavailable")


@pytest.mark.parametrize("script", ["error:500", "html:502", "error:529", "html:200", "json_cut"])
def test_what_the_only_target_says_is_always_told(world: World, script: str) -> None:
    world.script((script,) * 3 * MIN_CALLS)
    statuses = {world.ask(MESSAGES, "sole")[0].status for _ in range(3 * MIN_CALLS)}
    assert statuses == {{"error:500": 500, "error:529": 529}.get(script, 502)}
    assert state(world, "sole", "one") == 0


@pytest.mark.parametrize(("id", "script"), [("sole-dead", None), ("sole-mute", "empty:500")])
def test_an_only_target_that_says_nothing_is_left_alone_too(
    world: World, id: str, script: str | None
) -> None:
    world.script(None if script is None else (script,) * MIN_CALLS)
    for _ in range(MIN_CALLS):
        assert world.ask(MESSAGES, id)[0].status == 502
    began_s = time.monotonic()
    got, first, _ = world.ask(MESSAGES, id)
    assert (got.status, first) == (503, 0) and got.header("retry-after") in ("1", "2")
    if script is not None:
        time.sleep(max(0.0, OPEN_S - (time.monotonic() - began_s)))
        assert world.ask(MESSAGES, id)[0].status == 200


def test_a_provider_that_asks_for_time_gets_it_while_another_can_be_asked(world: World) -> None:
    world.script("rate_limited:3")
    asked_s = time.monotonic()
    assert world.ask(MESSAGES, "rests")[1:] == (1, 1)
    # The three seconds began between these two moments, when the provider's answer came.
    answered_s = time.monotonic()
    while time.monotonic() - asked_s < 2.3:
        assert world.ask(MESSAGES, "rests")[1:] == (0, 1)
        time.sleep(0.2)
    time.sleep(max(0.0, answered_s + 3.1 - time.monotonic()))
    assert world.ask(MESSAGES, "rests")[1:] == (1, 0)


def test_when_all_ask_for_time_the_one_due_first_is_asked(world: World) -> None:
    world.script("rate_limited:30", "rate_limited:20")
    got, first, second = world.ask(MESSAGES, "rests-both")
    assert (got.status, first, second, got.header("retry-after")) == (429, 1, 1, "20")
    world.script(None, good(MESSAGES))
    assert world.ask(MESSAGES, "rests-both")[1:] == (0, 1)


def test_the_log_says_which_target_is_left_alone(world: World) -> None:
    said = [line for line in world.gateway.log.splitlines() if "keeps failing" in line]
    assert any("model half: one as one-id" in line for line in said)


def test_the_sandbox_has_no_circuit() -> None:
    """Its failures are what it is asked for."""
    toml = ORG.replace('slug = "acme"', 'slug = "acme"\ndemo = true') + "[breaker]\nmin_calls = 2\n"
    toml += "[retries]\nattempts = 0\n[[providers]]\nname = 'sandbox'\nkind = 'sandbox'\n"
    toml += "[[models]]\nid = 'broken'\nprovider = 'sandbox'\nupstream_id = 'sandbox-error-unreachable'\n"
    toml += (
        "[[models]]\nid = 'saved'\ntargets = [{ provider = 'sandbox', upstream_id = "
        "'sandbox-error-upstream_overloaded' }, { provider = 'sandbox', upstream_id = 'sandbox-echo', "
        "priority = 1 }]\n"
    )
    with Gateway(toml) as gateway:
        for id in ("sandbox-error-unreachable", "broken"):
            assert {ask(gateway, message(id)).status for _ in range(6)} == {502}
        assert ask(gateway, message("saved")).json["content"][0]["text"] == "hello there"
