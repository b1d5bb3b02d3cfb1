"""Caps and credits on real sockets: what a budget admits is exact, and every number of what was
spent is the same number."""

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.caller import Caller, ask, facts, settled_row
from tests.contract.raw_client import ask as look
from tests.devices import messages_wire as wire
from tests.devices.faulty_behaviours import JSON, SSE, Exchange, answer, head, whole_stream
from tests.devices.faulty_upstream import FaultyUpstream
from tests.devices.gateway import LIVE_KEY, ORG, TEST_KEY, Gateway, message, provider

OUTPUT_TOKENS = 8
# Only output has a price, and the sandbox says exactly as much as it may: a hold is what is charged.
COST_NUSD = OUTPUT_TOKENS * 1_000_000
SANDBOX = """
[[providers]]
name = "sandbox"
kind = "sandbox"
[[models]]
id = "exact"
provider = "sandbox"
upstream_id = "sandbox-lorem"
price = { input = 0, output = 1000 }
[[models]]
id = "slow"
provider = "sandbox"
upstream_id = "sandbox-error-slow_first_byte"
price = { input = 1000, output = 1000 }
credit_ratio = 0.33
[[models]]
id = "plain"
provider = "sandbox"
upstream_id = "sandbox-lorem"
price = { input = 3, output = 15 }
"""


def org(*lines: str) -> str:
    """The usual org with further keys of its table."""
    return ORG.replace('plan = "enterprise"', "\n".join(('plan = "enterprise"', *lines)))


def capped(nusd: int) -> str:
    return f"spend_cap_usd = {nusd // 10**9}.{nusd % 10**9:09d}"


def balance(gateway: Gateway, kind: str = "org") -> dict[str, int]:
    connection = sqlite3.connect(f"file:{gateway.database}?mode=ro", uri=True)
    try:
        connection.row_factory = sqlite3.Row
        query = "SELECT spent_nusd, credits_used, requests FROM balances WHERE scope_kind = ?"
        rows = [dict(row) for row in connection.execute(query, (kind,))]
    finally:
        connection.close()
    assert len(rows) <= 1
    return rows[0] if rows else {"spent_nusd": 0, "credits_used": 0, "requests": 0}


def spent(gateway: Gateway) -> tuple[int, int]:
    rows = gateway.rows("ended_us IS NOT NULL")
    return sum(row["cost_nusd"] for row in rows), sum(row["credits"] for row in rows)


PATHS = {
    "/v1/messages": message("exact", max_tokens=OUTPUT_TOKENS),
    "/v1/chat/completions": json.dumps(
        {
            "model": "exact",
            "max_completion_tokens": OUTPUT_TOKENS,
            "messages": [{"role": "user", "content": "hello there"}],
        }
    ).encode(),
    "/v1/responses": json.dumps(
        {"model": "exact", "max_output_tokens": OUTPUT_TOKENS, "input": "hello there"}
    ).encode(),
}


async def storm(gateway: Gateway, count: int, key: str = LIVE_KEY) -> Counter[tuple[str, int]]:
    """So many requests at once, each on a connection that stands already; (path, status) by number."""

    async def one(place: int) -> tuple[str, int]:
        path, body = list(PATHS.items())[place % 3]
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        ready.append(place)
        await go.wait()
        start = f"POST {path} HTTP/1.1\r\nhost: g\r\nx-api-key: {key}\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(start.encode() + body)
        status = int((await reader.readline()).split()[1])
        writer.close()
        return path, status

    ready: list[int] = []
    go = asyncio.Event()
    tasks = [asyncio.create_task(one(place)) for place in range(count)]
    while len(ready) < count:
        await asyncio.sleep(0.02)
    go.set()
    return Counter(await asyncio.gather(*tasks))


