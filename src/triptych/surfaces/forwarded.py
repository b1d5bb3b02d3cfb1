"""Which of the client's headers go on to a provider. Everything else stays here: credentials and
cookies above all, and what the client says to this hop alone (RFC 9110, 7.6.1). Of the query string
everything goes on but credentials."""

from urllib.parse import unquote_to_bytes

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


_CREDENTIAL_NAMES = frozenset(
    (
        b"key",
        b"apikey",
        b"api_key",
        b"api-key",
        b"x-api-key",
        b"x-goog-api-key",
        b"access_token",
        b"authorization",
    )
)


def without_credentials(query: bytes, headers: Headers) -> bytes:
    """The query string without the fields that are credentials: by their names, or because they hold what
    the headers show as one. What stays keeps its bytes."""
    if not query:
        return query
    shown = {
        value.rpartition(b" ")[2] for name, value in headers if name in (b"authorization", b"x-api-key")
    } - {b""}
    fields = query.split(b"&")
    kept = [field for field in fields if not _is_credential(field, shown)]
    return query if len(kept) == len(fields) else b"&".join(kept)


def _is_credential(field: bytes, shown: set[bytes]) -> bool:
    name, _, value = field.partition(b"=")
    name, value = unquote_to_bytes(name), unquote_to_bytes(value)
    return name.lower() in _CREDENTIAL_NAMES or any(secret in name or secret in value for secret in shown)
