"""Conversations and answers that the Anthropic wire can say without loss, in canonical form."""

import msgspec
from hypothesis import strategies as st

from triptych.core.conversation import (
    Answer,
    Base64,
    CacheHint,
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
from triptych.wires.anthropic_messages.reasoning import VENDOR

words = st.text(min_size=1, max_size=12)
names = st.text("abc_", min_size=1, max_size=5)
ids = names.map(lambda name: f"toolu_{name}")
urls = names.map(lambda name: f"https://example.com/{name}")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
objects = st.dictionaries(words, json_values, max_size=3).map(msgspec.json.encode)
no_objects = st.sampled_from(['{"a":', "[1]", "null", '"text"', "{} {}", "plain"])

hints = st.none() | st.builds(CacheHint, st.sampled_from([None, "5m", "1h"]))
files = st.builds(FileId, st.just(VENDOR), ids)
# White space alone is not sent.
texts = st.builds(Text, words.filter(lambda text: not text.isspace()), st.just(()), hints)
images = st.builds(
    Image,
    st.builds(Url, urls)
    | files
    | st.builds(Base64, st.sampled_from(["image/png", "image/jpeg"]), st.just("aGk=")),
    st.none(),
    hints,
)
documents = st.builds(
    Document,
    st.builds(Url, urls)
    | files
    | st.builds(PlainText, words)
    | st.builds(Base64, st.just("application/pdf"), st.just("aGk=")),
    st.none() | words,
    hints,
)
own_opaque = st.builds(Opaque, st.just(VENDOR), st.text("aZ9+/", min_size=1, max_size=9))
foreign_opaque = st.builds(Opaque, st.just("openai"), words, st.just(False), st.none() | names)
redacted = own_opaque.map(lambda opaque: Reasoning("", Opaque(VENDOR, opaque.data, redacted=True)))
own_reasoning = st.builds(Reasoning, st.just("") | words, own_opaque) | redacted
any_reasoning = (
    own_reasoning
    | st.builds(Reasoning, st.just("") | words, foreign_opaque)
    | st.builds(Reasoning, words, st.none())
)
calls = st.builds(ToolCall, ids, names, objects.map(bytes.decode) | no_objects, hints)
results = st.builds(
    ToolResult,
    ids,
    st.lists(texts | images | documents, max_size=3).map(tuple),
    st.booleans(),
    hints,
)


def _turn(role: Role, parts: st.SearchStrategy[object]) -> st.SearchStrategy[Message]:
    return st.lists(parts, min_size=1, max_size=3).map(lambda said: Message(role, tuple(said)))


turns = st.one_of(
    _turn(Role.USER, texts | images | documents),
    _turn(Role.ASSISTANT, texts | own_reasoning | calls),
    _turn(Role.TOOL, results),
)
systems = st.lists(_turn(Role.SYSTEM, texts), max_size=1)


def _canonical(messages: list[Message]) -> tuple[Message, ...]:
    kept: list[Message] = []
    for message in messages:
        if kept and message.role is kept[-1].role is not Role.USER:
            continue
        kept.append(message)
    return tuple(kept)


tools = st.builds(
    Tool,
    names,
    objects.map(
        lambda schema: msgspec.Raw(b'{"type":"object",' + (schema[1:] if schema != b"{}" else b'"a":1}'))
    ),
    st.none() | words,
    st.none() | st.booleans(),
    hints,
).map(lambda tool: msgspec.structs.replace(tool, any_schema=tool.strict is True))
thinkings = st.none() | st.builds(
    Thinking,
    st.sampled_from([None, "low", "medium", "high", "xhigh", "max"]),
    st.none() | st.integers(1024, 9999),
    st.none() | st.booleans(),
)
choices = st.none() | st.builds(ToolChoice, st.sampled_from(["auto", "none", "required"]))
choices |= st.builds(ToolChoice, st.just("named"), names)
ratios = st.none() | st.floats(0, 1)


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    messages = draw(systems) + list(_canonical(draw(st.lists(turns, min_size=1, max_size=5))))
    choice = draw(choices)
    may_be_single = choice is not None and choice.mode != "none"
    forced = choice is not None and choice.mode in ("required", "named")
    return Conversation(
        messages=tuple(messages),
        stream=draw(st.booleans()),
        max_output_tokens=draw(st.integers(1, 10**6)),
        temperature=draw(ratios),
        # 1 is not sent.
        top_p=draw(st.none() | st.floats(0, 1, exclude_max=True)),
        top_k=draw(st.none() | st.integers(0, 500)),
        stop=tuple(draw(st.lists(words, max_size=3))),
        tools=tuple(draw(st.lists(tools, max_size=2))),
        tool_choice=choice,
        parallel_tool_calls=False if may_be_single and draw(st.booleans()) else None,
        output_format=draw(st.none() | objects.map(lambda schema: OutputFormat(msgspec.Raw(schema)))),
        # The vendor does not think where it must use a tool.
        thinking=draw((st.none() if forced else thinkings) | st.just(Thinking("none"))),
        service_tier=draw(st.sampled_from([None, "auto", "default"])),
        cache=draw(hints),
    )


citations = st.builds(Citation, urls, st.none() | words, st.none() | words)
answer_parts = (
    st.builds(Text, words, st.lists(citations, max_size=2).map(tuple))
    | any_reasoning
    | st.builds(ToolCall, ids, names, objects.map(bytes.decode))
)
counts = st.integers(0, 10**6)
usages = st.none() | st.builds(
    Usage, counts, counts, counts, counts, st.just(0), st.just(UsageSource.PROVIDER)
)


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    stop = draw(st.sampled_from(list(Stop)))
    return Answer(
        id=draw(ids),
        model=draw(names),
        parts=tuple(draw(st.lists(answer_parts, max_size=4))),
        stop=stop,
        stop_sequence=draw(words) if stop is Stop.SEQUENCE else None,
        usage=draw(usages.filter(lambda usage: usage is not None)),
        service_tier=draw(st.sampled_from([None, "default", "priority"])),
    )
