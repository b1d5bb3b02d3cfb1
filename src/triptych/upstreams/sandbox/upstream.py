"""The sandbox as an upstream: picks what a model id stands for and plays it step by step."""

import asyncio
import hashlib
import math
from collections.abc import Iterable, Iterator

import msgspec

from triptych.core.call import Headers, UpstreamAnswer, UpstreamCall
from triptych.core.failure import Failure, FailureKind
from triptych.upstreams.sandbox.anthropic_messages import AnthropicMessages
from triptych.upstreams.sandbox.openai_chat import OpenAIChat
from triptych.upstreams.sandbox.openai_responses import OpenAIResponses
from triptych.upstreams.sandbox.replies import Prompt, echo, reply_of, say
from triptych.upstreams.sandbox.scenarios import SPEAKERS, Scenario, scenario_of
from triptych.upstreams.sandbox.wire import Exchange, RequestRefused, Wire

_DIGEST_CHARS = 24
_PACED_MODEL = "sandbox-lorem"
_JSON = (b"content-type", b"application/json")
_EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
_HTML = (b"content-type", b"text/html; charset=utf-8")
_HTML_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n"
    b"<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
)
_UNFINISHED = "This answer begins like any other, but it will never be finished."
_UNFINISHED_DELTAS = 4


class Pause(msgspec.Struct, frozen=True):
    """Nothing arrives for that long; past the idle limit it is a timeout."""

    seconds: float


Step = bytes | Pause | Failure
"""What a reader of the answer meets next."""


