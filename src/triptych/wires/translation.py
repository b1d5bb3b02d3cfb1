"""What translating between wires needs to say, whatever the wires: the features a request may have,
which field of a wire means which, and how a wire refuses what it cannot express."""

from enum import StrEnum

import msgspec


class Feature(StrEnum):
    """Everything a :class:`~triptych.core.conversation.Conversation` can express, by name."""

    TEXT = "text"
    SYSTEM_TEXT = "system text"
    LATE_SYSTEM_TEXT = "system text after the first turn"
    DEVELOPER_ROLE = "developer role"
    IMAGE_URL = "image by URL"
    IMAGE_BASE64 = "image as base64"
    IMAGE_FILE = "image by file id"
    IMAGE_DETAIL = "image detail"
    DOCUMENT_URL = "document by URL"
    DOCUMENT_BASE64 = "document as base64"
    DOCUMENT_TEXT = "document as text"
    DOCUMENT_FILE = "document by file id"
    DOCUMENT_NAME = "document name"
    TOOL_CALL = "tool call"
    TOOL_RESULT = "tool result"
    TOOL_RESULT_IMAGE = "image in a tool result"
    TOOL_RESULT_DOCUMENT = "document in a tool result"
    TOOL_RESULT_ERROR = "tool result that is an error"
    REASONING = "reasoning of an earlier turn"
    REASONING_OPAQUE = "signature or encrypted reasoning"
    REFUSAL = "refusal of an earlier turn"
    CITATION = "citation of a web page"
    TOOL = "tool definition"
    TOOL_STRICT = "strict tool"
    TOOL_CHOICE = "tool choice"
    PARALLEL_TOOL_CALLS = "parallel tool calls"
    MAX_OUTPUT_TOKENS = "bound on output tokens"
    TEMPERATURE = "temperature"
    TOP_P = "top_p"
    TOP_K = "top_k"
    STOP = "stop sequences"
    OUTPUT_SCHEMA = "output by JSON schema"
    OUTPUT_SCHEMA_NAME = "name, description and strictness of an output schema"
    OUTPUT_JSON = "output as any JSON object"
    THINKING_EFFORT = "reasoning effort"
    THINKING_BUDGET = "reasoning budget"
    THINKING_SHOWN = "shown reasoning"
    VERBOSITY = "verbosity"
    SERVICE_TIER = "service tier"
    USER = "user"
    SAFETY_IDENTIFIER = "safety identifier"
    PROMPT_CACHE_KEY = "prompt cache key"
    PROMPT_CACHE_RETENTION = "prompt cache retention"
    CACHE_HINT = "cache breakpoint"
    STREAM = "streaming"


class Field(msgspec.Struct, frozen=True):
    """One field of a wire's request, as the decoder of that wire takes it."""

    path: str
    """Such as ``messages[].content[].image.source``; ``[]`` stands for every index."""
    feature: Feature | None
    """What it means; None: only this wire has it, and a request that uses it is refused (unless
    ``ignored``)."""
    note: str = ""
    """How it is mapped, or which values of a refused field mean nothing and are accepted."""
    ignored: bool = False
    """Nothing of the answer depends on it: it is left out, and the caller is told."""
    also: tuple[Feature, ...] = ()
    """What else it may mean, by its value or its neighbours; for the names of refusals."""


class Inexpressible(Exception):
    """An encoder's wire has nothing for a feature of the conversation.

    ``detail`` is one short phrase when the feature's name alone would not say what to change.
    """

    def __init__(self, feature: Feature, detail: str = "") -> None:
        self.feature = feature
        self.detail = detail
        super().__init__(f"{feature.value}{': ' + detail if detail else ''}")


class EncodedRequest(msgspec.Struct, frozen=True, gc=False):
    body: bytes
    left_out: tuple[Feature, ...] = ()
    """Features that change nothing of the answer and that this wire has nothing for (the wire's
    table names them); the caller is told in a header."""
