"""What of an OpenAI Responses request the sandbox looks at, and what of it the answer repeats."""

from collections.abc import Mapping

import msgspec

from triptych.upstreams.sandbox.replies import ANY_OBJECT, Prompt, Tool, tokens
from triptych.upstreams.sandbox.wire import RequestRefused

Item = dict[str, object]

_IMAGE_TOKENS = 1_600
_FILE_TOKENS = 3_000
_SEALED = "reasoning.encrypted_content"
# What of a request its answer repeats, and what it says where the request says nothing.
_PLAIN_SETTINGS: Mapping[str, object] = {
    "instructions": None,
    "max_output_tokens": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "top_logprobs": 0,
    "max_tool_calls": None,
    "safety_identifier": None,
    "prompt_cache_key": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}


_REASONING: Item = {"effort": None, "summary": None}
_TEXT: Item = {"format": {"type": "text"}}
_FUNCTION: Item = {"description": None, "parameters": None, "strict": True}
SETTINGS: Mapping[str, object] = {**_PLAIN_SETTINGS, "reasoning": _REASONING, "text": _TEXT, "tools": []}


class _Body(msgspec.Struct):
    input: str | list[Item]
    instructions: str | None = None
    max_output_tokens: int | None = None
    tools: list[Item] = []
    tool_choice: str | Item | None = None
    reasoning: Item | None = None
    text: Item | None = None
    include: list[str] | None = None


class Asked(Prompt, frozen=True):
    settings: Mapping[str, object] = msgspec.field(default_factory=lambda: SETTINGS)
    """The answer's copy of what was asked for."""
    summarizes: bool = False
    """The thoughts are to be told in a summary; else only that there were some."""
    seals: bool = False
    """The thoughts are to be sent encrypted too, for a later turn."""


_BODY = msgspec.json.Decoder(_Body)
_REQUEST = msgspec.json.Decoder(dict[str, object])


def read_prompt(body: bytes) -> Asked:
    """Raises RequestRefused."""
    try:
        request = _BODY.decode(body)
        asked = _REQUEST.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestRefused(str(error)) from error
    items = request.input
    last: Item = items[-1] if isinstance(items, list) and items else {}
    called = last.get("type") == "function_call_output"
    reasoning = {**_REASONING, **(request.reasoning or {})}
    text = {**_TEXT, **(request.text or {})}
    settings = {
        **{name: _given(asked.get(name), value) for name, value in _PLAIN_SETTINGS.items()},
        "reasoning": reasoning,
        "text": text,
        "tools": [_repeated(tool) for tool in request.tools],
    }
    return Asked(
        last_user_text=items if isinstance(items, str) else _last_user_text(items),
        input_tokens=_input_tokens(request),
        max_tokens=request.max_output_tokens,
        tools=_tools(request),
        tool_result=_text(last.get("output")) if called else None,
        tool_required=_insists(request.tool_choice),
        thinks=any(reasoning.values()) and reasoning["effort"] != "none",
        answer_schema=_answer_schema(text["format"]),
        settings=settings,
        summarizes=reasoning["summary"] is not None,
        seals=_SEALED in (request.include or ()),
    )


def _given(value: object, otherwise: object) -> object:
    return otherwise if value is None else value


def _repeated(tool: Item) -> Item:
    """A tool in the answer: what the request left out of a function is there, as its default."""
    return {**_FUNCTION, **tool} if tool.get("type") == "function" else tool


def _insists(choice: str | Item | None) -> bool:
    if isinstance(choice, dict):
        return choice.get("mode", "required") == "required"
    return choice == "required"


def _answer_schema(wanted: object) -> object:
    if not isinstance(wanted, dict):
        return None
    return ANY_OBJECT if wanted.get("type") == "json_object" else wanted.get("schema")


def _tools(request: _Body) -> tuple[Tool, ...]:
    """The functions that may be called, the one the client insists on first."""
    choice = request.tool_choice
    if choice == "none":
        return ()
    found = [
        Tool(str(tool.get("name", "")), tool.get("parameters"))
        for tool in request.tools
        if tool.get("type") == "function"
    ]
    if not isinstance(choice, dict):
        return tuple(found)
    if choice.get("type") == "allowed_tools":
        allowed = choice.get("tools")
        names = (
            [tool.get("name") for tool in allowed if isinstance(tool, dict)]
            if isinstance(allowed, list)
            else []
        )
        return tuple(tool for tool in found if tool.name in names)
    return tuple(sorted(found, key=lambda tool: tool.name != choice.get("name")))


def _last_user_text(items: list[Item]) -> str:
    for item in reversed(items):
        if item.get("role") == "user" and (text := _text(item.get("content"))):
            return text
    return ""


def _text(content: object) -> str:
    """The text of a content, or of a function's output: a string or an array of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))


def _input_tokens(request: _Body) -> int:
    """Instructions, items and tool definitions; a picture counts the same whatever its size."""
    size_bytes = fixed_tokens = 0
    contents: list[object] = [request.instructions, request.tools, request.input]
    while contents:
        content = contents.pop()
        if isinstance(content, str):
            size_bytes += len(content.encode())
        elif isinstance(content, list):
            contents.extend(content)
        elif isinstance(content, dict):
            match content.get("type", "message"):
                case "input_image":
                    fixed_tokens += _IMAGE_TOKENS
                case "input_file":
                    fixed_tokens += _FILE_TOKENS
                case "input_text" | "output_text":
                    contents.append(content.get("text"))
                case "message":
                    contents.append(content.get("content"))
                case "function_call_output":
                    contents.append(content.get("output"))
                case _:
                    size_bytes += len(msgspec.json.encode(content))
    return tokens(size_bytes) + fixed_tokens
