"""The table of the Responses wire against the vendor's own types, and against what is really done."""

import collections.abc
import json
import sys
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
import pytest
from openai.types.responses import response_create_params
from openai.types.responses.response_includable import ResponseIncludable
from typing_extensions import get_type_hints, is_typeddict

from triptych.core.conversation import (
    Citation,
    Conversation,
    Document,
    FileId,
    Image,
    Message,
    Opaque,
    Part,
    Reasoning,
    Role,
    Text,
    Url,
)
from triptych.core.failure import Failure, FailureKind
from triptych.wires.governed_fields import STRIPPED_FIELDS
from triptych.wires.openai_responses import EXPRESSES, FIELDS, LEAVES_OUT, decode_request, encode_request
from triptych.wires.translation import Feature, Inexpressible

BY_PATH = {field.path: field for field in FIELDS}
REFUSED = {field.path for field in FIELDS if field.feature is None and not field.ignored}
IGNORED = {field.path for field in FIELDS if field.ignored}
EXTENSIONS = {field.path for field in FIELDS if field.note.startswith("extension")}
SILENT = {*STRIPPED_FIELDS, "store"}
# Every variant that is taken: one that the vendor adds has to be put here or in the table.
TAKEN = {
    "direct",
    "function",
    "function_call",
    "function_call_output",
    "input_file",
    "input_image",
    "input_text",
    "json_object",
    "json_schema",
    "message",
    "output_text",
    "reasoning",
    "reasoning_text",
    "refusal",
    "summary_text",
    "text",
    "url_citation",
}

HELLO = {"type": "message", "role": "user", "content": "hello"}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
SAID = {"type": "output_text", "text": "hi"}


def asked(**fields: object) -> bytes:
    return json.dumps({"model": "m", "input": [HELLO], **fields}).encode()


def with_item(item: dict[str, object]) -> bytes:
    return asked(input=[HELLO, item])


def with_tool(**fields: object) -> bytes:
    return asked(tools=[{"type": "function", "name": "f", "parameters": {"type": "object"}, **fields}])


def answered(part: dict[str, object]) -> bytes:
    return with_item({"role": "assistant", "content": [part]})


def cited(type_: str) -> bytes:
    return answered({**SAID, "annotations": [{"type": type_, "file_id": "f", "filename": "a", "index": 0}]})


USES: dict[str, bytes] = {
    "access_programs": asked(access_programs={"cyber": "standard"}),
    "background": asked(background=True),
    "background_options": asked(background_options={"completion_window": "2h"}),
    "context_management": asked(context_management=[{"type": "compaction"}]),
    "conversation": asked(conversation="conv_1"),
    "image": asked(image={"context_compression": "enabled"}),
    "moderation": asked(moderation={"model": "omni-moderation-latest"}),
    "previous_response_id": asked(previous_response_id="resp_1"),
    "prompt": asked(prompt={"id": "pmpt_1"}),
    "top_logprobs": asked(top_logprobs=2),
    "truncation": asked(truncation="auto"),
    "reasoning.context": asked(reasoning={"context": "all_turns"}),
    "reasoning.mode": asked(reasoning={"mode": "pro"}),
    "include[]=message.output_text.logprobs": asked(include=["message.output_text.logprobs"]),
    "tools[].allowed_callers": with_tool(allowed_callers=["programmatic"]),
    "tools[].async": with_tool(**{"async": True}),
    "tools[].defer_loading": with_tool(defer_loading=True),
    "tools[].output_schema": with_tool(output_schema={"type": "object"}),
    "input[].async": with_item({**CALL, "async": True}),
    "input[].namespace": with_item({**CALL, "namespace": "n"}),
    "input[].caller.type=program": with_item({**CALL, "caller": {"type": "program"}}),
    **{
        path: asked(tools=[{"type": path.partition("=")[2]}])
        for path in REFUSED
        if path.startswith("tools[].type=")
    },
    **{
        path: asked(tool_choice={"type": path.partition("=")[2]})
        for path in REFUSED
        if path.startswith("tool_choice.type=")
    },
    **{
        path: with_item({"type": path.partition("=")[2]})
        for path in REFUSED
        if path.startswith("input[].type=")
    },
}
# A neutral value of a refused field, beside null.
NEUTRAL: dict[str, bytes] = {
    "background": asked(background=False),
    "top_logprobs": asked(top_logprobs=0),
    "truncation": asked(truncation="disabled"),
    "reasoning.context": asked(reasoning={"context": "auto"}),
    "reasoning.mode": asked(reasoning={"mode": "standard"}),
    "include": asked(include=["reasoning.encrypted_content"]),
}
IGNORING: dict[str, tuple[bytes, bytes]] = {
    "stream_options.include_obfuscation": (
        asked(stream_options={"include_obfuscation": False}),
        asked(),
    ),
    "max_tool_calls": (asked(max_tool_calls=3), asked()),
    "prompt_cache_options": (asked(prompt_cache_options={"mode": "explicit"}), asked()),
    "client_metadata": (asked(client_metadata={"a": "b"}), asked()),
    "metadata": (asked(metadata={"user_id": "u"}), asked()),
    "litellm_metadata": (asked(litellm_metadata={"a": 1}), asked()),
    "proxy_server_request": (asked(proxy_server_request={}), asked()),
    "store": (asked(store=True), asked()),
    "input[].phase": (
        with_item({"role": "assistant", "content": "hi", "phase": "commentary"}),
        with_item({"role": "assistant", "content": "hi"}),
    ),
    "input[].content[].logprobs": (answered({**SAID, "logprobs": []}), answered(SAID)),
    "input[].content[].annotations[].type=file_citation": (cited("file_citation"), answered(SAID)),
    "input[].content[].annotations[].type=file_path": (cited("file_path"), answered(SAID)),
    "input[].content[].annotations[].type=container_file_citation": (
        cited("container_file_citation"),
        answered(SAID),
    ),
}


