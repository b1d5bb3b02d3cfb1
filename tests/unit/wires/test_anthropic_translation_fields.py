"""The table of fields against the vendor's own types, and the decoder against the table."""

import json
import types
import typing
from collections.abc import Iterator
from typing import Any

import pytest
import typing_extensions
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

from triptych.core.failure import Failure, FailureKind
from triptych.wires.anthropic_messages import EXPRESSES, FIELDS, LEAVES_OUT, decode_request, parse_request
from triptych.wires.anthropic_messages.fields import EXTENSION
from triptych.wires.translation import Feature, Field

BY_PATH = {field.path: field for field in FIELDS}
NOT_REPORTED = {"model", "metadata", "litellm_metadata", "proxy_server_request"}
TAGGED_BELOW = ("content[]", "source", "citations[]", "tools[]", "thinking", "tool_choice")
"""Where a variant's tag is part of the path (``thinking`` at top level only)."""


# What the vendor's types have.


def sdk_paths() -> Iterator[str]:
    yield from _members(MessageCreateParamsNonStreaming, "")


def _members(of: Any, path: str) -> Iterator[str]:
    for name, hint in typing.get_type_hints(of).items():
        if name == "type":
            continue
        inner = f"{path}.{name}" if path else name
        yield inner
        if _is_walked(inner):
            yield from _variants(hint, inner)


def _is_walked(path: str) -> bool:
    is_schema = path.endswith("input_schema")  # JSON schema, not a field of the wire
    return not is_schema and (path not in BY_PATH or BY_PATH[path].feature is not None)


def _variants(hint: Any, path: str) -> Iterator[str]:
    listed = [arg for arg in _flat(hint) if _is_list(arg)]
    for sequence in listed:
        yield from _variants(typing.get_args(sequence)[0], f"{path}[]")
    objects = [arg for arg in _flat(hint) if typing_extensions.is_typeddict(arg) and not _is_system(arg)]
    if len(objects) == 1:
        yield from _members(objects[0], path)
        return
    for one in objects:
        tag = _tag(one)
        if tag is None:
            yield from _members(one, path)
            continue
        yield f"{path}.{tag}"
        if _is_walked(f"{path}.{tag}"):
            yield from _members(one, f"{path}.{tag}")


def _is_system(of: Any) -> bool:
    """A message of the role ``system``: a request with one never comes so far."""
    return typing.get_args(typing.get_type_hints(of).get("role")) == ("system",)


def _flat(hint: Any) -> Iterator[Any]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        for arg in typing.get_args(hint):
            yield from _flat(arg)
    else:
        yield hint


def _is_list(hint: Any) -> bool:
    origin = typing.get_origin(hint)
    return isinstance(origin, type) and origin is not dict and hasattr(origin, "__iter__")


def _tag(of: Any) -> str | None:
    hint = typing.get_type_hints(of).get("type")
    literals = [arg for arg in _flat(hint) if typing.get_origin(arg) is typing.Literal]
    return typing.get_args(literals[0])[0] if literals else None


def test_every_field_of_the_vendors_types_is_in_the_table() -> None:
    assert sorted(set(sdk_paths()) - set(BY_PATH)) == []


def test_the_table_has_no_field_that_the_vendors_types_lack_unless_it_says_so() -> None:
    extensions = {field.path for field in FIELDS if field.note.startswith(EXTENSION)}
    extensions |= {"stream"}  # of the streaming variant of the same type
    assert sorted(set(BY_PATH) - set(sdk_paths()) - extensions) == []
    assert len(BY_PATH) == len(FIELDS)


def test_every_feature_is_expressed_left_out_or_known_to_be_refused() -> None:
    assert set(Feature) - set(EXPRESSES) - set(LEAVES_OUT) == {Feature.OUTPUT_JSON}


# What the decoder does with each field.

