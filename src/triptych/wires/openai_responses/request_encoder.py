"""A conversation as a request of this wire, to a provider that keeps nothing of it."""

import base64
from typing import Any

import msgspec

from triptych.core.conversation import (
    Base64,
    Citation,
    Conversation,
    Document,
    FileId,
    Image,
    Message,
    PlainText,
    Reasoning,
    Refusal,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Url,
)
from triptych.wires.openai_conventions import (
    ERROR_PREFIX,
    arguments_schema,
    cache_key,
    call_id,
    can_be_strict,
    effort_of,
    strictness,
)
from triptych.wires.openai_responses.encrypted import OWN
from triptych.wires.openai_responses.request_decoder import TEXT_DOCUMENT_TYPE
from triptych.wires.translation import EncodedRequest, Feature, Inexpressible

_FORMAT_NAME = "response"
_MOST_CALL_ID_CHARS = 64
_INCLUDE = ["reasoning.encrypted_content"]
# Required where a file is data; the provider goes by its ending.
_FILE_NAMES = {"application/pdf": "document.pdf", TEXT_DOCUMENT_TYPE: "document.txt"}
_FILE_NAME = "document"

Json = dict[str, Any]


def encode_request(conversation: Conversation, model: str, *, default_max_tokens: int = 0) -> EncodedRequest:
    """``model`` is the provider's own id; ``default_max_tokens`` is not needed here: without a bound
    the provider applies its own.

    Raises Inexpressible for the features that the wire's table does not name.
    """
    if conversation.top_k is not None:
        raise Inexpressible(Feature.TOP_K)
    if conversation.stop:
        raise Inexpressible(Feature.STOP)
    left_out: dict[Feature, None] = {}
    items: list[Json] = []
    for message in conversation.messages:
        items += _items(message, left_out)
    thinking = conversation.thinking
    body: Json = {
        "model": model,
        "input": items,
        "stream": conversation.stream,
        "store": False,
        "max_output_tokens": conversation.max_output_tokens,
        "temperature": conversation.temperature,
        "top_p": conversation.top_p,
        "tools": [_tool(tool, left_out) for tool in conversation.tools] or None,
        "tool_choice": _tool_choice(conversation.tool_choice),
        "parallel_tool_calls": conversation.parallel_tool_calls,
        "text": _text(conversation),
        "reasoning": None if thinking is None else _reasoning(thinking) or None,
        "include": _INCLUDE if thinking is not None and thinking.effort != "none" else None,
        "service_tier": conversation.service_tier,
        "user": conversation.user,
        "safety_identifier": conversation.safety_identifier,
        "prompt_cache_key": conversation.prompt_cache_key or _cache_key(conversation),
        "prompt_cache_retention": conversation.prompt_cache_retention,
    }
    written = {name: value for name, value in body.items() if value is not None}
    return EncodedRequest(msgspec.json.encode(written), tuple(left_out))


def _items(message: Message, left_out: dict[Feature, None]) -> list[Json]:
    if message.role is Role.ASSISTANT:
        return _assistant_items(message, left_out)
    if message.role is Role.TOOL:
        return [_tool_result(part, left_out) for part in message.parts if isinstance(part, ToolResult)]
    texts = [part.text for part in message.parts if isinstance(part, Text)]
    if len(message.parts) == len(texts) == 1:
        return [{"type": "message", "role": message.role, "content": texts[0]}]
    content = [_input_content(part, left_out) for part in message.parts]
    return [{"type": "message", "role": message.role, "content": content}]


def _assistant_items(message: Message, left_out: dict[Feature, None]) -> list[Json]:
    items: list[Json] = []
    said: list[Json] | None = None
    for part in message.parts:
        if isinstance(part, Text | Refusal):
            if said is None:
                said = []
                items.append({"type": "message", "role": message.role, "content": said})
            said.append(output_content(part))
            continue
        if isinstance(part, ToolCall):
            items.append(
                {
                    "type": "function_call",
                    "call_id": call_id(part.id, _MOST_CALL_ID_CHARS),
                    "name": part.name,
                    "arguments": part.arguments,
                }
            )
        elif isinstance(part, Reasoning):
            if part.opaque is None or part.opaque.vendor != OWN:
                left_out[Feature.REASONING] = None
                continue
            items.append(reasoning_item(part, part.opaque.id, part.opaque.data))
        said = None
    return items


def output_content(part: Text | Refusal) -> Json:
    """A content part of a message of the assistant's."""
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    annotations = [annotation(citation, len(part.text)) for citation in part.citations]
    return {"type": "output_text", "text": part.text, "annotations": annotations}


def annotation(citation: Citation, text_chars: int) -> Json:
    """``text_chars``: length of the text that cites; a citation without a place is about all of it."""
    return {
        "type": "url_citation",
        "url": citation.url,
        "title": citation.title or "",
        "start_index": 0 if citation.start is None else citation.start,
        "end_index": text_chars if citation.end is None else citation.end,
    }


