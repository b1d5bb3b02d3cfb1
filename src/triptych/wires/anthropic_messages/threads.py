"""The beta field ``thread``: what was said stands at the vendor, and a request sends only what is new.

The vendor's SDK begins a thread wherever it runs tools by itself. Told in the vendor's own words that
a request cannot be threaded, it sends everything again without one.
"""

from triptych.core.failure import Failure, FailureKind
from triptych.wires.anthropic_messages.request import MessagesRequest


def threaded(request: MessagesRequest) -> bool:
    """Whether the request begins or goes on with a thread."""
    return "thread" in request.members.keys and any(
        member.key == "thread" and request.body[member.value_start : member.value_end] != b"null"
        for member in request.members
    )


def thread_refusal(unsupported: str, why: str) -> Failure:
    """``unsupported``: the feature that stands against it; ``why`` goes on the sentence."""
    return Failure(
        FailureKind.UNSUPPORTED_PARAMETER,
        f"thread cannot be used: {why}. Leave it out, and send the whole conversation.",
        param="thread",
        details={"error_code": "thread_unsupported_request", "unsupported": [unsupported]},
    )
