"""How many input tokens a request has, about, where no provider is asked.

Text counts one token for every four bytes of UTF-8, which is what the vendors themselves give as a
rule of thumb for English and errs on the high side for other scripts; every message and every tool
adds a few for its frame. An image counts what Anthropic says of a large one
(https://docs.anthropic.com/en/docs/build-with-claude/vision: width x height / 750, scaled down to
1.15 megapixels); a page of a PDF cannot be counted unread, so its bytes stand for it.
"""

from triptych.core.conversation import (
    Base64,
    Conversation,
    Document,
    Image,
    Part,
    PlainText,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)

BYTES_PER_TOKEN = 4
MESSAGE_TOKENS = 4
TOOL_TOKENS = 12
IMAGE_TOKENS = 1_600
REMOTE_DOCUMENT_TOKENS = 3_000
"""Of a document known by address only: two dense pages."""
_DOCUMENT_BYTES_PER_TOKEN = 40


def estimate_input_tokens(conversation: Conversation) -> int:
    """At least 1."""
    tokens = sum(MESSAGE_TOKENS + sum(map(_part_tokens, message.parts)) for message in conversation.messages)
    for tool in conversation.tools:
        tokens += TOOL_TOKENS + _text_tokens(tool.name) + _text_tokens(tool.description or "")
        tokens += memoryview(tool.schema).nbytes // BYTES_PER_TOKEN
    output_format = conversation.output_format
    if output_format is not None and output_format.schema is not None:
        tokens += memoryview(output_format.schema).nbytes // BYTES_PER_TOKEN
    return max(1, tokens)


def _part_tokens(part: Part) -> int:
    match part:
        case Text() | Refusal() | Reasoning():
            return _text_tokens(part.text)
        case Image():
            return IMAGE_TOKENS
        case Document(source=PlainText(text=text)):
            return _text_tokens(text)
        case Document(source=Base64(data=data)):
            return max(1, len(data) * 3 // 4 // _DOCUMENT_BYTES_PER_TOKEN)
        case Document():
            return REMOTE_DOCUMENT_TOKENS
        case ToolCall():
            return TOOL_TOKENS + _text_tokens(part.name) + _text_tokens(part.arguments)
        case ToolResult():
            return TOOL_TOKENS + sum(map(_part_tokens, part.content))


def _text_tokens(text: str) -> int:
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)
