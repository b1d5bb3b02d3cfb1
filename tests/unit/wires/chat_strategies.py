"""Conversations and answers that the chat wire can say without loss, in canonical form."""

import base64
import json
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import strategies as st

from triptych.core.conversation import (
    Answer,
    Base64,
    Citation,
    Conversation,
    Document,
    FileId,
    Image,
    Message,
    Opaque,
    OutputFormat,
    PlainText,
    Reasoning,
    Refusal,
    Role,
    Stop,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Url,
)
from triptych.core.usage import Usage, UsageSource

texts = st.text(min_size=1, max_size=20)
names = st.from_regex(r"[a-zA-Z0-9_-]{1,10}", fullmatch=True)
text = st.builds(Text, texts)
schemas = st.dictionaries(names, st.integers(), max_size=2).map(
    lambda value: msgspec.Raw(json.dumps(value).encode())
)
bases = st.builds(
    Base64,
    st.sampled_from(["image/png", "application/pdf"]),
    st.binary(max_size=6).map(lambda b: base64.b64encode(b).decode()),
)
images = st.builds(
    Image,
    st.one_of(st.builds(Url, names.map(lambda name: f"https://a.test/{name}")), bases),
    st.sampled_from([None, "low", "high", "original"]),
)
documents = st.one_of(
    st.builds(Document, st.one_of(bases, st.builds(PlainText, texts)), texts),
    st.builds(Document, st.builds(FileId, st.just("openai"), names), st.none() | texts),
)
results = st.builds(
    ToolResult,
    names,
    st.lists(text.filter(lambda found: not found.text.startswith("[tool error] ")), max_size=3).map(tuple),
    st.booleans(),
)
calls = st.builds(ToolCall, names, names, st.sampled_from(["{}", '{"a": 1}', "not json"]))


def in_order(drawn: tuple[list[Text], list[Refusal], list[ToolCall]]) -> tuple[object, ...]:
    said, refusals, called = drawn
    return (*said, *refusals, *called)


def messages(role: Role, parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Message]:
    return parts.map(lambda found: Message(role, tuple(found)))


turns = st.lists(
    st.one_of(
        messages(Role.SYSTEM, st.lists(text, min_size=1, max_size=2)),
        messages(Role.DEVELOPER, st.lists(text, min_size=1, max_size=2)),
        messages(Role.USER, st.lists(st.one_of(text, images, documents), min_size=1, max_size=3)),
        messages(
            Role.ASSISTANT,
            st.tuples(
                st.lists(text, max_size=2),
                st.just([]) | st.builds(Refusal, texts).map(lambda refusal: [refusal]),
                st.lists(calls, max_size=2),
            )
            .filter(any)
            .map(in_order),
        ),
        messages(Role.TOOL, st.lists(results, min_size=1, max_size=2)),
    ),
    min_size=1,
    max_size=4,
).filter(lambda found: all((a.role, b.role) != (Role.TOOL, Role.TOOL) for a, b in pairwise(found)))
tools = st.lists(
    st.builds(Tool, names, schemas, st.none() | texts, st.none() | st.booleans()), min_size=1, max_size=2
)
choices = st.one_of(
    st.sampled_from(["auto", "none", "required"]).map(ToolChoice),
    names.map(lambda name: ToolChoice("named", name)),
)
formats = st.one_of(
    st.just(OutputFormat()), st.builds(OutputFormat, schemas, names, st.none() | texts, st.booleans())
)
EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh"]


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    fields: dict[str, Any] = {}
    if draw(st.booleans()):
        fields["tools"] = tuple(draw(tools))
        fields["tool_choice"] = draw(st.none() | choices)
        fields["parallel_tool_calls"] = draw(st.none() | st.booleans())
    said = [text for text in ("user", "safety_identifier", "prompt_cache_key") if draw(st.booleans())]
    return Conversation(
        messages=tuple(draw(turns)),
        stream=draw(st.booleans()),
        max_output_tokens=draw(st.none() | st.integers(1, 9)),
        temperature=draw(st.none() | st.floats(0, 2)),
        top_p=draw(st.none() | st.floats(0, 1)),
        stop=tuple(draw(st.lists(texts, max_size=2))),
        output_format=draw(st.none() | formats),
        thinking=draw(st.none() | st.sampled_from(EFFORTS).map(Thinking)),
        verbosity=draw(st.sampled_from([None, "low", "medium", "high"])),
        service_tier=draw(st.sampled_from([None, "auto", "default", "flex", "scale", "priority"])),
        prompt_cache_retention=draw(st.sampled_from([None, "in_memory", "24h"])),
        **{name: draw(texts) for name in said},
        **fields,
    )


counts = st.integers(0, 999)
sealed = st.one_of(
    st.builds(Reasoning, texts, st.builds(Opaque, st.just("anthropic"), names)),
    st.builds(Reasoning, st.just(""), st.builds(Opaque, st.just("anthropic"), names, st.just(True))),
    st.builds(
        Reasoning,
        st.text(max_size=9),
        st.builds(Opaque, st.just("openai"), names, st.just(False), st.none() | names),
    ),
)


@st.composite
def cited(draw: st.DrawFn) -> Text:
    text = draw(texts)
    citations = []
    for url in draw(st.lists(names, max_size=2)):
        start = draw(st.integers(0, len(text)))
        citations.append(
            Citation(url, draw(st.none() | texts), None, start, draw(st.integers(start, len(text))))
        )
    return Text(text, tuple(citations))


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    """Everything the wire can say, in its own order."""
    parts: list[Any] = draw(st.lists(sealed, max_size=2))
    if draw(st.booleans()):
        parts.append(Reasoning(draw(texts)))
    if draw(st.booleans()):
        parts.append(draw(cited()))
    if draw(st.booleans()):
        parts.append(Refusal(draw(texts)))
    ids = draw(st.lists(names, max_size=2, unique=True))
    parts += [ToolCall(id_, draw(names), draw(st.sampled_from(["{}", '{"a": "b"}']))) for id_ in ids]
    end = Stop.TOOL_CALLS if ids else Stop.END
    output = draw(counts)
    usage = Usage(
        draw(counts), output, draw(counts), draw(counts), min(output, draw(counts)), UsageSource.PROVIDER
    )
    return Answer(
        id="chatcmpl-" + draw(names),
        model=draw(names),
        created_s=draw(counts),
        parts=tuple(parts),
        stop=draw(st.sampled_from([end, Stop.MAX_TOKENS, Stop.REFUSED])),
        usage=draw(st.none() | st.just(usage)),
        service_tier=draw(st.sampled_from([None, "default", "priority"])),
    )