def variants(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from variants(member)
    else:
        yield annotation


def tags(hints: dict[str, Any]) -> tuple[str, ...]:
    found = [hint for hint in variants(hints.get("type")) if get_origin(hint) is Literal]
    return get_args(found[0]) if found else ()


def paths(annotation: Any, path: str = "") -> Iterator[str]:
    """Every field of the vendor's schema; not what is below a field or variant that is not taken."""
    for variant in variants(annotation):
        origin = get_origin(variant)
        if is_typeddict(variant):
            hints = get_type_hints(variant, vars(sys.modules[variant.__module__]))
            untaken = [tag for tag in tags(hints) if tag not in TAKEN]
            if untaken:
                yield from (f"{path}.type={tag}" for tag in untaken)
                continue
            for name, hint in hints.items():
                below = f"{path}.{name}" if path else name
                yield below
                if below not in REFUSED | IGNORED:
                    yield from paths(hint, below)
        elif isinstance(origin, type) and issubclass(origin, collections.abc.Iterable) and origin is not dict:
            yield from paths(get_args(variant)[0], f"{path}[]")
        elif path == "include[]" and origin is Literal:
            yield from (f"{path}={word}" for word in get_args(variant) if f"{path}={word}" in REFUSED)


SCHEMA = set(paths(response_create_params.ResponseCreateParamsStreaming))


def refusal(body: bytes) -> Failure:
    with pytest.raises(Failure) as raised:
        decode_request(body)
    return raised.value


def test_every_field_of_the_vendors_schema_is_in_the_table() -> None:
    assert len(SCHEMA) > 140
    assert sorted(SCHEMA - set(BY_PATH)) == []


def test_the_table_has_no_field_that_the_vendor_does_not_have() -> None:
    assert sorted(set(BY_PATH) - SCHEMA - EXTENSIONS) == []
    assert sorted(EXTENSIONS & SCHEMA) == []


def test_no_field_is_in_the_table_twice() -> None:
    assert len(BY_PATH) == len(FIELDS)


def test_every_refused_and_every_ignored_field_has_a_request_that_uses_it() -> None:
    assert set(USES) == REFUSED
    assert set(IGNORING) == IGNORED


@pytest.mark.parametrize("path", sorted(USES))
def test_a_refused_field_is_named(path: str) -> None:
    failure = refusal(USES[path])
    assert failure.kind is FailureKind.UNSUPPORTED_PARAMETER
    expected = path.partition("=")[0].removesuffix("[]")
    assert failure.param == ("input[].caller" if expected == "input[].caller.type" else expected)
    assert failure.message.startswith(failure.param)


@pytest.mark.parametrize("path", sorted(NEUTRAL))
def test_a_neutral_value_asks_for_nothing(path: str) -> None:
    assert decode_request(NEUTRAL[path]) == decode_request(asked())


@pytest.mark.parametrize("name", sorted(path for path in REFUSED if path.isidentifier()))
def test_null_asks_for_nothing(name: str) -> None:
    assert decode_request(asked(**{name: None})) == decode_request(asked())


def test_neutral_values_of_tools_and_items_ask_for_nothing() -> None:
    neutral = {"allowed_callers": ["direct"], "async": False, "defer_loading": False, "output_schema": None}
    assert repr(decode_request(with_tool(**neutral)).tools[0].name) == "'f'"
    item = {**CALL, "async": False, "namespace": None, "caller": {"type": "direct"}}
    assert decode_request(with_item(item)) == decode_request(with_item(CALL))


def test_what_server_tools_do_includes_nothing() -> None:
    (literal,) = variants(ResponseIncludable)
    for word in get_args(literal):
        if f"include[]={word}" not in REFUSED:
            assert decode_request(asked(include=[word])) == decode_request(asked())


@pytest.mark.parametrize("path", sorted(IGNORED))
def test_an_ignored_field_is_left_out_and_reported(path: str) -> None:
    with_field, without = map(decode_request, IGNORING[path])
    assert with_field.left_out == (() if path in SILENT else (path.partition(".type=")[0],))
    assert msgspec.structs.replace(with_field, left_out=()) == without


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (asked(brand_new={"secret": 1}), "brand_new"),
        (with_item({**CALL, "glow": True}), "input[].glow"),
        (answered({**SAID, "glow": True}), "input[].content[].glow"),
        (with_tool(glow=1), "tools[].glow"),
        (asked(reasoning={"glow": 1}), "reasoning.glow"),
        (asked(text={"format": {"type": "grammar"}}), "text.format.type"),
    ],
)
def test_a_field_that_nobody_knows_is_refused_by_its_path(body: bytes, param: str) -> None:
    failure = refusal(body)
    assert (failure.kind, failure.param) == (FailureKind.UNSUPPORTED_PARAMETER, param)
    assert "secret" not in failure.message


