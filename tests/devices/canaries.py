"""Words that must stay where they were planted, a provider that repeats everything it is told, and bugs
that put content into what they raise."""

import re
from typing import Any

from tests.devices import faulty_behaviours as behaviours
from tests.devices import messages_wire as wire
from tests.devices.faulty_behaviours import Exchange
from tests.devices.faulty_upstream import FaultyUpstream, SeenRequest

MARK = "zq7canary"
PLANTED = re.compile(rb"zq7canary-([a-z]+)-(\d{4})-")


def plant(kind: str, number: int = 0) -> str:
    return f"{MARK}-{kind}-{number:04d}-"


# Bugs of the kind that happen, at places along the path, with content in what is raised.
CRASHES = """
import sys
from triptych.surfaces.inference.messages import MessagesDialect
from triptych.surfaces.messages import CreateMessage
from triptych.upstreams.anthropic import AnthropicUpstream
from triptych.wires.anthropic_messages import MessagesStream

def breaks(owner, name, sign):
    whole = getattr(owner, name)

    def broken(self, *arguments):
        text = " ".join(repr(argument) for argument in arguments)
        text += repr(getattr(arguments[0], "body", ""))
        if sign in text:
            try:
                raise KeyError(text)
            except KeyError as cause:
                raise RuntimeError("because of " + text) from cause
        return whole(self, *arguments)

    setattr(owner, name, broken)

breaks(CreateMessage, "parse", "crash-in-parse")
breaks(CreateMessage, "rewrite", "crash-in-rewrite")
breaks(AnthropicUpstream, "call", "crash-in-call")
breaks(MessagesStream, "feed", "crash-in-feed")

headers = MessagesDialect.answer_headers

def broken_headers(self, exchange):
    if b"crash-in-settlement" in exchange.query:
        raise RuntimeError(repr(exchange.headers) + repr(exchange.query))
    return headers(self, exchange)

MessagesDialect.answer_headers = broken_headers
from triptych.cli import main
sys.exit(main())
"""


PARROT, SCOLD, LEAK = "parrot", "scold", "leak"


class TalkativeUpstream(FaultyUpstream):
    """Repeats what it was told, in answers and in errors, and leaks its own secrets in headers."""

    def behaviour(self, request: SeenRequest, wire: Any) -> Any:
        talk = {PARROT: self._parrot, SCOLD: self._scold, LEAK: self._leak}.get(wire.model)
        return super().behaviour(request, wire) if talk is None else talk(request, wire)

    async def _parrot(self, request: SeenRequest, exchange: Exchange) -> None:
        text = request.body.decode()
        if exchange.stream:
            events = wire.stream_events(2, PARROT)
            await behaviours.whole_stream(exchange, [*events[:3], wire.delta(text), *events[3:]], 0.05)
        else:
            await behaviours.answer(exchange, 200, behaviours.JSON, wire.message(PARROT, text=text))

    async def _scold(self, request: SeenRequest, exchange: Exchange) -> None:
        number = PLANTED.search(request.body)
        assert number is not None
        secret = f"x-secret: {plant('header', int(number[2]))}"
        error = wire.error("invalid_request_error", f"cannot read {request.body.decode()}")
        await behaviours.answer(exchange, 400, behaviours.JSON, error, secret)

    async def _leak(self, request: SeenRequest, exchange: Exchange) -> None:
        """Half an answer of content, then the line is dead."""
        await behaviours.begin_stream(exchange)
        events = wire.stream_events(0, LEAK)
        await behaviours.chunk(exchange, b"".join(events[:3]) + wire.delta(request.body.decode()))
        exchange.reset()
