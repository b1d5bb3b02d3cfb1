"""The configuration behind the contract tests: an org for each kind of refusal."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.contract.raw_client import Answer, ask
from tests.devices.faulty_upstream import FaultyUpstream, refused_port
from tests.devices.gateway import ORG, Gateway, message

FAULTS = (
    "ok",
    "empty",
    "empty:500",
    "empty:400",
    "html",
    "html:200",
    "json_cut",
    "redirect",
    "json_for_a_stream",
    "hang_before_head",
    "reset",
    "error:400",
    "error:529",
    "rate_limited:7",
    "stream_error_event",
    "stream_cut_at:400",
)
"""Behaviours of the provider that have a model id of their own: ``fault-<behaviour>``, written with
dots for colons."""


def fault_model(behaviour: str) -> str:
    return "fault-" + behaviour.replace(":", ".")


def _models() -> str:
    return "\n".join(
        f'[[models]]\nid = "{fault_model(fault)}"\nupstream_id = "fault-{fault}"\nprovider = "mock"\n'
        "price = {{ input = 3.0, output = 15.0 }}\n"
        for fault in FAULTS
    )


def _org(
    slug: str,
    key: str,
    *,
    org: str = "",
    group: str = 'models = ["*"]\napi_key_access = true',
    more: str = "",
) -> str:
    return f"""
[[orgs]]
slug = "{slug}"
plan = "enterprise"
{org}
  [[orgs.groups]]
  name = "everyone"
  {group}
  [[orgs.users]]
  name = "ana"
  groups = ["everyone"]
  [[orgs.keys]]
  name = "live"
  user = "ana"
  secret = "{key}"
  {more}
"""


SCOPELESS = "acme-key-of-scope-control-read"
LIMITED = "acme-key-with-two-a-minute-000"
OTHER_LIMITED = "acme-key-with-one-a-minute-000"
NO_ACCESS = "shut-key-without-api-access-00"
NARROW = "narrow-key-of-one-model-0000000"
UNSIGNED = "clinic-key-without-agreement-00"
CAPPED = "capped-key-that-needs-a-cap-000"

WORLD = (
    """
[retries]
attempts = 0
[[providers]]
name = "mock"
kind = "anthropic"
base_url = "{upstream}"
api_key = "upstream-secret-key"
[[providers]]
name = "nobody"
kind = "anthropic"
base_url = "http://127.0.0.1:{nobody}"
api_key = "upstream-secret-key"
[[providers]]
name = "later"
kind = "gemini"
base_url = "http://127.0.0.1:{nobody}"
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
id = "unbuilt-model"
provider = "later"
[[models]]
id = "retired-model"
provider = "mock"
retires_at = "2020-01-01"
replacement = "mapped-model"
[[models]]
id = "premium-model"
provider = "mock"
tier = "premium"
[[models]]
id = "sandbox-error-internal_error"
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
  name = "limited too"
  user = "ana"
  secret = "{OTHER_LIMITED}"
  rpm = 1
"""
    + _org("shut", NO_ACCESS, group='models = ["*"]\n  api_key_access = false')
    + _org("narrow", NARROW, group='models = ["mapped-model"]\n  api_key_access = true')
    + _org("clinic", UNSIGNED, org='compliance = "hipaa"')
    + _org("capped", CAPPED, org="spend_cap_usd = 0")
)


WITHOUT_GEMINI = """
import sys
from triptych.settings import tree
tree.BUILT_KINDS -= {"gemini"}
from triptych.cli import main
sys.exit(main())
"""
"""A gateway for which a kind that settings know is not built yet: of the real one's, none is left."""


@dataclass
class TwoSides:
    """The gateway, and the provider behind it."""

    gateway: Gateway
    upstream: FaultyUpstream

    @property
    def port(self) -> int:
        return self.gateway.port

    def ask(
        self,
        *fields: str,
        body: bytes | None = None,
        method: str = "POST",
        target: str = "/v1/messages",
    ) -> Answer:
        """One request on a connection of its own; a POST without a body sends a good one."""
        if body is None and method == "POST":
            body = message("mapped-model")
        return ask(self.port, method, target, *fields, body=body)

    def row(self, answer: Answer) -> dict[str, object] | None:
        """The settled row of the exchange an answer belongs to, or None after a moment without one."""
        request_id = answer.header("request-id")
        assert request_id is not None and request_id.startswith("req_")
        return self.row_of(request_id)

    def row_of(self, request_id: str, limit_s: float = 30.0) -> dict[str, object] | None:
        found: list[dict[str, object]] = []

        def settled() -> bool:
            found[:] = self.gateway.rows(f"id = '{request_id.removeprefix('req_')}' AND ended_us IS NOT NULL")
            return bool(found)

        self.upstream.wait_until(settled, limit_s)
        assert len(found) < 2
        return found[0] if found else None


@contextmanager
def world(server: str = "first_byte_timeout_s = 0.5") -> Iterator[TwoSides]:
    """The gateway of ``WORLD`` and its provider, for as long as the block runs."""
    with FaultyUpstream() as upstream, refused_port() as nobody:
        toml = WORLD.format(upstream=upstream.base_url, nobody=nobody)
        with Gateway(toml, server=server, preload=WITHOUT_GEMINI) as gateway:
            yield TwoSides(gateway, upstream)
