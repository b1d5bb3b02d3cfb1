"""Why a request is refused, in one sentence."""

import msgspec

from triptych.core.failure import Failure, FailureKind
from triptych.wires import faults
from triptych.wires.faults import wrong

ROLES = ("system", "developer", "user", "assistant", "tool")

_REQUIRED = ("model", "messages")
_ROLE_SENTENCE = "must be one of " + ", ".join(f'"{role}"' for role in ROLES)


def refusal(body: bytes) -> Failure:
    """The first fault of a body that is a JSON object but not a valid request."""
    fields = faults.fields(body) or {}
    for name in _REQUIRED:
        if name not in fields:
            return wrong(name, "is required")
    return (
        faults.model(fields["model"])
        or faults.stream(fields.get("stream"))
        or _messages(fields["messages"])
        or Failure(FailureKind.INVALID_BODY)
    )


def _messages(raw: msgspec.Raw) -> Failure | None:
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
    if "role" not in fields:
        return wrong(f"{path}.role", "is required")
    role = faults.text(fields["role"])
    if role not in ROLES:
        return wrong(f"{path}.role", _ROLE_SENTENCE)
    if role == "tool":
        if "tool_call_id" not in fields:
            return wrong(f"{path}.tool_call_id", "is required")
        if faults.text(fields["tool_call_id"]) is None:
            return wrong(f"{path}.tool_call_id", "must be a string")
    return None