BLOCKS: dict[str, dict[str, Any]] = {
    "text": {"text": "hello"},
    "image": {"source": {"type": "url", "url": "https://example.com/a.png"}},
    "document": {"source": {"type": "url", "url": "https://example.com/a.pdf"}},
    "thinking": {"thinking": "hm", "signature": "c2ln"},
    "redacted_thinking": {"data": "ZGF0YQ"},
    "tool_use": {"id": "toolu_1", "name": "look", "input": {}},
    "tool_result": {"tool_use_id": "toolu_1"},
}
ASSISTANTS = {"thinking", "redacted_thinking", "tool_use"}
USED: dict[str, Any] = {
    "speed": "fast",
    "mcp_servers": [{"name": "a"}],
    "context_management": {"edits": []},
    "diagnostics": {"previous_message_id": None},
    "tools[].custom.input_schema": {"type": "object"},
}
"""A value that is not neutral, where it is not just any string."""


def request_with(path: str, value: Any) -> bytes:
    """A small request that has ``value`` at the path of a field."""
    body: dict[str, Any] = {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "hello"}],
    }
    where, _, rest = path.partition("[].")
    if not rest:
        head, _, name = path.rpartition(".")
        target = body
        for step in head.split(".") if head else ():
            target = target.setdefault(step, {})
        target[name] = value
        if head.endswith("cache_control"):
            target["type"] = "ephemeral"
    elif where == "tools":
        body["tools"] = [_object(rest, value, {"name": "look", "input_schema": {}}, {"custom": {}})]
    elif where == "system":
        body["system"] = [_object(f"text.{rest}", value, {}, BLOCKS)]
    else:
        rest = rest.removeprefix("content[].")
        block = _object(rest, value, {}, BLOCKS)
        role = "assistant" if block["type"] in ASSISTANTS else "user"
        body["messages"] = [{"role": role, "content": [block]}]
    return json.dumps(body).encode()


def _object(path: str, value: Any, base: dict[str, Any], variants: dict[str, Any]) -> dict[str, Any]:
    tag, _, rest = path.partition(".")
    made = {"type": tag} | base | json.loads(json.dumps(variants.get(tag, {})))
    if not rest:
        return made
    if rest.startswith("content[]."):
        made["content"] = [_object(rest.removeprefix("content[]."), value, {}, BLOCKS)]
    elif rest.startswith("source."):
        made["source"] = {"type": rest.split(".")[1]}
    elif rest.startswith("citations[]."):
        made["citations"] = [{"type": rest.split(".")[1]}]
    elif rest.startswith("cache_control."):
        made["cache_control"] = {"type": "ephemeral", rest.split(".")[1]: value}
    else:
        made[rest] = value
    return made


def param_of(path: str) -> str:
    """The path as the caller sees it: without tags of variants; for a variant, its ``type``."""
    steps = path.split(".")
    kept = [step for index, step in enumerate(steps) if not _is_tag(steps, index)]
    return ".".join(kept if kept[-1] == steps[-1] else [*kept, "type"])


def _is_tag(steps: list[str], index: int) -> bool:
    return index > 0 and steps[index - 1] in TAGGED_BELOW and (steps[index - 1] != "thinking" or index == 1)


def neutral_values(field: Field) -> list[Any]:
    _, found, words = field.note.partition("neutral: ")
    return json.loads(f"[{words}]") if found else []


REFUSED = [field for field in FIELDS if field.feature is None and not field.ignored]
IGNORED = [field for field in FIELDS if field.ignored and field.path not in NOT_REPORTED]
NEUTRAL = [(field, value) for field in REFUSED for value in neutral_values(field)]


@pytest.mark.parametrize("field", REFUSED, ids=lambda field: field.path)
def test_a_refused_field_is_named(field: Field) -> None:
    if field.path.startswith("thinking."):
        body = request_with("thinking", {"type": field.path.removeprefix("thinking.")})
    else:
        body = request_with(field.path, USED.get(field.path, "sample"))
    with pytest.raises(Failure) as caught:
        decode_request(body)
    assert (caught.value.kind, caught.value.param) == (
        FailureKind.UNSUPPORTED_PARAMETER,
        param_of(field.path),
    )
    assert param_of(field.path) in caught.value.message
    assert "sample" not in caught.value.message


@pytest.mark.parametrize(("field", "value"), NEUTRAL, ids=lambda one: getattr(one, "path", str(one)))
def test_a_neutral_value_of_a_refused_field_is_accepted(field: Field, value: Any) -> None:
    assert decode_request(request_with(field.path, value)).left_out == ()


