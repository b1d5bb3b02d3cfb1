"""Every kind of failure in every form the inference surface gives it, as text to compare with the
golden files. ``python -m tests.contract.inference.rendering`` writes them anew: read the diff."""

from collections.abc import Callable, Mapping
from pathlib import Path

from triptych.core.failure import Failure, FailureKind
from triptych.core.response import Response
from triptych.surfaces.inference.failures import messages_error, messages_stream_error, openai_error

GOLDEN = Path(__file__).parent / "golden"
REQUEST_ID = "req_X"


def failure_of(kind: FailureKind) -> Failure:
    """The kind with everything a failure may carry."""
    return Failure(kind, param="a.param", details={"secret": "detail"}, retry_after_s=7)


def _whole(render: Callable[[Failure, str], Response]) -> Callable[[Failure], bytes]:
    def text(failure: Failure) -> bytes:
        response = render(failure, REQUEST_ID)
        lines = [b"HTTP %d" % response.status]
        lines += [b"%b: %b" % pair for pair in response.headers]
        return b"\n".join([*lines, b"", response.body, b""])

    return text


RENDERINGS: Mapping[str, Callable[[Failure], bytes]] = {
    "messages.http": _whole(messages_error),
    "messages_stream.sse": messages_stream_error,
    "openai.http": _whole(openai_error),
}


def golden(rendering: str, kind: FailureKind) -> Path:
    return GOLDEN / kind.value / rendering


def main() -> None:
    for kind in FailureKind:
        for rendering, render in RENDERINGS.items():
            path = golden(rendering, kind)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(render(failure_of(kind)))


if __name__ == "__main__":
    main()
