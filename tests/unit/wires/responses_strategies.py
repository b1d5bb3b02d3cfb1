"""Conversations and answers that the Responses wire can say without loss, in canonical form."""

import base64
from typing import Any

from hypothesis import strategies as st

from tests.unit.wires.responses_bodies import SCHEMA
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
from triptych.wires.openai_conventions import ERROR_PREFIX

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
names = st.from_regex(r"[a-zA-Z0-9_-]{1,12}", fullmatch=True)
urls = names.map(lambda name: Url(f"https://a.test/{name}"))
base64s = st.binary(max_size=6).map(lambda data: base64.b64encode(data).decode())
files = st.builds(FileId, st.just("openai"), names)
images = st.builds(
    Image,
    st.one_of(urls, files, st.builds(Base64, st.sampled_from(["image/png", "image/webp"]), base64s)),
    st.sampled_from([None, "low", "high", "original"]),
)
documents = st.one_of(
    st.builds(Document, st.one_of(urls, files)),
    st.builds(Document, st.builds(Base64, st.just("application/pdf"), base64s), names),
    st.builds(Document, st.builds(PlainText, words), names),
)
texts = st.builds(Text, words)
citations = st.builds(
    Citation, names, st.one_of(st.none(), words), st.none(), st.integers(0, 9), st.integers(9, 99)
)
said = st.builds(Text, words, st.lists(citations, max_size=2).map(tuple))
reasonings = st.builds(
    Reasoning,
    st.one_of(st.just(""), words),
    st.builds(Opaque, st.just("openai"), names, st.just(False), st.one_of(st.none(), names)),
)
calls = st.builds(ToolCall, names, names, st.one_of(st.just("{}"), words))
unmarked = texts.filter(lambda text: not text.text.startswith(ERROR_PREFIX))
results = st.builds(
    ToolResult, names, st.lists(st.one_of(unmarked, images, documents), max_size=3).map(tuple), st.booleans()
)


def message(role: Role, *kinds: st.SearchStrategy[Any]) -> st.SearchStrategy[Message]:
    parts = st.lists(st.one_of(*kinds), min_size=1, max_size=4).map(tuple)
    return st.builds(Message, st.just(role), parts)


def turns(messages: list[Message]) -> tuple[Message, ...]:
    """What the assistant says, or tools return, in a row is one message."""
    joined: list[Message] = []
    for said_ in messages:
        if joined and joined[-1].role is said_.role and said_.role in (Role.ASSISTANT, Role.TOOL):
            joined[-1] = Message(said_.role, (*joined[-1].parts, *said_.parts))
        else:
            joined.append(said_)
    return tuple(joined)


conversations = st.builds(
    Conversation,
    messages=st.lists(
        st.one_of(
            message(Role.SYSTEM, texts),
            message(Role.DEVELOPER, texts),
            message(Role.USER, texts, images, documents),
            message(Role.ASSISTANT, said, st.builds(Refusal, words), reasonings, calls),
            message(Role.TOOL, results),
        ),
        max_size=6,
    ).map(turns),
    stream=st.booleans(),
    max_output_tokens=st.one_of(st.none(), st.integers(1, 10**6)),
    temperature=st.one_of(st.none(), st.floats(0, 2)),
    top_p=st.one_of(st.none(), st.floats(0, 1)),
    tools=st.lists(
        st.builds(Tool, names, st.just(SCHEMA), st.one_of(st.none(), words), st.booleans()), max_size=2
    ).map(tuple),
    tool_choice=st.one_of(
        st.none(),
        st.builds(ToolChoice, st.sampled_from(["auto", "none", "required"])),
        st.builds(ToolChoice, st.just("named"), names),
    ),
    parallel_tool_calls=st.sampled_from([None, True, False]),
    output_format=st.one_of(
        st.none(),
        st.just(OutputFormat()),
        st.builds(OutputFormat, st.just(SCHEMA), names, st.one_of(st.none(), words), st.booleans()),
    ),
    thinking=st.one_of(
        st.none(),
        st.just(Thinking(shown=True)),
        st.just(Thinking("none")),
        st.builds(
            Thinking,
            st.sampled_from(["minimal", "low", "medium", "high", "xhigh"]),
            st.none(),
            st.sampled_from([None, True]),
        ),
    ),
    verbosity=st.sampled_from([None, "low", "medium", "high"]),
    service_tier=st.sampled_from([None, "auto", "default", "flex", "scale", "priority"]),
    user=st.one_of(st.none(), names),
    safety_identifier=st.one_of(st.none(), names),
    prompt_cache_key=st.one_of(st.none(), names),
    prompt_cache_retention=st.sampled_from([None, "in_memory", "24h"]),
)
counts = st.integers(0, 10**6)
opaques = st.one_of(
    st.builds(Opaque, st.just("openai"), names, st.just(False), names.map(lambda name: "rs_" + name)),
    st.builds(Opaque, st.just("anthropic"), names, st.booleans()),
)
parts = st.lists(
    st.one_of(
        st.builds(Text, words, st.lists(citations, max_size=2).map(tuple)),
        st.builds(Refusal, words),
        st.builds(Reasoning, words, st.one_of(st.none(), opaques)),
        st.builds(Reasoning, st.just(""), opaques),
        st.builds(ToolCall, names, names, st.one_of(st.just(""), words)),
    ),
    max_size=6,
).map(tuple)
usages = st.builds(Usage, counts, st.just(10**6), counts, counts, counts, st.just(UsageSource.PROVIDER))


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    said = draw(parts)
    called = any(isinstance(part, ToolCall) for part in said)
    stops = [Stop.TOOL_CALLS if called else Stop.END, Stop.MAX_TOKENS, Stop.REFUSED]
    return Answer(
        id=draw(names),
        model=draw(names),
        created_s=draw(st.integers(1, 2**31)),
        parts=said,
        stop=draw(st.sampled_from(stops)),
        usage=draw(st.one_of(st.none(), usages)),
        service_tier=draw(st.sampled_from([None, "default", "flex", "priority"])),
    )
