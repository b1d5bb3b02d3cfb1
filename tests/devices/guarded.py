"""A gateway whose guard is a process of predictable rules (or one that fails), orgs of every mode, and a
provider on each wire that says back what it was sent."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.devices.echo_upstream import EchoUpstream
from tests.devices.gateway import START_LIMIT_S, Gateway
from tests.devices.speaker import Answer, ask
from tests.devices.streams import chat_text, messages_text, responses_text

RULES = Path(__file__).parent / "rules.py"
PATHS = {"messages": "/v1/messages", "chat": "/v1/chat/completions", "responses": "/v1/responses"}
TEXTS = {"messages": messages_text, "chat": chat_text, "responses": responses_text}

ORGS = {
    "redact": 'phi_mode = "redact"',
    "block": 'phi_mode = "block"',
    "allow": 'phi_mode = "allow"\ndlp_filters = ["Project Orion"]',
    "hipaa": 'compliance = "hipaa"\nbaa = "active"',
    "filters": 'dlp_filters = [{ name = "secret project", kind = "literal", pattern = "Project Orion" }]',
    "files": 'phi_mode = "redact"\nfeatures = ["uninspectable_content"]',
    "plan": 'phi_mode = "allow"\nplan = "evaluation"',
    "open": "",
}


def key_of(org: str, user: str = "ana") -> str:
    return f"{org}-{user}-key-0000000000000000"


def org_toml(slug: str, settings: str) -> str:
    plan = "" if "plan =" in settings else 'plan = "enterprise"\n'
    return f"""
[[orgs]]
slug = "{slug}"
{plan}{settings}
  [[orgs.groups]]
  name = "everyone"
  models = ["*"]
  api_key_access = true
  [[orgs.groups]]
  name = "strict"
  phi_mode = "block"
  [[orgs.users]]
  name = "ana"
  groups = ["everyone"]
  [[orgs.users]]
  name = "bea"
  groups = ["everyone", "strict"]
  [[orgs.keys]]
  name = "ana"
  user = "ana"
  secret = "{key_of(slug)}"
  [[orgs.keys]]
  name = "bea"
  user = "bea"
  secret = "{key_of(slug, "bea")}"
"""


def providers_toml(url: str) -> str:
    lines = ["[retries]\nattempts = 0\n"]
    for name in PATHS:
        kind, wire = ("anthropic", "") if name == "messages" else ("openai", f'wire = "{name}"\n')
        base = url if name == "messages" else f"{url}/v1"
        named = f'name = "{name}"\nkind = "{kind}"\nbase_url = "{base}"\n{wire}'
        lines.append(f'[[providers]]\n{named}api_key = "k"\nbaa = "signed"\n')
        for suffix, more in (("", ""), ("-blocked", 'phi_mode = "block"\n')):
            lines.append(
                f'[[models]]\nid = "{name}{suffix}"\nprovider = "{name}"\nupstream_id = "m"\n{more}'
                "price = { input = 3.0, output = 15.0 }\n"
            )
    lines.append(
        '[[providers]]\nname = "dead"\nkind = "openai"\nbase_url = "http://127.0.0.1:9/v1"\napi_key = "k"\n'
    )
    for name, fallback in (("dead-chat", "messages"), ("dead-blocked", "messages-blocked")):
        lines.append(
            f'[[models]]\nid = "{name}"\nprovider = "dead"\nfallback = ["{fallback}"]\n'
            "price = { input = 3.0, output = 15.0 }\n"
        )
    return "\n".join(lines)


def preload(*arguments: str, limit_s: float = 5.0, load_limit_s: float = 60.0) -> str:
    command = (sys.executable, "-P", str(RULES), *arguments)
    return (
        "import triptych.engines.phi.guard as guard\n"
        f"guard.COMMAND = {command!r}\nguard.LIMIT_S = {limit_s}\nguard.LOAD_LIMIT_S = {load_limit_s}\n"
        "from triptych.cli import main\nmain()\n"
    )


@dataclass
class Guarded:
    gateway: Gateway
    upstream: EchoUpstream

    def ask(
        self,
        wire: str,
        text: Any,
        *,
        org: str = "redact",
        user: str = "ana",
        model: str | None = None,
        stream: bool = False,
        path: str | None = None,
        **fields: Any,
    ) -> Answer:
        """One turn; ``text`` is the content of the last one."""
        body = {**request(wire, text), "model": model or wire, **fields}
        if stream:
            body["stream"] = True
        return ask(
            self.gateway.port,
            json.dumps(body, ensure_ascii=False).encode(),
            path=path or PATHS[wire],
            key=key_of(org, user),
            timeout_s=20,
        )


def request(wire: str, text: Any) -> dict[str, Any]:
    if wire == "responses":
        return {"input": [{"role": "user", "content": text}]}
    more = {"max_tokens": 64} if wire == "messages" else {}
    return {"messages": [{"role": "user", "content": text}], **more}


def said(wire: str, answer: Answer, *, stream: bool = False) -> str:
    """The text, or the arguments, of an answer."""
    if stream:
        return TEXTS[wire](answer.body)
    body = answer.json
    if wire == "messages":
        block = body["content"][0]
        return block["text"] if block["type"] == "text" else json.dumps(block["input"], ensure_ascii=False)
    if wire == "chat":
        message = body["choices"][0]["message"]
        calls = message.get("tool_calls")
        return calls[0]["function"]["arguments"] if calls else message["content"]
    item = body["output"][0]
    return item["arguments"] if item["type"] == "function_call" else item["content"][0]["text"]


@contextmanager
def guarded(
    *arguments: str, limit_s: float = 5.0, ready_limit_s: float = 3 * START_LIMIT_S
) -> Iterator[Guarded]:
    with EchoUpstream() as upstream:
        toml = providers_toml(upstream.url) + "".join(org_toml(*org) for org in ORGS.items())
        gateway = Gateway(toml, preload=preload(*arguments, limit_s=limit_s))
        try:
            gateway.start(ready_limit_s)
        except AssertionError as error:
            gateway.__exit__(AssertionError, error, None)
            raise
        with gateway:
            yield Guarded(gateway, upstream)