@pytest.mark.parametrize("admitted", [137])
def test_of_two_thousand_at_once_exactly_as_many_pass_as_the_budget_admits(admitted: int) -> None:
    # A little is left over: not enough for one more.
    with Gateway(org(capped(admitted * COST_NUSD + COST_NUSD - 1)) + SANDBOX) as gateway:
        counts = asyncio.run(storm(gateway, 2_000))
        passed = sum(count for (_, status), count in counts.items() if status == 200)
        refused = sum(
            count
            for (path, status), count in counts.items()
            if status == (402 if path == "/v1/messages" else 429)
        )
        assert (passed, refused) == (admitted, 2_000 - admitted), counts
        rows = gateway.settled_rows(2_000)
        assert Counter(row["ending"] for row in rows) == {"completed": admitted, "refused": 2_000 - admitted}
        assert {row["failure_kind"] for row in rows if row["ending"] == "refused"} == {"budget_exceeded"}
        assert spent(gateway)[0] == admitted * COST_NUSD
        for kind in ("key", "user", "group", "org"):
            assert balance(gateway, kind)["spent_nusd"] == admitted * COST_NUSD
            assert balance(gateway, kind)["requests"] == admitted


def test_a_budget_that_was_used_up_stays_so_over_a_restart(tmp_path: Path) -> None:
    gateway = Gateway(org(capped(2 * COST_NUSD)) + SANDBOX, folder=tmp_path)
    body = PATHS["/v1/messages"]
    with gateway:
        assert [ask(gateway, body).status for _ in range(3)] == [200, 200, 402]
    with gateway:
        assert ask(gateway, body).status == 402


def test_a_cap_that_comes_later_counts_what_the_cycle_has_cost_before(tmp_path: Path) -> None:
    with Gateway(ORG + SANDBOX, folder=tmp_path) as free:
        assert [ask(free, PATHS["/v1/messages"]).status for _ in range(3)] == [200] * 3
        assert balance(free)["requests"] == 0, "nobody asked for balances"
    with Gateway(org(capped(4 * COST_NUSD)) + SANDBOX, folder=tmp_path) as gateway:
        assert [ask(gateway, PATHS["/v1/messages"]).status for _ in range(2)] == [200, 402]
        credits = sum(row["credits"] for row in gateway.rows())
        assert balance(gateway) == {"spent_nusd": 4 * COST_NUSD, "credits_used": credits, "requests": 4}


def test_a_cap_that_is_set_or_raised_while_the_gateway_runs_holds_within_a_second(tmp_path: Path) -> None:
    body = PATHS["/v1/messages"]

    def apply(nusd: int) -> None:
        text = gateway.config.read_text()
        line = next((line for line in text.splitlines() if line.startswith("spend_cap_usd")), "plan = ")
        plan = 'plan = "enterprise"'
        text = text.replace(f"{line}\n", "") if line != "plan = " else text
        gateway.config.write_text(text.replace(plan, f"{plan}\n{capped(nusd)}"))
        command = [sys.executable, "-m", "triptych", "apply", str(gateway.config)]
        subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
        time.sleep(1.0)

    with Gateway(ORG + SANDBOX, folder=tmp_path) as gateway:
        assert [ask(gateway, body).status for _ in range(3)] == [200] * 3
        apply(4 * COST_NUSD)
        assert [ask(gateway, body).status for _ in range(2)] == [200, 402]
        apply(5 * COST_NUSD)
        assert [ask(gateway, body).status for _ in range(2)] == [200, 402]
        assert balance(gateway)["spent_nusd"] == spent(gateway)[0] == 5 * COST_NUSD


def test_a_cap_of_zero_refuses_all_but_test_keys() -> None:
    with Gateway(org("spend_cap_usd = 0") + SANDBOX) as gateway:
        got = ask(gateway, PATHS["/v1/messages"])
        assert (got.status, got.json["error"]["type"]) == (402, "billing_error")
        assert "The spend cap of the org is reached: 0 of 0 USD" in got.json["error"]["message"]
        assert got.header("x-should-retry") == "false"
        row = settled_row(gateway, got.request_id)
        assert facts(row, "ending", "failure_kind", "cost_nusd", "hold_nusd") == {
            "ending": "refused",
            "failure_kind": "budget_exceeded",
            "cost_nusd": 0,
            "hold_nusd": None,
        }
        chat = ask(gateway, PATHS["/v1/chat/completions"], path="/v1/chat/completions")
        assert (chat.status, chat.json["error"]["code"]) == (429, "insufficient_quota")
        # Until the cycle ends, at most; who reads x-should-retry does not wait for it.
        assert 1 <= int(chat.header("retry-after") or 0) <= 31 * 86_400
        assert chat.header("x-should-retry") == "false"
        assert ask(gateway, PATHS["/v1/messages"], key=TEST_KEY).status == 200
        count = ask(gateway, PATHS["/v1/messages"], path="/v1/messages/count_tokens")
        assert count.status == 200, "counting costs no money"


