"""Which of the client's headers go on to a provider. Everything else stays here: credentials and
cookies above all, and what the client says to this hop alone (RFC 9110, 7.6.1)."""

from triptych.core.call import Headers

_TRACE = frozenset({b"traceparent", b"tracestate"})
# Beside what is forwarded stands the field that may forbid it.
_TO_ANOTHER_WIRE = _TRACE | {b"connection"}
_TO_THE_SAME_WIRE = _TO_ANOTHER_WIRE | {
    b"anthropic-version",
    b"anthropic-beta",
    b"x-claude-code-session-id",
    b"openai-beta",
}


def forwarded(headers: Headers, *, translated: bool = False) -> Headers:
    """``translated``: what a client says to its own wire's vendor means nothing to another one."""
    names = _TO_ANOTHER_WIRE if translated else _TO_THE_SAME_WIRE
    passed = [pair for pair in headers if pair[0] in names]
    for name, _ in passed:
        if name == b"connection":
            return _of_all_hops(passed)
    return passed


def _of_all_hops(headers: list[tuple[bytes, bytes]]) -> Headers:
    """Without ``Connection`` and the fields it names."""
    hop = {b"connection"}
    for name, value in headers:
        if name == b"connection":
            hop.update(option.strip().lower() for option in value.split(b","))
    return [pair for pair in headers if pair[0] not in hop]