class SandboxUpstream:
    """Implements :class:`triptych.core.call.Upstream` without a socket.

    ``pace_s`` is the pause before each streamed word of ``sandbox-lorem``; ``idle_timeout_s`` how
    long a stalled answer is waited for; ``first_byte_delay_s`` the wait for
    ``sandbox-error-slow_first_byte``. A model id outside ``sandbox-`` behaves like
    ``sandbox-echo`` under that id.
    """

    def __init__(
        self, *, idle_timeout_s: float, pace_s: float = 0.02, first_byte_delay_s: float = 3.0
    ) -> None:
        self._idle_timeout_s = idle_timeout_s
        self._pace_s = pace_s
        self._first_byte_delay_s = first_byte_delay_s
        self._wires: dict[str, Wire] = {
            "anthropic-messages": AnthropicMessages(),
            "openai-chat": OpenAIChat(),
            "openai-responses": OpenAIResponses(),
        }

    @property
    def wires(self) -> frozenset[str]:
        return frozenset(self._wires)

    async def call(self, call: UpstreamCall) -> UpstreamAnswer:
        """Raises Failure: what the model id asks for; SERVICE_UNAVAILABLE for a wire the sandbox
        does not speak; UPSTREAM_TIMEOUT when the deadline passes before the first byte."""
        scenario = scenario_of(call.model, call.wire)
        wire = self._wires.get(call.wire)
        if wire is None:
            raise Failure(
                FailureKind.SERVICE_UNAVAILABLE, f"The sandbox does not speak the wire {call.wire} yet."
            )
        if call.confirm is not None:
            call.confirm()
        if scenario is Scenario.SLOW_FIRST_BYTE:
            await _wait(self._first_byte_delay_s, call.deadline_s)
        digest = hashlib.sha256(call.body).hexdigest()[:_DIGEST_CHARS]
        status, headers, steps = self._play(call, wire, scenario, digest)
        request_id = (b"request-id", f"req_sandbox_{digest}".encode())
        return SandboxAnswer(
            status, (*headers, request_id), iter(steps), call.deadline_s, self._idle_timeout_s
        )

    def _play(
        self, call: UpstreamCall, wire: Wire, scenario: Scenario | None, digest: str
    ) -> tuple[int, Headers, Iterable[Step]]:
        match scenario:
            case Scenario.EMPTY_BODY:
                return 500, (), ()
            case Scenario.EMPTY_ANSWER:
                return 200, (_EVENTS if call.stream else _JSON,), ()
            case Scenario.UPSTREAM_HTML:
                return 502, (_HTML,), (_HTML_PAGE,)
            case (
                Scenario.UPSTREAM_OVERLOADED
                | Scenario.UPSTREAM_RATE_LIMITED
                | Scenario.UPSTREAM_ERROR
                | Scenario.UPSTREAM_BAD_REQUEST
            ):
                return _error(wire, scenario, digest)
        try:
            prompt = wire.read(call.body)
        except RequestRefused as refused:
            error = wire.refused(str(refused), digest)
            return error.status, (_JSON, *error.headers), (error.body,)
        if wire.counts(call.path):
            return 200, (_JSON,), (_cut(wire.count(prompt), scenario),)
        return self._answer(call, wire, scenario, Exchange(digest, call.model, prompt))

    def _answer(
        self, call: UpstreamCall, wire: Wire, scenario: Scenario | None, exchange: Exchange
    ) -> tuple[int, Headers, Iterable[Step]]:
        unfinished = _unfinished(scenario, wire)
        if not call.stream or scenario is Scenario.INVALID_JSON:
            if scenario is Scenario.MIDSTREAM_OVERLOADED:
                return _error(wire, scenario, exchange.digest)
            reply = reply_of(SPEAKERS.get(call.model, echo), exchange.prompt)
            body = wire.plain(exchange, reply)
            if unfinished is None:
                return 200, (_JSON,), (_cut(body, scenario),)
            return 200, (_JSON,), (body[: len(body) // 2], unfinished)
        pace_s = self._pace_s if call.model == _PACED_MODEL else 0.0
        return 200, (_EVENTS,), _stream(wire, exchange, unfinished, pace_s)


def _stream(wire: Wire, exchange: Exchange, unfinished: Step | None, pace_s: float) -> Iterator[Step]:
    if unfinished is None:
        reply = reply_of(SPEAKERS.get(exchange.model, echo), exchange.prompt)
    else:
        reply = say(_UNFINISHED, Prompt("", exchange.prompt.input_tokens))
    script = wire.script(exchange, reply)
    yield script.head
    for index, delta in enumerate(script.deltas):
        if unfinished is not None and index == _UNFINISHED_DELTAS:
            yield unfinished
            return
        if pace_s:
            yield Pause(pace_s)
        yield delta
    yield script.tail()


def _error(wire: Wire, scenario: Scenario, digest: str) -> tuple[int, Headers, Iterable[Step]]:
    error = wire.error(scenario, digest)
    return error.status, (_JSON, *error.headers), (error.body,)


def _cut(body: bytes, scenario: Scenario | None) -> bytes:
    return body[: len(body) // 2] if scenario is Scenario.INVALID_JSON else body


def _unfinished(scenario: Scenario | None, wire: Wire) -> Step | None:
    """What comes in place of the rest of the answer, when there is to be no rest."""
    match scenario:
        case Scenario.MIDSTREAM_OVERLOADED:
            return wire.error_event(scenario)
        case Scenario.MIDSTREAM_CUT:
            return Failure(FailureKind.UPSTREAM_INTERRUPTED)
        case Scenario.MIDSTREAM_STALL:
            return Pause(math.inf)
    return None


class SandboxAnswer:
    """Implements :class:`triptych.core.call.UpstreamAnswer`: each step is read in turn."""

    def __init__(
        self, status: int, headers: Headers, steps: Iterator[Step], deadline_s: float, idle_timeout_s: float
    ) -> None:
        self.status = status
        self.headers = headers
        self._steps: Iterator[Step] = steps
        self._deadline_s = deadline_s
        self._idle_timeout_s = idle_timeout_s

    async def read(self) -> bytes:
        # A step that waits for nothing still lets others run: an echo can be long.
        await _wait(0, self._deadline_s)
        for step in self._steps:
            if isinstance(step, Pause):
                await _wait(min(step.seconds, self._idle_timeout_s), self._deadline_s)
                if step.seconds > self._idle_timeout_s:
                    self.close()
                    raise Failure(FailureKind.UPSTREAM_TIMEOUT)
            elif isinstance(step, Failure):
                self.close()
                raise step
            elif step:
                return step
        return b""

    def close(self) -> None:
        self._steps = iter(())


async def _wait(seconds: float, deadline_s: float) -> None:
    """Sleep, but not past the deadline: there it raises Failure UPSTREAM_TIMEOUT."""
    left_s = deadline_s - asyncio.get_running_loop().time()
    if left_s < seconds or left_s <= 0:
        await asyncio.sleep(max(0.0, left_s))
        raise Failure(FailureKind.UPSTREAM_TIMEOUT)
    await asyncio.sleep(seconds)