def test_credits_are_counted_by_the_ratio_and_run_out() -> None:
    with Gateway(org("credits = 100") + SANDBOX) as gateway:
        statuses = []
        for _ in range(40):
            statuses.append(ask(gateway, PATHS["/v1/messages"]).status)
            if statuses[-1] != 200:
                break
        assert statuses[-1] == 402
        rows = [row for row in gateway.settled_rows(len(statuses)) if row["ending"] == "completed"]
        for row in rows:
            assert row["credits"] == row["input_tokens"] + row["output_tokens"]
        used = balance(gateway)["credits_used"]
        assert used == sum(row["credits"] for row in rows) <= 100
        # The next one, which would have held as much, needs more than what is left.
        assert rows[-1]["hold_credits"] > 100 - used
        assert gateway.rows("failure_kind = 'credits_exhausted'")


def test_what_the_caller_the_ledger_and_the_provider_count_is_one_number(upstream: FaultyUpstream) -> None:
    """Over plain answers and streams, with counts that change from answer to answer."""
    told: list[tuple[int, int]] = []

    async def counting(exchange: Exchange) -> None:
        usage = {"input_tokens": 100 + len(told), "output_tokens": 10 * len(told) + 1}
        told.append((usage["input_tokens"], usage["output_tokens"]))
        if exchange.stream:
            await whole_stream(exchange, wire.stream_events(4, "m", usage))
        else:
            await answer(exchange, 200, JSON, wire.message("m", usage))

    with Gateway(
        org("spend_cap_usd = 1000", "credits = 1000000") + provider(upstream.base_url, "m")
    ) as gateway:
        seen = []
        for place in range(60):
            upstream.enqueue(counting)
            got = ask(gateway, message("m", stream=place % 2 == 0))
            assert got.status == 200
            if place % 2:
                usage = got.json["usage"]
            else:
                usage = {}
                for _, data in got.events:
                    usage |= data.get("message", {}).get("usage", {}) | data.get("usage", {})
            seen.append((usage["input_tokens"], usage["output_tokens"]))
        rows = gateway.settled_rows(60)
        assert seen == told == [(row["input_tokens"], row["output_tokens"]) for row in rows]
        cost = sum(input_ * 3_000 + output * 15_000 for input_, output in told)
        tokens = sum(input_ + output for input_, output in told)
        assert spent(gateway) == (cost, tokens)
        assert balance(gateway) == {"spent_nusd": cost, "credits_used": tokens, "requests": 60}


def test_an_answer_that_costs_more_than_was_held_is_charged_in_full(upstream: FaultyUpstream) -> None:
    async def talkative(exchange: Exchange) -> None:
        await answer(exchange, 200, JSON, wire.message("m", {"input_tokens": 10**6, "output_tokens": 10**6}))

    with Gateway(org("spend_cap_usd = 1") + provider(upstream.base_url, "m")) as gateway:
        upstream.enqueue(talkative)
        got = ask(gateway, message("m"))
        assert got.status == 200
        row = settled_row(gateway, got.request_id)
        assert row["cost_nusd"] == 18 * 10**9 > row["hold_nusd"]
        refused = ask(gateway, message("m"))
        assert refused.status == 402
        assert "18 of 1 USD" in refused.json["error"]["message"]
        metrics = ask_metrics(gateway)
        assert "triptych_hold_exceeded_total 1.0" in metrics


def ask_metrics(gateway: Gateway) -> str:
    from urllib.request import urlopen

    with urlopen(gateway.url + "/metrics", timeout=5) as got:
        return str(got.read().decode())


