"""Why a request is refused, in one sentence."""

import msgspec

from triptych.core.failure import Failure, FailureKind
from triptych.wires import faults
from triptych.wires.faults import wrong

_REQUIRED = ("model", "messages", "max_tokens")
_BRACE = ord("{")


def refusal(body: bytes, *, counting: bool) -> Failure:
    """The first fault of a body that is a JSON object but not a valid request."""
    fields = faults.fields(body) or {}
    for name in _REQUIRED:
        if name not in fields and not (counting and name == "max_tokens"):
            return wrong(name, "is required")
    return (
        faults.model(fields["model"])
        or faults.stream(fields.get("stream"))
        or messages_fault(fields["messages"])
        or faults.tokens("max_tokens", fields.get("max_tokens"))
        or Failure(FailureKind.INVALID_BODY)
    )


def messages_fault(raw: msgspec.Raw) -> Failure | None:
    """The first fault of ``messages``."""
    items = faults.array(raw)
    if not items:
        return wrong("messages", "must be a non-empty array")
    for index, item in enumerate(items):
        failure = _message(f"messages[{index}]", item)
        if failure is not None:
            return failure
    return None


def _message(path: str, raw: msgspec.Raw) -> Failure | None:
    fields = faults.fields(raw)
    if fields is None:
        return wrong(path, "must be an object")
    for name in ("role", "content"):
        if name not in fields:
            return wrong(f"{path}.{name}", "is required")
    role = faults.text(fields["role"])
    if role == "system":
        # Claude Code reads this: at "not supported" beside "role system" it sends its text as the
        # user's instead, and the session goes on.
        return wrong(
            f"{path}.role",
            'must be "user" or "assistant": role "system" is not supported, use field "system"',
        )
    if role not in ("user", "assistant"):
        return wrong(f"{path}.role", 'must be "user" or "assistant"')
    return _content(f"{path}.content", fields["content"])


def _content(path: str, raw: msgspec.Raw) -> Failure | None:
    if faults.text(raw) is not None:
        return None
    blocks = faults.array(raw)
    if blocks is None:
        return wrong(path, "must be a string or an array of content blocks")
    for index, block in enumerate(blocks):
        if memoryview(block)[0] != _BRACE:
            return wrong(f"{path}[{index}]", "must be an object")
    return None