def reasoning_item(reasoning: Reasoning, item_id: str | None, encrypted_content: str | None) -> Json:
    """All of the text is one part of the summary."""
    item: Json = {"type": "reasoning"}
    if item_id is not None:
        item["id"] = item_id
    item["summary"] = [{"type": "summary_text", "text": reasoning.text}] if reasoning.text else []
    if encrypted_content is not None:
        item["encrypted_content"] = encrypted_content
    return item


def _input_content(part: object, left_out: dict[Feature, None]) -> Json:
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    if isinstance(part, Image):
        return _image(part)
    if isinstance(part, Document):
        return _document(part, left_out)
    raise TypeError(f"{type(part).__name__} is no part of this message")


def _image(image: Image) -> Json:
    written: Json = {"type": "input_image", "detail": image.detail or "auto"}
    source = image.source
    if isinstance(source, FileId):
        written["file_id"] = _own_file(source, Feature.IMAGE_FILE)
    elif isinstance(source, Base64):
        written["image_url"] = f"data:{source.media_type};base64,{source.data}"
    else:
        written["image_url"] = source.url
    return written


def _document(document: Document, left_out: dict[Feature, None]) -> Json:
    source = document.source
    if isinstance(source, PlainText):
        source = Base64(TEXT_DOCUMENT_TYPE, base64.b64encode(source.text.encode()).decode())
    if isinstance(source, Base64):
        return {
            "type": "input_file",
            "filename": document.name or _FILE_NAMES.get(source.media_type, _FILE_NAME),
            "file_data": f"data:{source.media_type};base64,{source.data}",
        }
    if document.name is not None:
        # The provider takes a name of what is data only, and refuses it elsewhere.
        left_out[Feature.DOCUMENT_NAME] = None
    if isinstance(source, Url):
        return {"type": "input_file", "file_url": source.url}
    return {"type": "input_file", "file_id": _own_file(source, Feature.DOCUMENT_FILE)}


def _own_file(file: FileId, feature: Feature) -> str:
    if file.vendor != OWN:
        raise Inexpressible(feature, "another vendor keeps the file")
    return file.id


def _tool_result(result: ToolResult, left_out: dict[Feature, None]) -> Json:
    content = [_input_content(part, left_out) for part in result.content]
    if result.is_error:
        texts = [part for part in content if part["type"] == "input_text"]
        if texts:
            texts[0]["text"] = ERROR_PREFIX + texts[0]["text"]
        else:
            content.insert(0, {"type": "input_text", "text": ERROR_PREFIX})
    output: str | list[Json] = content
    if not content:
        output = ""
    elif len(content) == 1 and content[0]["type"] == "input_text":
        output = content[0]["text"]
    call = call_id(result.call_id, _MOST_CALL_ID_CHARS)
    return {"type": "function_call_output", "call_id": call, "output": output}


def _tool(tool: Tool, left_out: dict[Feature, None]) -> Json:
    written: Json = {"type": "function", "name": tool.name}
    if tool.description is not None:
        written["description"] = tool.description
    written["parameters"] = arguments_schema(tool)
    strict = strictness(tool)
    if strict is not tool.strict:
        left_out[Feature.TOOL_STRICT] = None
    # What is not said means true here, and false on every other wire.
    written["strict"] = strict or False
    return written


def _tool_choice(choice: ToolChoice | None) -> str | Json | None:
    if choice is not None and choice.mode == "named":
        return {"type": "function", "name": choice.name}
    return None if choice is None else choice.mode


def _text(conversation: Conversation) -> Json | None:
    text: Json = {}
    wanted = conversation.output_format
    schema = None if wanted is None else wanted.schema
    if wanted is not None and schema is None:
        text["format"] = {"type": "json_object"}
    elif wanted is not None and schema is not None:
        form: Json = {"type": "json_schema", "name": wanted.name or _FORMAT_NAME}
        if wanted.description is not None:
            form["description"] = wanted.description
        form["schema"] = schema
        form["strict"] = can_be_strict(schema) if wanted.strict is None else wanted.strict
        text["format"] = form
    if conversation.verbosity is not None:
        text["verbosity"] = conversation.verbosity
    return text or None


def _reasoning(thinking: Thinking) -> Json:
    effort = effort_of(thinking)
    reasoning: Json = {} if effort is None else {"effort": effort}
    # Where effort is not said in words, it is asked for as on the wire that shows it by default. Not
    # every account may ask for summaries, so that nobody asks who did not mean to.
    shown = thinking.effort is None if thinking.shown is None else thinking.shown
    if shown and effort != "none":
        reasoning["summary"] = "auto"
    return reasoning


def _cache_key(conversation: Conversation) -> str | None:
    """Only for who asked for a cache."""
    return cache_key(conversation) if conversation.cache or _hinted(conversation) else None


def _hinted(conversation: Conversation) -> bool:
    parts = [part for message in conversation.messages for part in message.parts]
    inner = [inside for part in parts if isinstance(part, ToolResult) for inside in part.content]
    return any(getattr(part, "cache", None) for part in (*conversation.tools, *parts, *inner))
