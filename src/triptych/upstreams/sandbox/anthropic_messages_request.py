"""What of an Anthropic Messages request the sandbox looks at."""

import msgspec

from triptych.upstreams.sandbox.replies import Prompt, Tool, tokens
from triptych.upstreams.sandbox.wire import RequestRefused

Block = dict[str, object]

_IMAGE_TOKENS = 1_600
_DOCUMENT_TOKENS = 3_000
_INSISTING = frozenset({"any", "tool"})
_THINKING = frozenset({"enabled", "adaptive"})


class _Message(msgspec.Struct):
    role: str
    content: str | list[Block]


class _Thinking(msgspec.Struct):
    type: str | None = None
    display: str | None = None


class _OutputConfig(msgspec.Struct):
    format: Block | None = None


class _Body(msgspec.Struct):
    messages: list[_Message]
    system: str | list[Block] | None = None
    max_tokens: int | None = None
    stop_sequences: list[str] | None = None
    tools: list[Block] | None = None
    tool_choice: Block | None = None
    thinking: _Thinking | None = None
    output_config: _OutputConfig | None = None


class Asked(Prompt, frozen=True):
    shows_thoughts: bool = True
    """False: of the thoughts only the signature is sent (``display: omitted``)."""


_BODY = msgspec.json.Decoder(_Body)


def read_prompt(body: bytes) -> Asked:
    """Raises RequestRefused."""
    try:
        request = _BODY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestRefused(str(error)) from error
    messages = request.messages
    content = messages[-1].content if messages else ""
    results = [] if isinstance(content, str) else [b for b in content if b.get("type") == "tool_result"]
    thinking = request.thinking or _Thinking()
    output = request.output_config or _OutputConfig()
    return Asked(
        last_user_text=_last_user_text(messages),
        input_tokens=_input_tokens(request),
        max_tokens=request.max_tokens,
        stop_sequences=tuple(request.stop_sequences or ()),
        tools=_tools(request),
        tool_result=_text(results[-1].get("content")) if results else None,
        tool_required=(request.tool_choice or {}).get("type") in _INSISTING,
        thinks=thinking.type in _THINKING,
        shows_thoughts=thinking.display != "omitted",
        answer_schema=(output.format or {}).get("schema"),
    )


def _tools(request: _Body) -> tuple[Tool, ...]:
    """The tools that may be called, the one the client insists on first."""
    choice = request.tool_choice or {}
    if choice.get("type") == "none":
        return ()
    wanted = choice.get("name") if choice.get("type") == "tool" else None
    found = [Tool(str(tool.get("name", "")), tool.get("input_schema")) for tool in request.tools or ()]
    return tuple(sorted(found, key=lambda tool: tool.name != wanted))


def _last_user_text(messages: list[_Message]) -> str:
    for message in reversed(messages):
        if message.role == "user" and (text := _text(message.content)):
            return text
    return ""


def _text(content: object) -> str:
    """The text of a content that is a string or an array of blocks."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [
        block.get("text") for block in content if isinstance(block, dict) and block.get("type") == "text"
    ]
    return "\n".join(text for text in texts if isinstance(text, str))


def _input_tokens(request: _Body) -> int:
    """System prompt, messages and tool definitions; a picture counts the same whatever its size."""
    size_bytes = fixed_tokens = 0
    contents: list[object] = [request.system, request.tools]
    contents.extend(message.content for message in request.messages)
    while contents:
        content = contents.pop()
        if isinstance(content, str):
            size_bytes += len(content.encode())
        elif isinstance(content, list):
            contents.extend(content)
        elif isinstance(content, dict):
            match content.get("type"):
                case "image":
                    fixed_tokens += _IMAGE_TOKENS
                case "document":
                    fixed_tokens += _DOCUMENT_TOKENS
                case "text":
                    contents.append(content.get("text"))
                case "tool_result":
                    contents.append(content.get("content"))
                case _:
                    size_bytes += len(msgspec.json.encode(content))
    return tokens(size_bytes) + fixed_tokens