def test_a_provider_that_fails_before_its_first_word_costs_nothing(upstream: FaultyUpstream) -> None:
    async def failing(exchange: Exchange) -> None:
        await answer(exchange, 400, JSON, b'{"type":"error","error":{"type":"invalid_request_error"}}')

    # Room for one hold at a time: each failure has to give its own back.
    with Gateway(org("spend_cap_usd = 0.0012") + provider(upstream.base_url, "m")) as gateway:
        for _ in range(5):
            upstream.enqueue(failing)
            assert ask(gateway, message("m")).status == 400
        assert balance(gateway) == {"spent_nusd": 0, "credits_used": 0, "requests": 5}


def test_a_caller_that_leaves_is_charged_what_was_seen_until_then(upstream: FaultyUpstream) -> None:
    async def dawdling(exchange: Exchange) -> None:
        events = wire.stream_events(4, "m", {"input_tokens": 50, "output_tokens": 40})
        await exchange.send(head(200, f"content-type: {SSE}", "connection: close"))
        for event in events[:4]:
            await exchange.send(event)
        await exchange.hang()

    with Gateway(org("spend_cap_usd = 1") + provider(upstream.base_url, "m")) as gateway:
        upstream.enqueue(dawdling)
        with Caller(gateway) as caller:
            caller.send(message("m", stream=True))
            assert b"event: message_start" in caller.socket.recv(65536)
        (row,) = gateway.settled_rows(1)
        assert (row["ending"], row["usage_source"], row["input_tokens"]) == ("cancelled", "estimate", 50)
        assert row["cost_nusd"] == 50 * 3_000 + row["output_tokens"] * 15_000 > 0
        assert balance(gateway)["spent_nusd"] == row["cost_nusd"]
        # The rest of its hold is free again.
        assert ask(gateway, message("m", max_tokens=60_000)).status == 200


