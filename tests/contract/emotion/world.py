"""The gateway behind the contract tests of the emotion surface: an org for each kind of refusal."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.contract.inference.world import _models, _org
from tests.contract.raw_client import Answer, ask
from tests.devices.faulty_upstream import FaultyUpstream, refused_port
from tests.devices.gateway import LIVE_KEY, ORG, TEST_KEY, Gateway
from triptych.storage.database import open_database
from triptych.storage.keys import create_key, revoke_key
from triptych.storage.secrets import KeyHasher, derive_key, load_master_key

SCOPELESS = "acme-key-of-scope-control-read"
LIMITED = "acme-key-with-two-a-minute-000"
NO_ACCESS = "shut-key-without-api-access-00"
NARROW = "narrow-key-of-one-model-0000000"
UNSIGNED = "clinic-key-without-agreement-00"
BLOCKING = "block-key-that-blocks-phi-00000"
REDACTING = "redact-key-that-redacts-phi-000"
CAPPED = "capped-key-that-needs-a-cap-000"
GREEDY = "greedy-key-of-many-many-tokens0"
OTHER = "other-key-of-another-org-000000"
KEEPING = "keeping-key-that-stores-texts-00"
FLEETING = "fleeting-key-of-a-short-memory-0"
BUSY = "busy-key-with-many-at-a-time-00"
MONTHLY_QUOTA = 20_000

WORLD = (
    f"""
[retries]
attempts = 0
[emotion]
monthly_quota = {MONTHLY_QUOTA}
[[providers]]
name = "mock"
kind = "anthropic"
base_url = "{{upstream}}"
api_key = "upstream-secret-key"
[[providers]]
name = "nobody"
kind = "anthropic"
base_url = "http://127.0.0.1:{{nobody}}"
api_key = "upstream-secret-key"
[[providers]]
name = "box"
kind = "sandbox"
[[models]]
id = "mapped-model"
upstream_id = "fault-ok"
provider = "mock"
[[models]]
id = "unreachable-model"
provider = "nobody"
[[models]]
id = "leaving-model"
upstream_id = "fault-ok"
provider = "mock"
retires_at = "2100-01-01"
replacement = "mapped-model"
[[models]]
id = "retired-model"
provider = "mock"
retires_at = "2020-01-01"
[[models]]
id = "premium-model"
provider = "mock"
tier = "premium"
[[models]]
id = "sandbox-echo"
provider = "box"
"""
    + _models()
    + ORG
    + f"""
  [[orgs.keys]]
  name = "scopeless"
  user = "ana"
  secret = "{SCOPELESS}"
  scopes = ["control:read"]
  [[orgs.keys]]
  name = "limited"
  user = "ana"
  secret = "{LIMITED}"
  rpm = 2
  [[orgs.keys]]
  name = "busy"
  user = "ana"
  secret = "{BUSY}"
"""
    + _org("shut", NO_ACCESS, group='models = ["*"]\n  api_key_access = false')
    + _org("narrow", NARROW, group='models = ["mapped-model"]\n  api_key_access = true')
    + _org("clinic", UNSIGNED, org='compliance = "hipaa"')
    + _org("blocking", BLOCKING, org='phi_mode = "block"')
    + _org("redacting", REDACTING, org='phi_mode = "redact"')
    + _org("capped", CAPPED, org="spend_cap_usd = 0")
    + _org("greedy", GREEDY)
    + _org("other", OTHER)
    + _org("keeping", KEEPING, org="store_text = true")
    + _org("fleeting", FLEETING, org="context_ttl_s = 1")
)
REQUEST_ID = re.compile(r"req-[0-9a-f]{10}")


def analysis(*texts: str | Mapping[str, object], **fields: object) -> bytes:
    """A request of an analysis; a text is one of the user's."""
    messages = [{"content": {"text": text}} if isinstance(text, str) else text for text in texts]
    return json.dumps({"model": "emotion-v2", "messages": messages, **fields}).encode()


