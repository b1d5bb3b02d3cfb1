"""What answers hold. Members that a later gateway adds are ignored; ``raw`` keeps what is a vendor's."""

from typing import Any, Literal

import msgspec

Role = Literal["user", "assistant", "system"]


class Scores(msgspec.Struct, frozen=True):
    joy: float
    love: float
    sadness: float
    anger: float
    fear: float
    surprise: float


class Emotion(msgspec.Struct, frozen=True, rename="camel"):
    """Descriptive statistics of a text, not a clinical reading."""

    category: str
    raw: Scores
    intensity: float
    intensity_level: str
    valence: float
    arousal: float
    complexity: str
    wonder_index: float
    discovery_level: str
    language: str | None = None
    text: str | None = None


class AnalyseUsage(msgspec.Struct, frozen=True):
    analyse_tokens: int


class AnalysedMessage(msgspec.Struct, frozen=True):
    index: int
    role: str
    emotions: Emotion
    external_id: str | None = msgspec.field(default=None, name="externalId")


class Analysis(msgspec.Struct, frozen=True):
    model: str
    emotions: dict[str, Emotion]
    """Of each role the last message."""
    messages: list[AnalysedMessage]
    usage: AnalyseUsage
    metadata: dict[str, str] = {}
    """``context_id``; only in a context, and so is the trajectory."""
    trajectory: dict[str, Any] = {}


class ItemError(msgspec.Struct, frozen=True):
    code: str
    message: str
    type: str = ""
    param: str | None = None


class BatchItem(msgspec.Struct, frozen=True):
    index: int
    status: Literal["ok", "error"]
    external_id: str | None = msgspec.field(default=None, name="externalId")
    emotions: Emotion | None = None
    error: ItemError | None = None


class BatchAnalysis(msgspec.Struct, frozen=True):
    results: list[BatchItem]
    usage: AnalyseUsage


class ContextFacts(msgspec.Struct, frozen=True):
    context_id: str
    created_at: str
    expires_at: str
    message_count: int


class ContextState(msgspec.Struct, frozen=True):
    metadata: ContextFacts
    emotions: dict[str, Emotion]
    trajectory: dict[str, Any] = {}


class ContextMessage(msgspec.Struct, frozen=True):
    metadata: dict[str, str]
    emotions: dict[str, Emotion]


class EmotionModel(msgspec.Struct, frozen=True):
    id: str
    type: Literal["emotion", "chat"]


class ConversationMode(msgspec.Struct, frozen=True):
    mode: str
    confidence: float
    strategy: str


class BothSides(msgspec.Struct, frozen=True):
    user: Emotion | None = None
    assistant: Emotion | None = None


class EmotionCompletion(msgspec.Struct, frozen=True):
    """A chat completion with its emotions."""

    emotions: BothSides
    mode: ConversationMode
    usage: dict[str, Any]
    choices: list[dict[str, Any]]
    model: str = ""
    id: str = ""
    trajectory: dict[str, Any] = {}

    @property
    def text(self) -> str:
        """Of the first choice."""
        message = self.choices[0].get("message") if self.choices else None
        return (message or {}).get("content") or ""


class EmotionChunk(msgspec.Struct, frozen=True):
    """A piece of a streamed completion: the first one brings the user's emotions, the last one everything
    that is known at the end."""

    raw: dict[str, Any]
    text: str = ""
    emotions: BothSides | None = None
    mode: ConversationMode | None = None
    trajectory: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None


class ChatUsage(msgspec.Struct, frozen=True):
    model: str
    input_tokens: int
    output_tokens: int
    sonnet_equivalent_tokens: int = 0
    cost_usd: float | None = None


class ChatMeta(msgspec.Struct, frozen=True):
    request_id: str
    usage: ChatUsage | None = None
    phi: dict[str, Any] | None = None
    """Only where something was found."""


class ChatMessage(msgspec.Struct, frozen=True):
    id: str
    role: str
    content: Any = None

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        blocks = self.content or ()
        return "".join(block.get("text", "") for block in blocks if isinstance(block, dict))


class ChatData(msgspec.Struct, frozen=True):
    message: ChatMessage
    conversation_id: str | None = None


class Chat(msgspec.Struct, frozen=True):
    """One turn of native chat."""

    data: ChatData
    meta: ChatMeta

    @property
    def text(self) -> str:
        return self.data.message.text

    @property
    def conversation_id(self) -> str | None:
        return self.data.conversation_id


class Event(msgspec.Struct, frozen=True):
    """One event of a native stream, such as ``message.delta``."""

    type: str
    id: str = ""
    created: int = 0
    data: dict[str, Any] = {}

    @property
    def text(self) -> str:
        """The text it brings; empty for most types."""
        if self.type != "message.delta":
            return ""
        return (self.data.get("delta") or {}).get("text") or ""


class ApiKey(msgspec.Struct, frozen=True):
    id: str
    name: str
    prefix: str
    last_four: str
    scopes: list[str] | None = None
    environment: str = "live"
    created_at: str | None = None
    plaintext: str | None = None
    """Only of a key that was just made: nobody can show it again."""


class Page(msgspec.Struct, frozen=True):
    """A list, newest first, and where it goes on."""

    data: list[dict[str, Any]]
    meta: dict[str, Any]

    @property
    def next_cursor(self) -> str | None:
        return self.meta.get("next_cursor") if self.meta.get("has_more") else None
