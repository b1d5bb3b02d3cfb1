"""May this text leave? What a guard finds is replaced, refused or only counted, as the policy says.

The caller's own body is read and rewritten, on his wire and before any translation; the answer gets
his values back on his wire too. Nothing leaves unread: a guard that fails, whatever way, refuses.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.core.finding import Screening
from triptych.core.policy import Filter, strictest
from triptych.stages.route import Leg

logger = logging.getLogger("triptych.screen")

FEATURE = "uninspectable_content"
_RETRY_S = 1


class Tool(Protocol):
    @property
    def name(self) -> str | None: ...
    @property
    def path(self) -> str: ...
    @property
    def entity_types(self) -> list[str]: ...


class Inspected(Protocol):
    """What a guard says of a request: paths, types and counts, and the body as it may leave."""

    @property
    def body(self) -> bytes: ...
    @property
    def counts(self) -> dict[str, int]: ...
    @property
    def first(self) -> str | None: ...
    @property
    def redactions(self) -> int: ...
    @property
    def values(self) -> dict[str, str]: ...
    @property
    def tool(self) -> Tool | None: ...
    @property
    def fixed(self) -> str | None: ...
    @property
    def unreadable(self) -> list[str]: ...
    @property
    def logprobs(self) -> str | None: ...


class Guard(Protocol):
    def inspect(
        self,
        org_id: str,
        wire: str,
        body: bytes,
        *,
        query: bytes,
        mode: str,
        known: Mapping[str, str],
        filters: tuple[Filter, ...],
    ) -> Awaitable[Any]:
        """Gives an ``Inspected``. Raises Failure INVALID_BODY for a body that can be read in two ways;
        any other exception is a guard that failed."""
        ...

    def restoring(self, wire: str, inspected: Any) -> Callable[[Any], Any]: ...


class Bodied(Protocol):
    @property
    def body(self) -> bytes: ...


Parsed = TypeVar("Parsed", bound=Bodied)


class Wired(Protocol[Parsed]):
    """An operation, as far as its texts go."""

    wire: str
    relays_query: bool
    """Whether the query string goes to the provider too."""

    def with_body(self, parsed: Parsed, body: bytes) -> Parsed:
        """The same request with another body, of the same shape."""
        ...


class Screen:
    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def __call__(
        self, exchange: Exchange, endpoint: Wired[Parsed], parsed: Parsed, legs: Sequence[Leg]
    ) -> Parsed:
        """The request as it may leave. Sets ``exchange.screening``, ``placeholders``, ``restore`` and
        ``headers``: without those that would leave unread and might say anything.

        Raises Failure PHI_IN_TOOL_SCHEMA, UNINSPECTABLE_CONTENT, PHI_BLOCKED, UNSUPPORTED_PARAMETER
        (probabilities of tokens that are not what the caller reads), INVALID_BODY, and
        SERVICE_UNAVAILABLE when the guard did not read it.
        """
        policy = exchange.principal.policy
        mode = strictest((policy.phi_mode, *(leg.model.phi_mode for leg in legs)))
        if mode is None:
            if not policy.guarded:
                return parsed
            mode = "redact"
        exchange.headers = [field for field in exchange.headers if _says_nothing(*field)]
        inspected = await self._inspect(exchange, endpoint, parsed, mode)
        if inspected.counts:
            exchange.screening = Screening(mode, dict(inspected.counts))
        if inspected.tool is not None:
            raise _tool_refusal(inspected.tool)
        if inspected.unreadable and FEATURE not in policy.features:
            raise _unreadable(inspected.unreadable[0])
        if inspected.counts and mode == "block":
            raise _blocked(inspected.counts, inspected.first)
        if inspected.fixed is not None:
            raise _blocked(inspected.counts, inspected.fixed)
        if inspected.redactions and inspected.logprobs is not None:
            raise Failure(
                FailureKind.UNSUPPORTED_PARAMETER,
                f"{inspected.logprobs}: probabilities of tokens cannot be told while values of the request "
                "are replaced by placeholders. Leave it out.",
                param=inspected.logprobs,
            )
        if inspected.redactions:
            exchange.screening = Screening(mode, dict(inspected.counts), inspected.redactions)
        if inspected.values:
            exchange.placeholders = inspected.values
            exchange.restore = self._guard.restoring(endpoint.wire, inspected)
        if inspected.body == parsed.body:
            return parsed
        return endpoint.with_body(parsed, inspected.body)

    async def _inspect(
        self, exchange: Exchange, endpoint: Wired[Parsed], parsed: Parsed, mode: str
    ) -> Inspected:
        principal = exchange.principal
        try:
            inspected: Inspected = await self._guard.inspect(
                principal.org_id,
                endpoint.wire,
                parsed.body,
                query=exchange.query if endpoint.relays_query else b"",
                mode=mode,
                known=exchange.placeholders,
                filters=principal.policy.filters,
            )
        except Failure:
            raise
        except Exception as error:
            logger.error("%s was not sent: the guard failed (%s)", exchange.request_id, type(error).__name__)
            raise Failure(
                FailureKind.SERVICE_UNAVAILABLE,
                "The guard for protected information cannot read the request right now. Nothing was sent.",
                retry_after_s=_RETRY_S,
            ) from error
        return inspected


# Of the headers that go to a provider (see surfaces/forwarded.py). No guard reads them: one of them that
# is not what it should be stays here, and so does tracestate, which every hop may write anything into.
_NAMES = rb"[A-Za-z][A-Za-z0-9._=-]{0,99}"
_SHAPES = {
    b"traceparent": re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"),
    b"tracestate": re.compile(rb""),
    b"anthropic-version": re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    b"anthropic-beta": re.compile(rb"%b(?:[ \t]*,[ \t]*%b)*" % (_NAMES, _NAMES)),
    b"openai-beta": re.compile(rb"%b(?:[ \t]*,[ \t]*%b)*" % (_NAMES, _NAMES)),
    b"x-claude-code-session-id": re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE),
}


def _says_nothing(name: bytes, value: bytes) -> bool:
    shape = _SHAPES.get(name)
    return shape is None or shape.fullmatch(value) is not None


def _tool_refusal(tool: Tool) -> Failure:
    types = tool.entity_types
    return Failure(
        FailureKind.PHI_IN_TOOL_SCHEMA,
        f"The tool definition at {tool.path} contains protected information ({', '.join(types)}). "
        "Definitions of tools are stored by providers: keep people's data out of them.",
        param=tool.path,
        details={"entity_types": types, "tool": tool.name, "path": tool.path},
    )


def _unreadable(path: str) -> Failure:
    return Failure(
        FailureKind.UNINSPECTABLE_CONTENT,
        f"{path} cannot be inspected for protected information: only text can. Send the text itself, or "
        f"ask an administrator to enable the feature '{FEATURE}' for the org.",
        param=path,
        details={"feature": FEATURE},
    )


def _blocked(counts: Mapping[str, int], path: str | None) -> Failure:
    types = list(counts)
    return Failure(
        FailureKind.PHI_BLOCKED,
        f"The request contains protected information ({', '.join(types)}; see {path}). Nothing was sent.",
        param=path,
        details={"entity_types": types},
    )
