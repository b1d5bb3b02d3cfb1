"""The table of the chat wire against the vendor's own types, and against what is really done."""

import collections.abc
import json
import re
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParams
from typing_extensions import get_type_hints, is_typeddict

from triptych.core.conversation import (
    Base64,
    Citation,
    Conversation,
    Document,
    FileId,
    Image,
    Message,
    Opaque,
    PlainText,
    Reasoning,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Url,
)
from triptych.core.failure import Failure, FailureKind
from triptych.wires.governed_fields import STRIPPED_FIELDS
from triptych.wires.openai_chat import EXPRESSES, FIELDS, LEAVES_OUT, decode_request, encode_request
from triptych.wires.openai_chat.fields import NEUTRAL
from triptych.wires.translation import Feature, Inexpressible

BY_PATH = {field.path: field for field in FIELDS}
REFUSED = {field.path for field in FIELDS if field.feature is None and not field.ignored}
IGNORED = {field.path for field in FIELDS if field.ignored}
EXTENSIONS = {field.path for field in FIELDS if field.note.startswith("extension")}

HELLO = {"role": "user", "content": "hello"}


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ANSWER = {"role": "assistant", "content": "x", "tool_calls": [CALL]}
OF_GOOGLE = {"google": {"thought_signature": "AAAA"}}


def asked(**fields: object) -> bytes:
    return json.dumps({"model": "m", "messages": [HELLO], **fields}).encode()


def saying(message: dict[str, object]) -> bytes:
    return asked(messages=[HELLO, message])


def with_part(part: dict[str, object]) -> bytes:
    return asked(messages=[{"role": "user", "content": [part]}])


USES: dict[str, bytes] = {
    "messages[].role=function": saying({"role": "function", "name": "f", "content": "x"}),
    "messages[].content[].type=input_audio": with_part(
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
    ),
    "messages[].tool_calls[].type=custom": saying(
        {
            "role": "assistant",
            "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f", "input": ""}}],
        }
    ),
    "messages[].audio": saying({"role": "assistant", "content": "x", "audio": {"id": "audio_1"}}),
    "messages[].function_call": saying(
        {"role": "assistant", "content": "x", "function_call": {"name": "f", "arguments": "{}"}}
    ),
    "tools[].type=custom": asked(tools=[{"type": "custom", "custom": {"name": "f"}}]),
    "tool_choice.type=allowed_tools": asked(
        tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}
    ),
    "tool_choice.type=custom": asked(tool_choice={"type": "custom", "custom": {"name": "f"}}),
    "audio": asked(audio={"voice": "alloy", "format": "wav"}),
    "frequency_penalty": asked(frequency_penalty=0.5),
    "function_call": asked(function_call="auto"),
    "functions": asked(functions=[{"name": "f"}]),
    "logit_bias": asked(logit_bias={"50256": -100}),
    "logprobs": asked(logprobs=True),
    "modalities": asked(modalities=["text", "audio"]),
    "moderation": asked(moderation={"model": "omni-moderation-latest"}),
    "n": asked(n=2),
    "prediction": asked(prediction={"type": "content", "content": "x"}),
    "presence_penalty": asked(presence_penalty=-1),
    "seed": asked(seed=7),
    "store": asked(store=True),
    "top_logprobs": asked(top_logprobs=3),
    "web_search_options": asked(web_search_options={}),
}


