"""The provider's own id of a request, under the one name the rest of the gateway looks for."""

from triptych.core.call import header
from triptych.upstreams.http1_connection import HttpAnswer


def with_request_id(answer: HttpAnswer, *names: bytes) -> HttpAnswer:
    """The answer, its ``request-id`` taken from the first of ``names`` it has, unless it has one."""
    if header(answer.headers, b"request-id") is None:
        for name in names:
            request_id = header(answer.headers, name)
            if request_id is not None:
                answer.headers = (*answer.headers, (b"request-id", request_id))
                break
    return answer
