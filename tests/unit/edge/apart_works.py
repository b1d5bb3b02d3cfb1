"""What another process is asked to do in the tests of it."""

import os
from typing import Any

from triptych.core.failure import Failure, FailureKind


def measure(body: bytes, unit: int) -> tuple[Any, bytes | None]:
    return (os.getpid(), len(body) // unit), None


def double(body: bytes) -> tuple[Any, bytes | None]:
    return None, body * 2


def refuse(body: bytes) -> tuple[Any, bytes | None]:
    raise Failure(
        FailureKind.INVALID_BODY,
        "no",
        param="messages[1]",
        details={"size": len(body)},
        retry_after_s=3,
        headers=((b"allow", b"GET"),),
    )


def stumble(body: bytes) -> tuple[Any, bytes | None]:
    raise ValueError(f"cannot read {body!r}")


def die(body: bytes) -> tuple[Any, bytes | None]:
    os._exit(3)


def tell_environment(body: bytes) -> tuple[Any, bytes | None]:
    print("this must not be taken for an answer")
    return sorted(os.environ), None
