"""What Amazon Bedrock wants of a Messages body
(https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages-request-response.html),
as surgical edits: every byte that an edit does not name survives.
"""

from base64 import b64encode
from collections.abc import Sequence

import msgspec

from triptych.core.call import Headers
from triptych.wires.jsontext import Member, members
from triptych.wires.splice import Edit, remove_members, splice

ANTHROPIC_VERSION = "bedrock-2023-05-31"
"""Of all models, whatever version the client names in its header: what a later one adds
(2026-10-21: Claude 4.7 and later only, https://platform.claude.com/docs/en/api/versioning) is refusals
of requests, and older models refuse it."""
# Said by the operation's path on Bedrock, and refused in its body.
_SAID_BY_PATH = frozenset({"model", "stream"})
# The name of the operation itself, from before it needed none; to Bedrock it is an unknown beta.
_COUNTING_BETA = "token-counting-2024-11-01"


class _Thinking(msgspec.Struct):
    budget_tokens: int = 0


_THINKING = msgspec.json.Decoder(_Thinking)


def invoke_body(body: bytes, headers: Headers) -> bytes:
    """The body for InvokeModel: ``model`` and ``stream`` are taken out, ``anthropic_version`` and, for
    the client's ``anthropic-beta`` headers, ``anthropic_beta`` are put in front, unless they are there.

    Raises Failure INVALID_BODY when the body is not a JSON object.
    """
    found = members(body)
    return _edited(body, found, _betas(headers), {})


def count_body(body: bytes, headers: Headers) -> bytes:
    """The body for CountTokens: the one for InvokeModel inside it, as Base64. That one needs a
    ``max_tokens``, which a request to count has not: the smallest allowed is put in; only input is
    counted. Raises Failure as :func:`invoke_body`."""
    found = members(body)
    betas = [beta for beta in _betas(headers) if beta != _COUNTING_BETA]
    inner = _edited(body, found, betas, {"max_tokens": _least_max_tokens(body, found)})
    return b'{"input":{"invokeModel":{"body":"%b"}}}' % b64encode(inner)


def _betas(headers: Headers) -> list[str]:
    lists = [value.decode("latin-1") for name, value in headers if name == b"anthropic-beta"]
    return [beta.strip() for beta in ",".join(lists).split(",") if beta.strip()]


def _least_max_tokens(body: bytes, found: Sequence[Member]) -> int:
    """One, but more than a budget for thinking where there is one: the API demands that."""
    for member in found:
        if member.key == "thinking":
            try:
                return max(0, _THINKING.decode(body[member.value_start : member.value_end]).budget_tokens) + 1
            except msgspec.DecodeError:
                break
    return 1


def _edited(body: bytes, found: Sequence[Member], betas: list[str], absent: dict[str, object]) -> bytes:
    """``absent`` are members put in, like the others, where the body has none of that name."""
    added: dict[str, object] = {"anthropic_version": ANTHROPIC_VERSION}
    if betas:
        added["anthropic_beta"] = betas
    added |= absent
    keys = {member.key for member in found}
    edits = remove_members(found, _SAID_BY_PATH)
    inserted = b",".join(
        msgspec.json.encode(name) + b":" + msgspec.json.encode(value)
        for name, value in added.items()
        if name not in keys
    )
    if inserted:
        if keys - _SAID_BY_PATH:
            inserted += b","
        at = body.index(b"{") + 1
        edits.append(Edit(at, at, inserted))
    return splice(body, edits)
