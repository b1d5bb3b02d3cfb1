"""Two gateways in a row: the first translates, the second's sandbox is its provider on every wire.

A model id ``messages/sandbox-echo`` is ``sandbox-echo`` behind a provider that speaks the Messages
wire only; ``chat/`` and ``responses/`` likewise.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.devices.gateway import ORG, TEST_KEY, Gateway

PROVIDER_WIRES = {"messages": "anthropic-messages", "chat": "openai-chat", "responses": "openai-responses"}
SANDBOX_MODELS = (
    "sandbox-echo",
    "sandbox-lorem",
    "sandbox-tool",
    "sandbox-error-upstream_overloaded",
    "sandbox-error-upstream_rate_limited",
    "sandbox-error-upstream_bad_request",
    "sandbox-error-upstream_html",
    "sandbox-error-empty_body",
    "sandbox-error-midstream_overloaded",
    "sandbox-error-midstream_cut",
)


@dataclass(frozen=True)
class Chain:
    front: Gateway
    """The one under test: none of its providers is a sandbox."""
    origin: Gateway


def providers(origin: Gateway) -> str:
    """TOML of one provider per wire, each at ``origin``, with the sandbox's models."""
    lines = []
    for name in PROVIDER_WIRES:
        kind = "anthropic" if name == "messages" else "openai"
        wire = "" if name == "messages" else f'wire = "{name}"\n'
        lines.append(
            f'[[providers]]\nname = "{name}"\nkind = "{kind}"\nbase_url = "{origin.url}/v1"\n{wire}'
            f'api_key = "{TEST_KEY}"\n'
        )
        lines += [
            f'[[models]]\nid = "{name}/{model}"\nprovider = "{name}"\nupstream_id = "{model}"\n'
            "price = { input = 3.0, output = 15.0 }\n"
            for model in SANDBOX_MODELS
        ]
    return "\n".join(lines)


@contextmanager
def chain(toml: str = "", server: str = "") -> Iterator[Chain]:
    """``toml`` and ``server`` are further settings of the front."""
    retries = "[retries]\nattempts = 0\n"
    with (
        Gateway(retries + ORG) as origin,
        Gateway(retries + providers(origin) + ORG + toml, server=server) as front,
    ):
        yield Chain(front, origin)
