"""The configuration behind the tests of the control plane: two clinics that must never see each other,
an evaluation, and a provider that takes its time."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.contract.raw_client import Answer, ask
from tests.devices.faulty_upstream import FaultyUpstream
from tests.devices.gateway import Gateway

CONTROL = "/clinical/v1"
CHAT, MESSAGES = "/clinical/v1/ai/chat", "/clinical/v1/messages"

ORG = """
[[orgs]]
slug = "{slug}"
plan = "{plan}"
{facts}
  [[orgs.groups]]
  name = "{slug}-all"
  models = ["*"]
  api_key_access = true
  [[orgs.users]]
  name = "ana"
  groups = ["{slug}-all"]
  [[orgs.users]]
  name = "root"
  groups = ["{slug}-all"]
  admin = true
  [[orgs.keys]]
  name = "live"
  user = "ana"
  secret = "{live}"
  rpm = 5000
  [[orgs.keys]]
  name = "narrow"
  user = "ana"
  secret = "{narrow}"
  scopes = ["control:read"]
  [[orgs.keys]]
  name = "test"
  user = "ana"
  secret = "{test}"
  environment = "test"
  [[orgs.keys]]
  name = "admin"
  user = "root"
  secret = "{admin}"
  scopes = ["control:read"]
"""
KINDS = ("live", "narrow", "test", "admin")


def secret(slug: str, kind: str = "live") -> str:
    return f"{kind}-key-of-{slug}-000000000000"


def org(slug: str, facts: str = "", plan: str = "enterprise") -> str:
    return ORG.format(slug=slug, plan=plan, facts=facts, **{kind: secret(slug, kind) for kind in KINDS})


MODELS = """
[retries]
attempts = 0
[[providers]]
name = "mock"
kind = "anthropic"
base_url = "{upstream}"
api_key = "upstream-secret-key"
baa = "mock_2026"
[[providers]]
name = "bare"
kind = "anthropic"
base_url = "{upstream}"
api_key = "upstream-secret-key"
[[models]]
id = "good"
upstream_id = "fault-ok"
provider = "mock"
price = {{ input = 1000.0, output = 1000.0 }}
[[models]]
id = "slow"
upstream_id = "fault-slow_first_byte:1500"
provider = "mock"
price = {{ input = 1000.0, output = 1000.0 }}
[[models]]
id = "long"
upstream_id = "fault-ok_stream:20:100"
provider = "mock"
price = {{ input = 1000.0, output = 1000.0 }}
[[models]]
id = "failing"
upstream_id = "fault-error:529"
provider = "mock"
[[models]]
id = "uncovered"
upstream_id = "fault-ok"
provider = "bare"
[[models]]
id = "opus"
upstream_id = "fault-ok"
provider = "mock"
tier = "premium"
"""


@dataclass
class Side:
    """The gateway and its provider."""

    gateway: Gateway
    upstream: FaultyUpstream

    def ask(
        self,
        target: str,
        body: Any = None,
        *fields: str,
        org: str = "acme",
        kind: str = "live",
        method: str | None = None,
        key: str | None = None,
    ) -> Answer:
        """``body`` is JSON, or bytes as they are."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        method = method or ("GET" if body is None else "POST")
        key = key or secret(org, kind)
        return ask(self.gateway.port, method, target, f"x-api-key: {key}", *fields, body=body)

    def chat(self, model: str = "good", *fields: str, org: str = "acme", **more: Any) -> Answer:
        body = {"model": model, "message": "hello there", "stream": False, **more}
        return self.ask(CHAT, body, *fields, org=org)

    def command(self, *arguments: str) -> str:
        """What ``triptych ...`` prints, run beside the gateway on its configuration."""
        done = subprocess.run(
            [sys.executable, "-m", "triptych", *arguments],
            cwd=self.gateway.folder,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "TRIPTYCH_CONFIG": str(self.gateway.config)},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sent(self) -> int:
        """How many requests the provider has seen."""
        return len(self.upstream.requests)

    def until(self, holds: Any, limit_s: float = 10.0) -> None:
        assert self.upstream.wait_until(holds, limit_s)


@contextmanager
def world(orgs: str) -> Iterator[Side]:
    with FaultyUpstream() as upstream:
        toml = MODELS.format(upstream=upstream.base_url) + orgs
        with Gateway(toml) as gateway:
            yield Side(gateway, upstream)


def data(answer: Answer, status: int = 200) -> Any:
    assert answer.status == status, answer.body
    found = json.loads(answer.body)
    assert found["success"] is True
    assert found["meta"]["request_id"] == answer.header("request-id")
    return found["data"]


def error(answer: Answer) -> tuple[int, str, Any]:
    """(status, code, details or param)."""
    found = json.loads(answer.body)["error"]
    return answer.status, found["code"], found.get("details", found.get("param"))
