"""Which bodies are read in another process, and by which operations."""

import asyncio
import gzip
from collections.abc import Callable
from typing import Any

import pytest

from tests.devices.script import exchange
from triptych.core.failure import Failure, FailureKind
from triptych.stages.read import Read
from triptych.surfaces.clinical.messages import CountStrictTokens, CreateStrictMessage
from triptych.surfaces.governed import LARGE_BYTES, LARGE_COMPRESSED_BYTES, Operation
from triptych.surfaces.inference.openai import CreateChatCompletion
from triptych.surfaces.messages import CountTokens, CreateMessage

LIMIT_BYTES = 8 << 20
LARGE = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"%b"}]}' % (b"x" * LARGE_BYTES)


class Elsewhere:
    """Does the work here, and remembers that it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(
        self, work: Callable[..., Any], body: bytes, *arguments: Any
    ) -> tuple[Any, bytes | None]:
        self.asked += 1
        found: tuple[Any, bytes | None] = work(body, *arguments)
        return found


def read(operation: Operation, body: bytes, content_encoding: bytes = b"") -> tuple[Any, int]:
    elsewhere = Elsewhere()
    asked = exchange(body)
    asked.content_encoding = content_encoding
    return asyncio.run(Read(elsewhere)(asked, operation)), elsewhere.asked  # type: ignore[arg-type]


@pytest.mark.parametrize("operation", [CreateMessage(LIMIT_BYTES), CreateChatCompletion(LIMIT_BYTES)])
def test_a_large_body_is_read_elsewhere_and_found_the_same(operation: Operation) -> None:
    parsed, asked = read(operation, LARGE)
    here = operation.parse(exchange(LARGE))  # type: ignore[attr-defined]
    assert (asked, parsed) == (1, here)


def test_a_compressed_body_comes_back_inflated() -> None:
    text = LARGE.replace(b"xx", b"".join(b"%x" % number for number in range(400_000)), 1)
    packed = gzip.compress(text, 1)
    assert len(packed) > LARGE_COMPRESSED_BYTES
    parsed, asked = read(CreateMessage(LIMIT_BYTES), packed, b"gzip")
    assert (asked, parsed.body) == (1, text)


def test_a_body_that_is_too_large_inflated_is_refused_with_the_limit() -> None:
    bomb = gzip.compress(bytes(range(256)) * (1 << 18), 1) + b"\0" * LARGE_COMPRESSED_BYTES
    with pytest.raises(Failure, match="Maximum size is 8 MB") as caught:
        read(CreateMessage(LIMIT_BYTES), bomb, b"gzip")
    assert caught.value.kind is FailureKind.PAYLOAD_TOO_LARGE


def test_a_body_below_the_bound_is_read_here() -> None:
    assert read(CreateMessage(LIMIT_BYTES), LARGE[: -LARGE_BYTES // 2] + b'"}]}')[1] == 0


@pytest.mark.parametrize("kind", [CreateStrictMessage, CountStrictTokens, CountTokens])
def test_an_operation_with_a_reading_of_its_own_never_loses_it(kind: type[CreateMessage]) -> None:
    """The strict ones refuse more than the wire does: what another process reads must not get around it."""
    operation = kind(LIMIT_BYTES, None) if issubclass(kind, CountTokens) else kind(LIMIT_BYTES)  # type: ignore[call-arg,arg-type]
    assert operation.apart(exchange(LARGE)) is None


def test_without_another_process_everything_is_read_here() -> None:
    parsed = asyncio.run(Read()(exchange(LARGE), CreateMessage(LIMIT_BYTES)))
    assert parsed.body is not None and parsed.model == "m"