def completion(model: str = "sandbox-echo", text: str = "I am so happy today", **fields: object) -> bytes:
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": text}]
    return json.dumps({"model": model, "messages": messages, **fields}).encode()


@dataclass
class World:
    gateway: Gateway
    upstream: FaultyUpstream
    revoked: str
    expired: str

    def ask(
        self,
        target: str = "/v2/emotions/analysis",
        body: bytes | None = None,
        *fields: str,
        key: str | None = LIVE_KEY,
        method: str | None = None,
    ) -> Answer:
        """One request; without a body and a method a GET."""
        method = method or ("GET" if body is None else "POST")
        if key is not None:
            fields = (f"x-api-key: {key}", *fields)
        return ask(self.gateway.port, method, target, *fields, body=body)

    def json(self, *arguments: Any, **options: Any) -> Any:
        answer = self.ask(*arguments, **options)
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    def row(self, answer: Answer, limit_s: float = 30.0) -> dict[str, Any]:
        """The row of the exchange, found as support would: by the digits of the request id."""
        digits = row_digits(answer.header("x-request-id") or "")
        deadline_s = time.monotonic() + limit_s
        while not (rows := self.gateway.rows(f"id LIKE '%{digits}' AND ended_us IS NOT NULL")):
            assert time.monotonic() < deadline_s, f"no row of {digits}"
            time.sleep(0.02)
        assert len(rows) == 1
        return rows[0]


def row_digits(request_id: str) -> str:
    """The last eight characters of a row's id: the same number in another spelling."""
    number, digits = int(request_id.removeprefix("req-"), 16), ""
    for _ in range(8):
        digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[number & 31] + digits
        number >>= 5
    return digits


def error(status: int, type_: str, code: str, message: str, param: str | None = None) -> tuple[int, bytes]:
    """Status and bytes of a refusal, its request id apart."""
    told = {"type": type_, "code": code, "message": message}
    if param is not None:
        told["param"] = param
    body = {"error": {**told, "request_id": "req-X"}}
    return status, json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def seen(answer: Answer) -> tuple[int, bytes]:
    """What ``error`` is compared with; also checks that the id is the header's."""
    body = answer.body.decode()
    found = REQUEST_ID.findall(body)
    assert found == [answer.header("x-request-id")], body
    assert answer.header("content-type") == "application/json"
    return answer.status, REQUEST_ID.sub("req-X", body).encode()


@contextmanager
def closing_gateway(gateway: Gateway) -> Iterator[None]:
    """As ``with gateway`` ends, for one that runs already."""
    try:
        yield
    finally:
        gateway.__exit__(None, None, None)


@contextmanager
def world(server: str = "first_byte_timeout_s = 2") -> Iterator[World]:
    with FaultyUpstream() as upstream, refused_port() as nobody:
        toml = WORLD.format(upstream=upstream.base_url, nobody=nobody)
        gateway = Gateway(toml, server=server)
        # Orgs that are guarded make it wait for the guard.
        gateway.start(limit_s=50)
        with closing_gateway(gateway):
            database = open_database(f"sqlite:///{gateway.database}", durability="process")
            master = load_master_key(None, gateway.database.with_suffix(".key"), True)
            hasher = KeyHasher(derive_key(master, "api-keys"))
            revoked = create_key(database, hasher, "acme", "ana", "revoked")
            revoke_key(database, revoked.id)
            expired = create_key(database, hasher, "acme", "ana", "expired", expires_us=1_700_000_000_000_000)
            database.close()
            made = World(gateway, upstream, revoked.plaintext, expired.plaintext)
            deadline_s = time.monotonic() + 30
            while made.ask("/v2/models", key=made.revoked).status != 403:
                assert time.monotonic() < deadline_s
                time.sleep(0.05)
            yield made


__all__ = ["LIVE_KEY", "TEST_KEY", "World", "analysis", "completion", "error", "seen", "world"]
