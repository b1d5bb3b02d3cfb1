"""The one model that every wire translates to and from: what is asked, and what is answered.

A wire has one decoder into it and one encoder out of it, never one for each other wire. What a wire
cannot express is refused by its encoder, by name (``wires/translation.py``); nothing here is lossy.

Canonical form, which every decoder produces:

- Messages keep their order. System and developer text stands where it was said.
- Tool results are messages of their own (role ``tool``); results that follow each other directly
  are parts of one message.
- What the assistant says in one turn is one message, in the order reasoning, text, calls where the
  wire has no order of its own.
- There are no empty texts and no messages without parts.
"""

from enum import StrEnum

import msgspec

from triptych.core.usage import Usage


class CacheHint(msgspec.Struct, frozen=True, gc=False):
    """Ask the provider to cache everything up to the end of the part this stands on."""

    ttl: str | None = None
    """``5m`` | ``1h``; None is the provider's default."""


class Url(msgspec.Struct, frozen=True, gc=False):
    url: str


class Base64(msgspec.Struct, frozen=True, gc=False):
    media_type: str
    """Such as ``image/png``."""
    data: str


class PlainText(msgspec.Struct, frozen=True, gc=False):
    """Of documents only."""

    text: str


class FileId(msgspec.Struct, frozen=True, gc=False):
    """A file the vendor keeps; no other vendor knows it."""

    vendor: str
    """``anthropic`` | ``openai``."""
    id: str


class Citation(msgspec.Struct, frozen=True, gc=False):
    """A web page that a text cites. Offsets are characters of the part's text, end exclusive."""

    url: str
    title: str | None = None
    cited_text: str | None = None
    start: int | None = None
    end: int | None = None


class Text(msgspec.Struct, frozen=True):
    text: str
    citations: tuple[Citation, ...] = ()
    cache: CacheHint | None = None


class Image(msgspec.Struct, frozen=True):
    source: Url | Base64 | FileId
    detail: str | None = None
    """``low`` | ``high`` | ``original``; None and ``auto`` are the same."""
    cache: CacheHint | None = None


class Document(msgspec.Struct, frozen=True):
    source: Url | Base64 | PlainText | FileId
    name: str | None = None
    """File name or title."""
    cache: CacheHint | None = None


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """The model's own words of refusal."""

    text: str


class Opaque(msgspec.Struct, frozen=True, gc=False):
    """What only the vendor that wrote it can read; it must come back to it unchanged."""

    vendor: str
    """``anthropic`` | ``openai``."""
    data: str
    """Anthropic: the signature, or the data of a redacted block. OpenAI: ``encrypted_content``."""
    redacted: bool = False
    """Anthropic: the block was a redacted one."""
    id: str | None = None
    """OpenAI: the id of the reasoning item."""


class Reasoning(msgspec.Struct, frozen=True):
    text: str = ""
    """What of it is shown: the thinking, or the summary."""
    opaque: Opaque | None = None


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    id: str
    name: str
    arguments: str
    """JSON text, as the model wrote it."""
    cache: CacheHint | None = None


class ToolResult(msgspec.Struct, frozen=True):
    call_id: str
    content: tuple[Text | Image | Document, ...]
    is_error: bool = False
    cache: CacheHint | None = None


Part = Text | Image | Document | Refusal | Reasoning | ToolCall | ToolResult


class Role(StrEnum):
    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Message(msgspec.Struct, frozen=True):
    role: Role
    parts: tuple[Part, ...]
    """SYSTEM, DEVELOPER: Text. USER: Text, Image, Document. ASSISTANT: Text, Refusal, Reasoning,
    ToolCall. TOOL: ToolResult."""


class Tool(msgspec.Struct, frozen=True):
    """A function the client runs."""

    name: str
    schema: msgspec.Raw
    """JSON schema of its arguments, byte for byte."""
    description: str | None = None
    strict: bool | None = None
    cache: CacheHint | None = None
    any_schema: bool = False
    """Of a strict one: its schema may be one that OpenAI takes for no strict one, as on Anthropic's wire."""


class ToolChoice(msgspec.Struct, frozen=True, gc=False):
    mode: str
    """``auto`` | ``none`` | ``required`` | ``named``."""
    name: str | None = None


class OutputFormat(msgspec.Struct, frozen=True):
    """The form of the answer's text. Without a schema: any JSON object."""

    schema: msgspec.Raw | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class Thinking(msgspec.Struct, frozen=True, gc=False):
    """How much the model is to reason before it answers."""

    effort: str | None = None
    """``none`` | ``minimal`` | ``low`` | ``medium`` | ``high`` | ``xhigh`` | ``max``; None: the
    model decides."""
    budget_tokens: int | None = None
    """At most so many tokens of it; only Anthropic's wire says it that way."""
    shown: bool | None = None
    """Whether what is shown of it (thinking, summary) is wanted; None: the wire's default."""


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """One request. None and the empty tuple mean: not said."""

    messages: tuple[Message, ...]
    stream: bool = False
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    output_format: OutputFormat | None = None
    thinking: Thinking | None = None
    verbosity: str | None = None
    """``low`` | ``medium`` | ``high``."""
    service_tier: str | None = None
    """``auto`` | ``default`` | ``flex`` | ``scale`` | ``priority`` (OpenAI's words; Anthropic's
    ``standard_only`` is ``default``)."""
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    cache: CacheHint | None = None
    """Cache the longest prefix that can be cached."""
    cache_scope: str = ""
    """Whose it is: a cache key that is made for it is shared with nobody else. No wire says it."""
    left_out: tuple[str, ...] = ()
    """Fields of the caller that change nothing of the answer and that its decoder left out (see the
    wire's table); the caller is told in a header."""


class Stop(StrEnum):
    """Why the answer ended."""

    END = "end"
    MAX_TOKENS = "max_tokens"
    SEQUENCE = "sequence"
    TOOL_CALLS = "tool_calls"
    REFUSED = "refused"
    """By the provider's safety system, not in the model's words."""
    CONTEXT_WINDOW = "context_window"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One whole answer."""

    id: str
    model: str
    created_s: int | None = None
    """Unix time; None where the wire has none."""
    parts: tuple[Text | Refusal | Reasoning | ToolCall, ...] = ()
    stop: Stop = Stop.END
    stop_sequence: str | None = None
    usage: Usage | None = None
    service_tier: str | None = None
    """In the words of ``Conversation.service_tier``."""
