"""The three wires as two providers speak them: one that fails, one that answers, and how a stream
opens before the model's first words."""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.devices import messages_wire
from tests.devices.gateway import LIVE_KEY

BEARER = {"authorization": f"Bearer {LIVE_KEY}"}
COUNTS = '{"input_tokens":12,"output_tokens":7,"total_tokens":19}'


def chat_event(delta: str, finish: str = "null") -> bytes:
    head = '"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"x"'
    choice = f'{{"index":0,"delta":{delta},"finish_reason":{finish}}}'
    return f'data: {{{head},"choices":[{choice}]}}\n\n'.encode()


def response_event(number: int, kind: str, rest: str) -> bytes:
    return f'event: {kind}\ndata: {{"type":"{kind}","sequence_number":{number},{rest}}}\n\n'.encode()


def response(status: str, usage: str = "null") -> str:
    text = '{"type":"output_text","text":"Hi there.","annotations":[]}'
    item = f'{{"id":"msg_1","type":"message","role":"assistant","status":"completed","content":[{text}]}}'
    output = f"[{item}]" if status == "completed" else "[]"
    return (
        f'{{"id":"resp_1","object":"response","created_at":1,"status":"{status}","model":"x","error":null,'
        f'"output":{output},"usage":{usage}}}'
    )


@dataclass(frozen=True)
class Wire:
    name: str
    kind: str
    """Of its provider."""
    path: str
    request: bytes
    """``@`` stands for the model id."""
    streamed: bytes
    answer: bytes
    """Plain; 12 tokens in, 7 out."""
    opening: list[bytes]
    """Events before the first content."""
    content: list[bytes]
    """The rest of a good stream."""
    error: bytes
    """The provider's own error event."""
    headers: Mapping[str, str]


_EVENTS = messages_wire.stream_events(3, "x")
MESSAGES = Wire(
    "messages",
    "anthropic",
    "/v1/messages",
    b'{"model":"@","max_tokens":64,"messages":[{"role":"user","content":"x"}]}',
    b'{"model":"@","max_tokens":64,"messages":[{"role":"user","content":"x"}],"stream":true}',
    messages_wire.message("x"),
    _EVENTS[:3],
    _EVENTS[3:],
    messages_wire.event("error", {"error": {"type": "overloaded_error", "message": "Overloaded"}}),
    {},
)
CHAT = Wire(
    "chat",
    "openai",
    "/v1/chat/completions",
    b'{"model":"@","messages":[{"role":"user","content":"x"}]}',
    b'{"model":"@","messages":[{"role":"user","content":"x"}],"stream":true,'
    b'"stream_options":{"include_usage":true}}',
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"x","choices":[{"index":0,'
    b'"finish_reason":"stop","message":{"role":"assistant","content":"Hi there."}}],'
    b'"usage":{"prompt_tokens":12,"completion_tokens":7,"total_tokens":19}}',
    [chat_event('{"role":"assistant","content":"","refusal":null}'), chat_event("{}")],
    [
        chat_event('{"content":"Hi "}'),
        chat_event('{"content":"there."}'),
        chat_event("{}", '"stop"'),
        b'data: {"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":7,"total_tokens":19}}\n\n',
        b"data: [DONE]\n\n",
    ],
    b'data: {"error":{"message":"Overloaded","type":"server_error","code":"overloaded"}}\n\n',
    BEARER,
)
_ITEM = '"output_index":0,"item":{"id":"msg_1","type":"message","role":"assistant","content":[]}'
_PART = (
    '"item_id":"msg_1","output_index":0,"content_index":0,'
    '"part":{"type":"output_text","text":"","annotations":[]}'
)
_DELTA = '"item_id":"msg_1","output_index":0,"content_index":0,"delta":"{}"'
RESPONSES = Wire(
    "responses",
    "openai",
    "/v1/responses",
    b'{"model":"@","store":false,"input":"x"}',
    b'{"model":"@","store":false,"input":"x","stream":true}',
    response("completed", COUNTS).encode(),
    [
        response_event(0, "response.created", f'"response":{response("in_progress")}'),
        response_event(1, "response.in_progress", f'"response":{response("in_progress")}'),
        response_event(2, "response.output_item.added", _ITEM),
        response_event(3, "response.content_part.added", _PART),
    ],
    [
        response_event(4, "response.output_text.delta", _DELTA.format("Hi ")),
        response_event(5, "response.output_text.delta", _DELTA.format("there.")),
        response_event(6, "response.completed", f'"response":{response("completed", COUNTS)}'),
    ],
    response_event(4, "error", '"error":{"type":"server_error","code":"overloaded","message":"Overloaded"}'),
    BEARER,
)
WIRES = (MESSAGES, CHAT, RESPONSES)
