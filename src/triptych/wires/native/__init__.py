"""The native chat grammar of the clinical surface, sans-IO; see ``docs/contracts/clinical.md``.

A request is read into one of the Anthropic Messages wire, whose blocks and tools it shares: there it
is guarded, translated and sent like any other. Answers come back as events of ``core/events.py``.
"""

from triptych.wires.native.answer import content_blocks, encode_answer
from triptych.wires.native.events import API_VERSION, RunEvents
from triptych.wires.native.request import NativeRequest, messages_body, own_name, parse_request
from triptych.wires.native.stream import NativeStream

__all__ = [
    "API_VERSION",
    "NativeRequest",
    "NativeStream",
    "RunEvents",
    "content_blocks",
    "encode_answer",
    "messages_body",
    "own_name",
    "parse_request",
]
