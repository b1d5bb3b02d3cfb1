"""A provider that plays a script: each request is answered with the step that its conversation has
come to. Speaks Messages, Chat Completions and Responses, and remembers what it was sent."""

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple

from triptych.upstreams.sandbox.anthropic_messages import AnthropicMessages
from triptych.upstreams.sandbox.openai_chat import OpenAIChat
from triptych.upstreams.sandbox.openai_responses import OpenAIResponses
from triptych.upstreams.sandbox.replies import Prompt, Reply, Stop, ToolCall, reply_of, say
from triptych.upstreams.sandbox.wire import Exchange, Wire


class Say(NamedTuple):
    text: str


class Call(NamedTuple):
    tool: str
    arguments: Mapping[str, object]


Step = Say | Call
ASIDE = Say("A scripted conversation")
"""What a request without tools is told: agents ask for titles and summaries beside their task."""

_WIRES: dict[str, tuple[str, Wire]] = {
    "/v1/messages": ("anthropic-messages", AnthropicMessages()),
    "/v1/chat/completions": ("openai-chat", OpenAIChat()),
    "/v1/responses": ("openai-responses", OpenAIResponses()),
}
_RESULTS = frozenset({"function_call_output", "custom_tool_call_output", "tool_result"})


class Recorded(NamedTuple):
    method: str
    path: str
    """With the query string."""
    headers: list[tuple[str, str]]
    body: bytes
    wire: str | None

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def tool_results(self) -> list[str]:
        """JSON of each tool's result in the conversation, oldest first."""
        return [json.dumps(result) for result in _results(self.json, self.wire)]


class ScriptedUpstream:
    """``with ScriptedUpstream([Call(...), Say(...)]) as upstream``: served at ``upstream.url``.

    The conversation tells how far it is: a request with n results of tools gets step n. A step may
    be made of the request, when it depends on it. ``upstream.requests`` holds what arrived, in order.
    """

    def __init__(self, steps: Sequence[Step | Callable[[Recorded], Step]]) -> None:
        self._steps = steps
        self.requests: list[Recorded] = []
        upstream = self

        class Answering(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                upstream._answer(self)

            def do_POST(self) -> None:
                upstream._answer(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def conversations(self) -> list[Recorded]:
        """The requests that carry tools: the task itself, without what the agent asks beside it."""
        return [request for request in self.requests if request.wire and request.json.get("tools")]

    def __enter__(self) -> "ScriptedUpstream":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, asked: BaseHTTPRequestHandler) -> None:
        body = asked.rfile.read(int(asked.headers.get("content-length") or 0))
        name, wire = _WIRES.get(asked.path.partition("?")[0], (None, None))
        recorded = Recorded(asked.command, asked.path, list(asked.headers.items()), body, name)
        self.requests.append(recorded)
        if wire is None:
            _send(asked, 404, "application/json", b'{"error":{"message":"not scripted"}}')
            return
        exchange, reply = self._reply(recorded, wire)
        if recorded.json.get("stream"):
            script = wire.script(exchange, reply)
            events = script.head + b"".join(script.deltas)
            _send(asked, 200, "text/event-stream; charset=utf-8", events + script.tail())
        else:
            _send(asked, 200, "application/json", wire.plain(exchange, reply))

    def _reply(self, recorded: Recorded, wire: Wire) -> tuple[Exchange, Reply]:
        prompt = wire.read(recorded.body)
        exchange = Exchange(hashlib.sha256(recorded.body).hexdigest()[:24], recorded.json["model"], prompt)
        step: Step = ASIDE
        if recorded.json.get("tools"):
            wanted = self._steps[min(len(recorded.tool_results), len(self._steps) - 1)]
            step = wanted(recorded) if callable(wanted) else wanted
        return exchange, reply_of(partial(_played, step), prompt)


def _played(step: Step, prompt: Prompt) -> Reply:
    if isinstance(step, Say):
        return say(step.text, prompt)
    return Reply(9, stop=Stop.TOOL, tool=ToolCall(step.tool, dict(step.arguments)))


def _results(body: Any, wire: str | None) -> list[Any]:
    if wire == "openai-responses":
        items = body["input"] if isinstance(body["input"], list) else []
        return [item["output"] for item in items if item.get("type") in _RESULTS]
    if wire == "openai-chat":
        return [message["content"] for message in body["messages"] if message["role"] == "tool"]
    return [
        block.get("content")
        for message in body["messages"]
        if isinstance(message["content"], list)
        for block in message["content"]
        if block["type"] in _RESULTS
    ]


def _send(asked: BaseHTTPRequestHandler, status: int, kind: str, body: bytes) -> None:
    asked.send_response(status)
    asked.send_header("content-type", kind)
    asked.send_header("content-length", str(len(body)))
    asked.end_headers()
    asked.wfile.write(body)