def variants(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from variants(member)
    else:
        yield annotation


def tag(hints: dict[str, Any]) -> str | None:
    """How a table names a variant by its tag, such as ``type=custom``."""
    for name in ("type", "role"):
        hint = hints.get(name)
        if get_origin(hint) is Literal and len(get_args(hint)) == 1:
            return f"{name}={get_args(hint)[0]}"
    return None


def paths(annotation: Any, path: str = "") -> Iterator[str]:
    """Every field of the vendor's schema; not what is below a field or variant that is not taken."""
    for variant in variants(annotation):
        origin = get_origin(variant)
        if is_typeddict(variant):
            hints = get_type_hints(variant)
            named = f"{path}.{tag(hints)}"
            if named in REFUSED:
                yield named
                continue
            for name, hint in hints.items():
                below = f"{path}.{name}" if path else name
                yield below
                if below not in REFUSED | IGNORED:
                    yield from paths(hint, below)
        elif isinstance(origin, type) and issubclass(origin, collections.abc.Iterable) and origin is not dict:
            yield from paths(get_args(variant)[0], f"{path}[]")


SCHEMA = set(paths(CompletionCreateParams))


def refusal(body: bytes) -> Failure:
    with pytest.raises(Failure) as raised:
        decode_request(body)
    return raised.value


def test_every_field_of_the_vendors_schema_is_in_the_table() -> None:
    assert len(SCHEMA) > 60
    assert sorted(SCHEMA - set(BY_PATH)) == []


def test_the_table_has_no_field_that_the_vendor_does_not_have() -> None:
    assert sorted(set(BY_PATH) - SCHEMA - EXTENSIONS) == []
    assert sorted(EXTENSIONS & SCHEMA) == []


def test_no_field_is_in_the_table_twice() -> None:
    assert len(BY_PATH) == len(FIELDS)


def test_every_refused_field_has_a_request_that_uses_it() -> None:
    assert set(USES) == REFUSED


@pytest.mark.parametrize("path", sorted(USES))
def test_a_refused_field_is_named(path: str) -> None:
    failure = refusal(USES[path])
    assert failure.kind is FailureKind.UNSUPPORTED_PARAMETER
    assert re.sub(r"\[\d+\]", "[]", failure.param or "") == path.partition("=")[0]
    assert failure.message.startswith(failure.param or "?")


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in NEUTRAL.items() for value in (None, *values)],
)
def test_a_neutral_value_asks_for_nothing(name: str, value: object) -> None:
    assert decode_request(asked(**{name: value})) == decode_request(asked())


def test_every_top_level_field_with_neutral_values_is_refused_with_others() -> None:
    assert {path for path in REFUSED if not re.search(r"[.\[]", path)} == set(NEUTRAL)


@pytest.mark.parametrize("name", ["name", "audio", "function_call"])
def test_a_null_in_a_message_asks_for_nothing(name: str) -> None:
    message = {"role": "assistant", "content": "x"}
    assert decode_request(saying({**message, name: None})) == decode_request(saying(message))


@pytest.mark.parametrize("path", sorted(IGNORED))
def test_an_ignored_field_is_left_out_and_reported(path: str) -> None:
    name, _, inner = path.partition(".")
    with_it: dict[str, bytes] = {
        "messages[].extra_content": saying({**ANSWER, "extra_content": OF_GOOGLE}),
        "messages[].tool_calls[].extra_content": saying(
            {**ANSWER, "tool_calls": [{**CALL, "extra_content": OF_GOOGLE}]}
        ),
        "stream_options.include_obfuscation": asked(stream_options={inner: False}),
    }
    body = with_it.get(path) or asked(**{name: {"mode": "implicit"}})
    conversation = decode_request(body)
    assert conversation.left_out == (() if path in STRIPPED_FIELDS else (path,))
    without = saying(ANSWER) if name == "messages[]" else asked()
    assert msgspec.structs.replace(conversation, left_out=()) == decode_request(without)


def test_a_field_that_nobody_knows_is_refused_by_its_name() -> None:
    failure = refusal(asked(brand_new={"secret": 1}))
    assert (failure.kind, failure.param) == (FailureKind.UNSUPPORTED_PARAMETER, "brand_new")
    nested = refusal(with_part({"type": "text", "text": "hi", "glow": True}))
    assert (nested.kind, nested.param) == (FailureKind.UNSUPPORTED_PARAMETER, "messages[].content[].glow")


LOW = {"reasoning_effort": "low"}


