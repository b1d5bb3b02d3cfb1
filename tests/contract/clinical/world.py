"""The configuration behind the contract tests of the clinical surface: an org for each kind of refusal.

Nothing here forces an error: there are only orgs, keys and models as somebody could have them, time,
and a provider that behaves as providers do.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.contract.raw_client import Answer, ask
from tests.devices.faulty_upstream import FaultyUpstream, refused_port
from tests.devices.gateway import Gateway

CHAT, MESSAGES = "/clinical/v1/ai/chat", "/clinical/v1/messages"
FAULTS = (
    "ok",
    "empty:500",
    "html:200",
    "hang_before_head",
    "error:400",
    "error:401",
    "error:529",
    "rate_limited:7",
    "stream_error_event",
    "stream_cut_at:400",
    "stream_cut_at:900",
    "endless",
    "stream_stalls:1",
)
"""Behaviours of the provider that have a model id of their own: ``fault-<behaviour>``, written with
dots for colons."""
MAX_BODY_BYTES = 100_000


def fault_model(behaviour: str) -> str:
    return "fault-" + behaviour.replace(":", ".")


def _org(slug: str, *, org: str = "", key: str = "", more: str = "") -> str:
    return f"""
[[orgs]]
slug = "{slug}"
plan = "enterprise"
{org}
  [[orgs.groups]]
  name = "{slug}-everyone"
  models = ["*"]
  api_key_access = true
  [[orgs.users]]
  name = "ana"
  groups = ["{slug}-everyone"]
  [[orgs.keys]]
  name = "live"
  user = "ana"
  secret = "{secret(slug)}"
  {key}
  {more}
"""


def secret(org: str) -> str:
    """The live key of an org of this world."""
    return f"clinical-key-of-{org}-00000000000000"


HIPAA = 'compliance = "hipaa"\nbaa = "active"'
ORGS = "".join(
    (
        _org("acme"),
        _org("other"),
        _org("unsigned", org='compliance = "hipaa"'),
        _org("exhausted", org="credits = 0"),
        _org("scopeless", key='scopes = ["control:read"]'),
        _org("guarded", org=HIPAA),
        _org("blocking", org=f'{HIPAA}\nphi_mode = "block"'),
        _org("capped", org="spend_cap_usd = 0"),
        _org("limited", key="rpm = 1"),
        _org("crowded", key="concurrency = 1"),
        _org("chatty", key="tpm = 1"),
        _org("counted", key="rpm = 100000\n  tpm = 100000000"),
        _org("narrow").replace('models = ["*"]', 'models = ["mapped-model"]'),
        _org("boxed", key='environment = "test"'),
        _org("spoilt"),
        _org("guarded-box", org=HIPAA, key='environment = "test"'),
    )
)


def _models() -> str:
    return "\n".join(
        f'[[models]]\nid = "{fault_model(fault)}"\nupstream_id = "fault-{fault}"\nprovider = "mock"\n'
        "price = {{ input = 3.0, output = 15.0 }}\n"
        for fault in FAULTS
    )


WORLD = (
    """
[retries]
attempts = 0
[[providers]]
name = "mock"
kind = "anthropic"
base_url = "{upstream}"
api_key = "upstream-secret-key"
baa = "acme_mock_2026"
[[providers]]
name = "nobody"
kind = "anthropic"
base_url = "http://127.0.0.1:{nobody}"
api_key = "upstream-secret-key"
[[models]]
id = "mapped-model"
upstream_id = "fault-ok"
provider = "mock"
price = {{ input = 3.0, output = 15.0 }}
[[models]]
id = "unreachable-model"
provider = "nobody"
price = {{ input = 3.0, output = 15.0 }}
[[models]]
id = "failing-model"
targets = [{{ provider = "nobody", upstream_id = "a" }}, {{ provider = "nobody", upstream_id = "b" }}]
price = {{ input = 3.0, output = 15.0 }}
[[models]]
id = "retired-model"
provider = "mock"
retires_at = "2020-01-01"
replacement = "mapped-model"
[[models]]
id = "leaving-model"
upstream_id = "fault-ok"
provider = "mock"
retires_at = "2100-01-01"
[[models]]
id = "small-model"
upstream_id = "fault-ok"
provider = "mock"
max_output_tokens = 1000
price = {{ input = 3.0, output = 15.0 }}
[[models]]
id = "premium-model"
provider = "mock"
tier = "premium"
"""
    + _models()
    + ORGS
)


@dataclass
class Clinic:
    """The gateway, and the provider behind it."""

    gateway: Gateway
    upstream: FaultyUpstream

    @property
    def port(self) -> int:
        return self.gateway.port

    def ask(
        self,
        target: str = CHAT,
        body: Any = None,
        *fields: str,
        org: str = "acme",
        method: str = "POST",
        timeout_s: float = 60.0,
    ) -> Answer:
        """One request on a connection of its own; ``body`` is JSON, or bytes as they are."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if not any(field.lower().startswith(("x-api-key", "authorization")) for field in fields):
            fields = (f"x-api-key: {secret(org)}", *fields)
        return ask(self.port, method, target, *fields, body=body, timeout_s=timeout_s)

    def chat(self, model: str = "mapped-model", org: str = "acme", **fields: Any) -> Answer:
        body = {"model": model, "stream": False, **fields}
        if "messages" not in body:
            body.setdefault("message", "hello there")
        return self.ask(CHAT, body, org=org)

    def row(self, answer: Answer) -> dict[str, Any]:
        """The settled row of the exchange an answer belongs to."""
        request_id = answer.header("request-id")
        assert request_id is not None
        found: list[dict[str, Any]] = []

        def settled() -> bool:
            ulid = request_id.removeprefix("req_")
            found[:] = self.gateway.rows(f"id = '{ulid}' AND ended_us IS NOT NULL")
            return bool(found)

        assert self.upstream.wait_until(settled, 10.0)
        return found[0]


SERVER = f"""first_byte_timeout_s = 3
idle_stream_timeout_s = 0.5
max_body_bytes = {MAX_BODY_BYTES}
drain_timeout_s = 5
"""


@contextmanager
def clinic(server: str = SERVER) -> Iterator[Clinic]:
    """The gateway of ``WORLD`` and its provider, for as long as the block runs."""
    with FaultyUpstream() as upstream, refused_port() as nobody:
        toml = WORLD.format(upstream=upstream.base_url, nobody=nobody)
        with Gateway(toml, server=server) as gateway:
            yield Clinic(gateway, upstream)


_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_CREATED = re.compile(r'"created":\d+')
_WAIT = re.compile(r'("retry_after_seconds":|retry-after: |[Rr]etry after )\d+')


def normalised(text: str) -> str:
    """Without what differs from run to run: ids, moments, waits."""
    text = _ULID.sub("X", text)
    text = _MOMENT.sub("2026-01-01T00:00:00Z", text)
    text = _CREATED.sub('"created":0', text)
    return _WAIT.sub(r"\g<1>0", text)


def events(body: bytes) -> list[tuple[str, dict[str, Any]]]:
    """(type, data) of every event of a stream; comments left out."""
    found = []
    for block in body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found
