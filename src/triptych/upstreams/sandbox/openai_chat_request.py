"""What of an OpenAI Chat Completions request the sandbox looks at."""

import msgspec

from triptych.upstreams.sandbox.replies import ANY_OBJECT, Prompt, Tool, tokens
from triptych.upstreams.sandbox.wire import RequestRefused

Part = dict[str, object]

_IMAGE_TOKENS = 1_600
_FILE_TOKENS = 3_000


class _Message(msgspec.Struct):
    role: str
    content: str | list[Part] | None = None
    tool_calls: list[Part] | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Body(msgspec.Struct):
    messages: list[_Message]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    tools: list[Part] | None = None
    tool_choice: str | Part | None = None
    stream_options: _StreamOptions | None = None
    reasoning_effort: str | None = None
    response_format: Part | None = None


_BODY = msgspec.json.Decoder(_Body)


def read_prompt(body: bytes) -> Prompt:
    """Raises RequestRefused."""
    try:
        request = _BODY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestRefused(str(error)) from error
    messages = request.messages
    last = messages[-1] if messages else None
    bound = request.max_completion_tokens
    stop = request.stop
    options = request.stream_options
    choice = request.tool_choice
    return Prompt(
        last_user_text=_last_user_text(messages),
        input_tokens=_input_tokens(request),
        max_tokens=request.max_tokens if bound is None else bound,
        stop_sequences=(stop,) if isinstance(stop, str) else tuple(stop or ()),
        tools=_tools(request),
        tool_result=_text(last.content) if last is not None and last.role == "tool" else None,
        tool_required=choice == "required" or isinstance(choice, dict),
        thinks=request.reasoning_effort not in (None, "none"),
        answer_schema=_answer_schema(request.response_format or {}),
        stream_usage=options is not None and options.include_usage is True,
    )


def _answer_schema(wanted: Part) -> object:
    if wanted.get("type") == "json_object":
        return ANY_OBJECT
    described = wanted.get("json_schema")
    return described.get("schema") if isinstance(described, dict) else None


def _tools(request: _Body) -> tuple[Tool, ...]:
    """The functions that may be called, the one the client insists on first."""
    choice = request.tool_choice
    if choice == "none":
        return ()
    chosen = choice.get("function") if isinstance(choice, dict) else None
    wanted = chosen.get("name") if isinstance(chosen, dict) else None
    functions = [tool.get("function") for tool in request.tools or ()]
    found = [
        Tool(str(function.get("name", "")), function.get("parameters"))
        for function in functions
        if isinstance(function, dict)
    ]
    return tuple(sorted(found, key=lambda tool: tool.name != wanted))


def _last_user_text(messages: list[_Message]) -> str:
    for message in reversed(messages):
        if message.role == "user" and (text := _text(message.content)):
            return text
    return ""


def _text(content: object) -> str:
    """The text of a content that is a string or an array of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
    return "\n".join(text for text in texts if isinstance(text, str))


def _input_tokens(request: _Body) -> int:
    """Messages and tool definitions; a picture counts the same whatever its size."""
    size_bytes = fixed_tokens = 0
    if request.tools:
        size_bytes += len(msgspec.json.encode(request.tools))
    for message in request.messages:
        if message.tool_calls:
            size_bytes += len(msgspec.json.encode(message.tool_calls))
        content = message.content
        for part in content if isinstance(content, list) else [{"type": "text", "text": content or ""}]:
            match part.get("type"):
                case "text":
                    size_bytes += len(str(part.get("text", "")).encode())
                case "image_url":
                    fixed_tokens += _IMAGE_TOKENS
                case "file" | "input_audio":
                    fixed_tokens += _FILE_TOKENS
                case _:
                    size_bytes += len(msgspec.json.encode(part))
    return tokens(size_bytes) + fixed_tokens