@pytest.mark.parametrize(
    ("fields", "thinking"),
    [
        ({"reasoning": None}, None),
        ({"reasoning": {}}, None),
        ({"reasoning": {"exclude": True}}, None),
        ({"reasoning": {"exclude": True, "summary": "auto"}}, None),
        ({"reasoning": {"effort": "high"}}, Thinking("high")),
        ({"reasoning": {"effort": "low", "exclude": False}, **LOW}, Thinking("low")),
        ({"reasoning": {"effort": "high", "exclude": True}}, Thinking("high", shown=False)),
        ({"reasoning": {"max_tokens": 2000}}, Thinking(budget_tokens=2000)),
        ({"reasoning": {"enabled": True}}, Thinking()),
        ({"reasoning": {"enabled": False}}, Thinking("none")),
        ({"reasoning": {"summary": "detailed"}}, Thinking(shown=True)),
        ({"reasoning": {"summary": "auto"}, **LOW}, Thinking("low", shown=True)),
    ],
)
def test_reasoning_is_asked_for_by_either_of_two_names(
    fields: dict[str, object], thinking: Thinking | None
) -> None:
    assert decode_request(asked(**fields)).thinking == thinking


@pytest.mark.parametrize(
    "options", [{"effort": "high"}, {"enabled": False}, {"effort": "none", "enabled": True, "max_tokens": 9}]
)
def test_two_names_that_say_different_things_are_refused(options: dict[str, object]) -> None:
    failure = refusal(asked(reasoning=options, **LOW))
    assert (failure.kind, failure.param) == (FailureKind.INVALID_BODY, "reasoning")


def of(*parts: object, role: Role = Role.USER, **fields: Any) -> Conversation:
    return Conversation(messages=(Message(role, parts),), **fields)  # type: ignore[arg-type]


PNG = Base64("image/png", "AA==")
NOT_EXPRESSED: dict[Feature, Conversation] = {
    Feature.TOP_K: of(Text("x"), top_k=5),
    Feature.IMAGE_FILE: of(Image(FileId("openai", "file-1"))),
    Feature.DOCUMENT_URL: of(Document(Url("https://a.test/a.pdf"))),
    Feature.TOOL_RESULT_IMAGE: of(ToolResult("c", (Image(PNG),)), role=Role.TOOL),
    Feature.TOOL_RESULT_DOCUMENT: of(ToolResult("c", (Document(PlainText("x")),)), role=Role.TOOL),
}
LEFT_OUT: dict[Feature, Conversation] = {
    Feature.REASONING: of(Reasoning("hm"), ToolCall("c", "f", "{}"), role=Role.ASSISTANT),
    Feature.REASONING_OPAQUE: of(Reasoning("", Opaque("anthropic", "sig")), role=Role.ASSISTANT),
    Feature.THINKING_SHOWN: of(Text("x"), thinking=Thinking(shown=True)),
    Feature.CITATION: of(Text("x", (Citation("https://a.test"),)), role=Role.ASSISTANT),
}


def test_a_feature_is_expressed_or_left_out_or_refused() -> None:
    assert not set(EXPRESSES) & set(LEAVES_OUT)
    assert set(NOT_EXPRESSED) == set(Feature) - set(EXPRESSES) - set(LEAVES_OUT)
    assert set(LEFT_OUT) == set(LEAVES_OUT)


@pytest.mark.parametrize("feature", sorted(NOT_EXPRESSED))
def test_what_the_wire_has_nothing_for_is_refused_by_name(feature: Feature) -> None:
    with pytest.raises(Inexpressible) as raised:
        encode_request(NOT_EXPRESSED[feature], "m")
    assert raised.value.feature is feature


@pytest.mark.parametrize("feature", sorted(LEFT_OUT))
def test_what_is_left_out_is_reported(feature: Feature) -> None:
    encoded = encode_request(LEFT_OUT[feature], "m")
    assert feature in encoded.left_out
    assert set(encoded.left_out) <= set(LEAVES_OUT)
    assert b"hm" not in encoded.body and b"sig" not in encoded.body and b"a.test" not in encoded.body


def test_another_vendors_file_and_tier_are_refused() -> None:
    with pytest.raises(Inexpressible, match="document by file id: the file is kept by another vendor"):
        encode_request(of(Document(FileId("anthropic", "file_1"))), "m")
    with pytest.raises(Inexpressible, match="service tier"):
        encode_request(of(Text("x"), service_tier="batch"), "m")