@pytest.mark.parametrize("field", IGNORED, ids=lambda field: field.path)
def test_an_ignored_field_is_left_out_and_reported(field: Field) -> None:
    body = request_with(field.path, USED.get(field.path, "sample"))
    assert decode_request(body).left_out == (param_of(field.path),)


@pytest.mark.parametrize("path", sorted(NOT_REPORTED - {"model"}))
def test_fields_that_are_stripped_on_every_wire_are_accepted_whatever_they_hold(path: str) -> None:
    assert decode_request(request_with(path, {"user_id": "u"})).left_out == ()


def test_an_unknown_field_is_refused_by_its_path() -> None:
    with pytest.raises(Failure) as caught:
        decode_request(request_with("messages[].content[].text.colour", "red"))
    assert (caught.value.kind, caught.value.param) == (
        FailureKind.UNSUPPORTED_PARAMETER,
        "messages[].content[].colour",
    )


CACHED = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
CITED = {
    "type": "web_search_result_location",
    "url": "https://example.com",
    "title": "T",
    "cited_text": "so",
    "encrypted_index": "x",
}
RICH_TEXT = {"type": "text", "text": "hello", "citations": [CITED], "parsed_output": None, **CACHED}
RICH_IMAGES = [
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}, **CACHED},
    {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
    {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
]
RICH_DOCUMENTS = [
    {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
        "title": "T",
        **CACHED,
    },
    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}},
    {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
    {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
]
RICH_RESULT = {
    "type": "tool_result",
    "tool_use_id": "toolu_1",
    "content": [RICH_TEXT, *RICH_IMAGES, *RICH_DOCUMENTS],
    "is_error": True,
    **CACHED,
}
RICH: dict[str, Any] = {
    "model": "m",
    "max_tokens": 2048,
    "system": [RICH_TEXT],
    "messages": [
        {"role": "user", "content": [RICH_TEXT, *RICH_IMAGES, *RICH_DOCUMENTS]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "ZGF0YQ"},
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1}, **CACHED},
            ],
        },
        {"role": "user", "content": [RICH_RESULT]},
    ],
    "tools": [
        {
            "type": "custom",
            "name": "look",
            "description": "Looks.",
            "input_schema": {"type": "object"},
            "strict": True,
            **CACHED,
        }
    ],
    "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "summarized"},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    "stop_sequences": ["x"],
    "temperature": 1,
    "top_p": 0.9,
    "top_k": 5,
    "stream": True,
    "service_tier": "auto",
    **CACHED,
}
THINKINGS = [
    {"type": "adaptive", "display": "omitted"},
    {"type": "disabled"},
]
CHOICES = [
    {"type": "auto", "disable_parallel_tool_use": True},
    {"type": "any", "disable_parallel_tool_use": True},
    {"type": "tool", "name": "look", "disable_parallel_tool_use": True},
    {"type": "none"},
]


def body_paths(value: Any, path: str) -> Iterator[str]:
    """The paths of the table that a body uses."""
    if isinstance(value, list):
        for item in value:
            yield from body_paths(item, f"{path}[]")
    elif isinstance(value, dict) and not path.endswith(("schema", ".input")):
        step = path.rpartition(".")[2]
        if ("type" in value and step in TAGGED_BELOW) or path == "system[]":
            path = path if path == "system[]" else f"{path}.{value['type']}"
            yield path
        for name, inner in value.items():
            if name != "type":
                yield f"{path}.{name}" if path else name
                yield from body_paths(inner, f"{path}.{name}" if path else name)


def test_every_field_with_a_feature_is_accepted() -> None:
    bodies = [RICH, RICH | {"output_config": {}, "output_format": RICH["output_config"]["format"]}]
    bodies += [RICH | {"thinking": thinking} for thinking in THINKINGS]
    bodies += [RICH | {"tool_choice": choice} for choice in CHOICES]
    used: set[str] = set()
    for body in bodies:
        encoded = json.dumps(body).encode()
        parse_request(encoded, counting=False)
        decode_request(encoded)
        used.update(body_paths(body, ""))
    meant = {field.path for field in FIELDS if field.feature is not None}
    assert sorted(meant - used) == []