def test_holds_survive_kill_9_and_are_charged_their_input(tmp_path: Path) -> None:
    body = message("slow", max_tokens=10)
    gateway = Gateway(org("spend_cap_usd = 1000", "credits = 100000") + SANDBOX, folder=tmp_path)
    gateway.start()
    callers = [Caller(gateway) for _ in range(25)]
    for caller in callers:
        caller.send(body)
    deadline_s = time.monotonic() + 30
    while len(gateway.rows()) < 25 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    before = gateway.rows()
    gateway.kill()
    assert all(row["hold_nusd"] > 0 and row["ended_us"] is None for row in before) and len(before) == 25
    for caller in callers:
        caller.close()
    with gateway:
        rows = gateway.rows()
        assert {row["ending"] for row in rows} == {"interrupted"}
        estimate = len(body) // 4
        for row in rows:
            assert facts(row, "input_tokens", "output_tokens", "usage_source", "cost_nusd") == {
                "input_tokens": estimate,
                "output_tokens": 0,
                "usage_source": "estimate",
                "cost_nusd": estimate * 1_000_000,
            }
            assert row["cost_nusd"] < row["hold_nusd"]
            assert row["credits"] == -(-estimate * 33 // 100)
        nusd, credits = spent(gateway)
        assert balance(gateway) == {"spent_nusd": nusd, "credits_used": credits, "requests": 25}


def test_tokens_a_minute_are_limited_told_and_given_back() -> None:
    with Gateway(org("tpm = 1000") + SANDBOX) as gateway:
        first = ask(gateway, message("plain", max_tokens=400))
        assert first.status == 200
        assert first.header("anthropic-ratelimit-tokens-limit") == "1000"
        held = 1_000 - int(first.header("anthropic-ratelimit-tokens-remaining") or 0)
        assert 400 < held < 500
        row = settled_row(gateway, first.request_id)
        used = row["input_tokens"] + row["output_tokens"]
        second = ask(gateway, message("plain", max_tokens=400))
        assert second.status == 200
        remaining = int(second.header("anthropic-ratelimit-tokens-remaining") or 0)
        assert remaining == 1_000 - used - held, "the first gave back what it did not use"
        refused = ask(gateway, message("plain", max_tokens=900))
        assert (refused.status, refused.json["error"]["type"]) == (429, "rate_limit_error")
        assert "tokens per minute for this org" in refused.json["error"]["message"]
        assert 1 <= int(refused.header("retry-after") or 0) <= 60
        chat = ask(
            gateway, PATHS["/v1/chat/completions"].replace(b"exact", b"plain"), path="/v1/chat/completions"
        )
        assert chat.header("x-ratelimit-limit-tokens") == "1000"
        assert (chat.header("x-ratelimit-reset-tokens") or "").endswith("s")


def test_requests_of_the_day_are_counted_over_a_restart(tmp_path: Path) -> None:
    gateway = Gateway(org("rpd = 3") + SANDBOX, folder=tmp_path)
    with gateway:
        assert ask(gateway, PATHS["/v1/messages"]).status == 200
        # A refusal by policy is a request too.
        assert ask(gateway, message("unknown")).status == 400
        gateway.settled_rows(2)
    with gateway:
        assert [ask(gateway, PATHS["/v1/messages"]).status for _ in range(3)] == [200, 429, 429]


def test_requests_at_the_same_time_are_limited_by_key_and_slots_come_back() -> None:
    with Gateway(org("concurrency = 2") + SANDBOX) as gateway:
        for _ in range(2):
            slow = [Caller(gateway) for _ in range(2)]
            for caller in slow:
                caller.send(message("slow"))
            deadline_s = time.monotonic() + 30
            while (
                sum(row["ended_us"] is None for row in gateway.rows()) < 2 and time.monotonic() < deadline_s
            ):
                time.sleep(0.01)
            got = ask(gateway, PATHS["/v1/messages"])
            assert (got.status, got.header("retry-after")) == (429, "1")
            assert "2 at the same time for this key" in got.json["error"]["message"]
            # One leaves, one stays to the end: both slots are free again.
            slow[0].reset()
            assert slow[1].receive().status == 200
            slow[1].close()
            assert ask(gateway, PATHS["/v1/messages"]).status == 200


def test_a_model_without_a_price_is_refused_where_that_is_asked_for(upstream: FaultyUpstream) -> None:
    models = provider(upstream.base_url, "m") + '[[models]]\nid = "new"\nprovider = "mock"\n'
    models += '[[models]]\nid = "both"\nprovider = "mock"\nprice = { input = 3.0 }\nfallback = ["new"]\n'
    with Gateway('[limits]\nunpriced = "refuse"\n' + ORG + models) as gateway:
        assert ask(gateway, message("m")).status == 200
        got = ask(gateway, message("new"))
        assert (got.status, got.json["error"]["type"]) == (403, "permission_error")
        assert "'new' has no price" in got.json["error"]["message"]
        # Of a model that has one, a fallback without is passed over.
        assert ask(gateway, message("both")).status == 200
        upstream.enqueue(*["error:500"] * 3)
        asked = len(upstream.requests)
        assert ask(gateway, message("both")).status == 500
        assert {json.loads(seen.body)["model"] for seen in upstream.requests[asked:]} == {"both"}
        key = f"x-api-key: {LIVE_KEY}"
        listed = json.loads(look(gateway.port, "GET", "/v1/models", key).body)["data"]
        assert {model["id"] for model in listed} == {"m", "both"}
        assert look(gateway.port, "GET", "/v1/models/new", key).status == 403
        # To the sandbox prices mean nothing.
        assert ask(gateway, message("new"), key=TEST_KEY).status == 200


def test_an_alert_is_written_once_when_a_part_of_the_cap_is_reached() -> None:
    lines = (capped(10 * COST_NUSD), "alert_thresholds = [50, 80]")
    with Gateway(org(*lines) + SANDBOX) as gateway:
        alerts: list[list[int]] = []
        for _ in range(10):
            assert ask(gateway, PATHS["/v1/messages"]).status == 200
            alerts.append(thresholds(gateway))
        assert alerts == [[]] * 4 + [[50]] * 3 + [[50, 80]] * 3


def thresholds(gateway: Gateway) -> list[int]:
    connection = sqlite3.connect(f"file:{gateway.database}?mode=ro", uri=True)
    try:
        details: list[Any] = [row[0] for row in connection.execute("SELECT details FROM events ORDER BY id")]
    finally:
        connection.close()
    return sorted(json.loads(text)["threshold"] for text in details)