def test_a_field_of_another_type_of_item_is_refused() -> None:
    failure = refusal(with_item({"role": "user", "content": "x", "arguments": "{}"}))
    assert (failure.kind, failure.param) == (FailureKind.UNSUPPORTED_PARAMETER, "input[].arguments")


def of(*parts: Part, role: Role = Role.USER, **fields: Any) -> Conversation:
    return Conversation(messages=(Message(role, parts),), **fields)


NOT_EXPRESSED: dict[Feature, Conversation] = {
    Feature.TOP_K: of(Text("x"), top_k=5),
    Feature.STOP: of(Text("x"), stop=("end",)),
}
LEFT_OUT: dict[Feature, Conversation] = {
    Feature.REASONING: of(Text("x"), Reasoning("hm", Opaque("anthropic", "sig")), role=Role.ASSISTANT),
    Feature.DOCUMENT_NAME: of(Document(Url("https://a.test/x"), "hm.pdf")),
}


def test_a_feature_is_expressed_or_left_out_or_refused() -> None:
    assert set(EXPRESSES) & set(LEAVES_OUT) == {Feature.DOCUMENT_NAME}
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
    assert encoded.left_out == (feature,)
    assert b"hm" not in encoded.body and b"sig" not in encoded.body


@pytest.mark.parametrize(
    ("part", "feature"),
    [
        (Image(FileId("anthropic", "file_1")), Feature.IMAGE_FILE),
        (Document(FileId("anthropic", "file_1")), Feature.DOCUMENT_FILE),
    ],
)
def test_a_file_that_another_vendor_keeps_is_refused(part: Part, feature: Feature) -> None:
    with pytest.raises(Inexpressible) as raised:
        encode_request(of(part), "m")
    assert raised.value.feature is feature


def test_a_citation_keeps_its_page() -> None:
    text = Text("as said", (Citation("https://a.test", "A", "words", 0, 2),))
    body = encode_request(of(text, role=Role.ASSISTANT), "m").body
    (message,) = decode_request(body).messages
    assert message.parts == (Text("as said", (Citation("https://a.test", "A", None, 0, 2),)),)
