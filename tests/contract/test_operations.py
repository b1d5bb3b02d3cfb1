"""Operations: health, readiness, metrics, the root; and what every answer of every path carries."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.contract.inference.world import TwoSides, fault_model, world
from tests.contract.raw_client import LIVE, TEST, Answer, ask
from tests.devices.gateway import ORG, Gateway, free_port, message

OPEN = ("/", "/healthz", "/readyz", "/metrics", "/openapi.json")
REQUEST_ID = re.compile(r"req_[0-7][0-9A-HJKMNP-TV-Z]{25}")


@pytest.fixture(scope="module")
def sides() -> Iterator[TwoSides]:
    with world() as both:
        yield both


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(port: int) -> Samples:
    answer = ask(port, "GET", "/metrics")
    assert answer.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    """The sum of the samples that have these labels at least."""
    wanted = set(labels.items())
    return sum(number for (of, has), number in found.items() if of == name and wanted <= has)


@pytest.mark.parametrize("path", OPEN)
def test_operations_need_no_key(sides: TwoSides, path: str) -> None:
    got = sides.ask(method="GET", target=path)
    head = sides.ask(method="HEAD", target=path)
    assert (got.status, head.status) == (200, 200)
    assert got.body and not head.body
    assert head.header("content-type") == got.header("content-type")
    if path != "/metrics":
        assert head.header("content-length") == got.header("content-length") == str(len(got.body))
    # A bad key is not looked at either.
    assert sides.ask("x-api-key: nobody", method="GET", target=path).status == 200


def test_health_and_readiness_say_what_they_mean(sides: TwoSides) -> None:
    assert json.loads(sides.ask(method="GET", target="/healthz").body) == {"status": "ok"}
    assert json.loads(sides.ask(method="GET", target="/readyz").body) == {
        "status": "ready",
        "components": {"database": "ok", "ledger": "ok", "limits": "ok", "guard": "ok", "gateway": "ok"},
    }


def test_the_root_answers_the_probe_of_claude_code(sides: TwoSides) -> None:
    answer = sides.ask("user-agent: claude-cli/2", method="HEAD", target="/")
    assert (answer.status, answer.body) == (200, b"")


def every_kind_of_answer(sides: TwoSides) -> Iterator[Answer]:
    for path in OPEN:
        yield sides.ask(method="GET", target=path)
    yield sides.ask(method="POST", target="/healthz", body=b"")
    yield sides.ask(method="GET", target="/nowhere")
    yield sides.ask()
    yield sides.ask(LIVE)
    yield sides.ask(LIVE, body=b"{}")
    yield sides.ask(LIVE, body=message("mapped-model", stream=True))
    yield sides.ask(LIVE, body=message(fault_model("html")))
    yield sides.ask(LIVE, body=message(fault_model("empty")))
    yield sides.ask(LIVE, target="/v1/messages/count_tokens")
    yield sides.ask(TEST)
    yield sides.ask(LIVE, "x-long: " + "x" * 70_000)
    yield sides.ask(LIVE, "not a header")


def test_every_answer_carries_its_request_id_twice_and_no_two_the_same(sides: TwoSides) -> None:
    seen: set[str] = set()
    for answer in every_kind_of_answer(sides):
        request_id = answer.header("request-id")
        assert request_id is not None and REQUEST_ID.fullmatch(request_id)
        assert answer.header("x-request-id") == request_id
        assert request_id not in seen
        seen.add(request_id)
        assert "server" not in answer.names and "set-cookie" not in answer.names
    assert len(seen) == 17


def test_a_request_id_of_the_client_is_not_taken_over(sides: TwoSides) -> None:
    answer = sides.ask(LIVE, "request-id: req_01M80000000000000000000000", "x-request-id: mine")
    assert answer.header("request-id") not in ("req_01M80000000000000000000000", "mine")


@pytest.mark.parametrize(
    "target",
    [
        "/v1/chat/completion",
        "/v1/responses/compact",
        "/v1/responses/x/y",
        "/v1/models/",
        "/nope",
        "/v1",
        "/v1/",
        "//v1/messages",
        "/V1/messages",
        "/v1/messagesx",
        "/v1/%6dodel/%2e%2e",
        "/" + "x" * 5000,
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_an_unknown_path_is_answered_before_the_key_in_the_openai_envelope(
    sides: TwoSides, target: str, method: str
) -> None:
    answer = sides.ask(method=method, target=target, body=b"{}" if method == "POST" else None)
    assert answer.status == 404
    assert answer.body.endswith(b'","type":"invalid_request_error","code":"unknown_url","param":null}}')
    sentence = json.loads(answer.body)["error"]["message"]
    assert sentence.startswith(f"Unknown request URL: {method} /") and len(sentence) < 300


@pytest.mark.parametrize("target", ["/v1/models/", "/v1/messages/", "/v1/messages/x/y"])
def test_paths_of_the_messages_dialect_answer_in_its_envelope(sides: TwoSides, target: str) -> None:
    answer = sides.ask("anthropic-version: 2023-06-01", method="GET", target=target)
    sentence = f"Unknown request URL: GET {target}"
    body = {"type": "error", "error": {"type": "not_found_error", "message": sentence}, "request_id": "req_X"}
    assert (answer.status, answer.normalised) == (404, json.dumps(body, separators=(",", ":")).encode())


@pytest.mark.parametrize("target", ["/v1/agents", "/v1/agents/list", "/v1/agents/runs", "/v1/runs/x"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_paths_of_agents_and_runs_answer_in_their_flat_envelope(
    sides: TwoSides, target: str, method: str
) -> None:
    answer = sides.ask(method=method, target=target, body=b"{}" if method == "POST" else None)
    body = {"error": "Not found", "message": f"Unknown request URL: {method} {target}"}
    assert (answer.status, answer.body) == (404, json.dumps(body, separators=(",", ":")).encode())
    assert REQUEST_ID.fullmatch(answer.header("request-id") or "")


def test_a_request_to_agents_that_cannot_be_read_is_told_in_the_flat_envelope(sides: TwoSides) -> None:
    answer = sides.ask("x-large: " + "x" * 70_000, method="GET", target="/v1/agents/list")
    assert (answer.status, json.loads(answer.body).keys()) == (431, {"error", "message"})
    assert json.loads(answer.body)["error"] == "Request Header Fields Too Large"
    other = sides.ask(method="GET", target="/v1/agentsx")
    assert json.loads(other.body)["error"]["code"] == "unknown_url"


def test_only_models_look_at_anthropic_version(sides: TwoSides) -> None:
    answer = sides.ask("anthropic-version: 2023-06-01", method="GET", target="/v1/modelsx")
    assert answer.status == 404 and b"unknown_url" in answer.body


def test_a_wrong_method_of_an_open_path_names_the_right_ones(sides: TwoSides) -> None:
    answer = sides.ask(method="DELETE", target="/healthz")
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD")
    assert json.loads(answer.body)["error"]["code"] == "unknown_url"


def test_a_head_of_nothing_has_no_body(sides: TwoSides) -> None:
    for target, status in (("/nowhere", 404), ("/v1/messages", 405)):
        answer = sides.ask(method="HEAD", target=target)
        assert answer.status == status and int(answer.header("content-length") or "0") > 0


def test_metrics_are_what_a_scraper_reads_and_count_what_happened(sides: TwoSides) -> None:
    before = samples(sides.port)
    assert sides.ask(LIVE).status == 200
    assert sides.ask(LIVE, body=b"{}").status == 400
    assert sides.ask().status == 401
    assert sides.ask(LIVE, body=message(fault_model("error:529"))).status == 529
    time.sleep(0.05)
    after = samples(sides.port)

    def grown(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    messages = {"surface": "inference", "endpoint": "messages"}
    total = "triptych_requests_total"
    assert grown(total, **messages, model="mapped-model", status="200", failure_kind="") == 1
    assert grown(total, **messages, model="", status="400", failure_kind="invalid_body") == 1
    assert grown(total, surface="", status="401", failure_kind="invalid_api_key") == 1
    assert grown(total, model=fault_model("error:529"), status="529", failure_kind="upstream_error") == 1
    assert grown("triptych_tokens_total", model="mapped-model", kind="input") == 12
    assert grown("triptych_tokens_total", model="mapped-model", kind="output") == 7
    assert grown("triptych_request_seconds_count", **messages) == 3
    assert grown("triptych_request_seconds_bucket", **messages, le="+Inf") == 3
    assert grown("triptych_request_seconds_sum", **messages) > 0
    for gauge in ("triptych_open_connections", "triptych_running_exchanges", "triptych_ledger_queue"):
        assert value(after, gauge) >= 0 and any(name == gauge for name, _ in after)
    assert value(after, "triptych_running_exchanges") == 0, "asking for the metrics is none"


def test_a_name_a_client_made_up_is_no_label(sides: TwoSides) -> None:
    sides.ask(LIVE, body=message("canary-model-in-metrics"))
    sides.ask(LIVE, target="/canary-path-in-metrics")
    answer = sides.ask(method="GET", target="/metrics")
    assert b"canary" not in answer.body


def test_metrics_may_have_a_port_of_their_own() -> None:
    port = free_port()
    with Gateway(ORG, server=f"metrics_port = {port}") as gateway:
        assert ask(gateway.port, "GET", "/metrics").status == 404
        assert samples(port)
        assert ask(port, "GET", "/v1/messages").status == 404
        described = json.loads(ask(gateway.port, "GET", "/openapi.json").body)
        assert "/metrics" not in described["paths"]


def test_the_first_key_works_from_the_moment_it_is_shown(tmp_path: Path) -> None:
    port = free_port()
    entry = (sys.executable, "-m", "triptych", "serve", "--port", str(port))
    environment = {name: value for name, value in os.environ.items() if name != "TRIPTYCH_CONFIG"}
    with subprocess.Popen(
        entry, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
    ) as serving:
        try:
            assert serving.stdout is not None
            found = None
            while found is None:
                line = serving.stdout.readline()
                assert line, "it ended without a key"
                found = re.search(r"trp_live_[0-9A-Z]+", line)
            answer = ask(port, "POST", "/v1/messages", f"x-api-key: {found[0]}", body=message())
            assert answer.status == 200
        finally:
            serving.terminate()
