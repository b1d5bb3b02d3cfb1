"""A call whose model is served on another wire than the caller's; see ``docs/translation.md``."""

import time
from typing import Any

import msgspec

from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.core.hold import DEFAULT_OUTPUT_TOKENS
from triptych.core.usage import Usage
from triptych.pipeline import Carriage
from triptych.surfaces.forwarded import forwarded
from triptych.wires.spoken import SPOKEN, SpokenWire
from triptych.wires.translated_stream import TranslatedStream
from triptych.wires.translation import Inexpressible


class Translation:
    """Reads the answers of one wire and writes them on another. Implements ``AnswerReader``."""

    __slots__ = ("_caller", "_provider")

    def __init__(self, caller: SpokenWire, provider: SpokenWire) -> None:
        self._caller = caller
        self._provider = provider

    def stream_meter(self, parsed: Any, request_bytes: int) -> TranslatedStream:
        provider = self._provider
        encoder = self._caller.encoder(parsed, int(time.time()))
        return TranslatedStream(provider.meter(request_bytes), provider.decoder(), encoder)

    def read_answer(self, parsed: Any, body: bytes, request_bytes: int) -> tuple[bytes, Usage]:
        provider = self._provider
        usage = provider.read_answer(body, request_bytes=request_bytes)
        answer = provider.decode_answer(body)
        return self._caller.encode_answer(answer, parsed, now_s=int(time.time())), usage


_TRANSLATIONS = {
    (caller.name, provider.name): Translation(caller, provider)
    for caller in SPOKEN.values()
    for provider in SPOKEN.values()
    if caller is not provider
}


def translate(exchange: Exchange, wire: str, parsed: Any, wires: frozenset[str]) -> Carriage:
    """The request on the first of the provider's wires that can express it.

    Raises Failure UNSUPPORTED_PARAMETER: a field that is no part of the translation, or that none
    of the provider's wires has anything for; ``param`` is the caller's name of it.
    """
    assert exchange.target is not None
    assert exchange.model is not None
    caller = SPOKEN[wire]
    said = caller.decode_request(parsed.body)
    conversation = msgspec.structs.replace(said, cache_scope=exchange.principal.org_id)
    gap: Inexpressible | None = None
    for provider in SPOKEN.values():
        if provider.name not in wires:
            continue
        try:
            encoded = provider.encode_request(
                conversation,
                exchange.target.upstream_model,
                default_max_tokens=exchange.model.max_output_tokens or DEFAULT_OUTPUT_TOKENS,
            )
        except Inexpressible as found:
            gap = gap or found
            continue
        exchange.upstream_wire = provider.name
        exchange.left_out = (*conversation.left_out, *map(caller.field_of, encoded.left_out))
        return Carriage(
            provider.name,
            provider.path,
            b"",
            forwarded(exchange.headers, translated=True),
            encoded.body,
            _TRANSLATIONS[wire, provider.name],
        )
    raise _refusal(caller, exchange.model.id, wires, gap)


def _refusal(caller: SpokenWire, model_id: str, wires: frozenset[str], gap: Inexpressible | None) -> Failure:
    served = f"Model '{model_id}' is served on {', '.join(sorted(wires))}"
    if gap is None:
        return Failure(
            FailureKind.UNSUPPORTED_PARAMETER, f"{served} only, not on {caller.name}.", param="model"
        )
    field = caller.field_of(gap.feature)
    detail = f" ({gap.detail})" if gap.detail else ""
    return Failure(
        FailureKind.UNSUPPORTED_PARAMETER,
        f"{field}{detail}: {served}, which cannot express it. Leave it out, or name a model that is served "
        f"on {caller.name}.",
        param=field,
    )
