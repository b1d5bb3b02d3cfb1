"""What counts as which feature, and that nothing slips past the first look at the bytes."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.core.failure import Failure, FailureKind
from triptych.settings.tree import FEATURES as ALLOWED
from triptych.wires import features
from triptych.wires.features import FEATURES, TABLE, UNINSPECTABLE, uses

MESSAGES, CHAT, RESPONSES = "anthropic-messages", "openai-chat", "openai-responses"
USER = {"role": "user", "content": "hello"}


def found(wire: str, body: dict[str, Any]) -> set[str]:
    return {use.feature for use in uses(wire, json.dumps(body).encode())}


def said(*content: dict[str, Any]) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": list(content)}]}


TEXT = {"type": "text", "text": 'a "tools" word and "type": "image"'}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}


def test_the_features_of_the_table_are_those_an_org_can_be_allowed() -> None:
    assert set(FEATURES) == set(ALLOWED)
    assert {rule.feature for rules in TABLE.values() for rule in rules} <= {*FEATURES, None}


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "messages": [USER]},
        said(TEXT),
        {"messages": [USER], "tools": [{"name": "t", "input_schema": {"type": "object"}}]},
        {"messages": [USER], "tools": [{"type": "custom", "name": "t", "input_schema": {}}]},
        {"messages": [USER], "tools": [{"type": "memory_20250818", "name": "memory"}]},
        {"messages": [USER], "mcp_servers": [], "container": None},
        said({"type": "tool_use", "id": "t", "name": "n", "input": {"type": "image", "file_id": "f"}}),
        said({"type": "tool_result", "tool_use_id": "t", "content": [TEXT]}),
        said({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}),
        said({"type": "document", "source": {"type": "content", "content": [TEXT]}}),
        said({"type": "search_result", "source": "https://a", "title": "t", "content": [TEXT]}),
    ],
)
def test_text_and_tools_of_the_callers_own_use_nothing(body: dict[str, Any]) -> None:
    assert found(MESSAGES, body) == set()


@pytest.mark.parametrize(
    ("wire", "body", "feature"),
    [
        (MESSAGES, {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search"),
        (MESSAGES, {"tools": [{"type": "web_search_29990101", "name": "web_search"}]}, "web_search"),
        (MESSAGES, {"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}, "web_fetch"),
        (MESSAGES, {"tools": [{"type": "code_execution_20250825"}]}, "code_execution"),
        (MESSAGES, {"container": "container_1"}, "code_execution"),
        (MESSAGES, {"tools": [{"type": "computer_20250124"}]}, "computer_use"),
        (MESSAGES, {"tools": [{"type": "bash_20250124"}]}, "computer_use"),
        (MESSAGES, {"tools": [{"type": "text_editor_20250728"}]}, "computer_use"),
        (MESSAGES, {"tools": [{"type": "mcp_toolset", "mcp_server_name": "s"}]}, "mcp_connector"),
        (MESSAGES, {"mcp_servers": [{"type": "url", "url": "https://m", "name": "m"}]}, "mcp_connector"),
        (MESSAGES, {"tools": [{"type": "time_travel_20990101"}]}, "time_travel_20990101"),
        (MESSAGES, {"fallbacks": [{"tools": [{"type": "web_search_20250305"}]}]}, "web_search"),
        (MESSAGES, said(IMAGE), UNINSPECTABLE),
        (MESSAGES, said({"type": "tool_result", "tool_use_id": "t", "content": [IMAGE]}), UNINSPECTABLE),
        (
            MESSAGES,
            said({"type": "document", "source": {"type": "content", "content": [IMAGE]}}),
            UNINSPECTABLE,
        ),
        (MESSAGES, said({"type": "document", "source": {"type": "url", "url": "https://d"}}), UNINSPECTABLE),
        (MESSAGES, said({"type": "hologram", "data": "AAAA"}), UNINSPECTABLE),
        (MESSAGES, {"system": [{"type": "hologram"}]}, UNINSPECTABLE),
        (MESSAGES, said({"type": "container_upload", "file_id": "file_1"}), "files"),
        (MESSAGES, said({"type": "image", "source": {"type": "file", "file_id": "file_1"}}), "files"),
        (CHAT, {"web_search_options": {}, "messages": [USER]}, None),
        (CHAT, {"web_search_options": {"search_context_size": "low"}}, "web_search"),
        (CHAT, said({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}), UNINSPECTABLE),
        (CHAT, said({"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}), UNINSPECTABLE),
        (CHAT, said({"type": "file", "file": {"file_id": "file-1"}}), "files"),
        (CHAT, {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}, UNINSPECTABLE),
        (CHAT, {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}, None),
        (RESPONSES, {"input": "hello", "tools": [{"type": "function", "name": "f"}]}, None),
        (RESPONSES, {"tools": [{"type": "web_search"}]}, "web_search"),
        (RESPONSES, {"tools": [{"type": "web_search_preview_2025_03_11"}]}, "web_search"),
        (RESPONSES, {"tools": [{"type": "file_search", "vector_store_ids": ["v"]}]}, "files"),
        (
            RESPONSES,
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
            "code_execution",
        ),
        (RESPONSES, {"tools": [{"type": "mcp", "server_label": "m"}]}, "mcp_connector"),
        (RESPONSES, {"tools": [{"type": "computer_use_preview"}]}, "computer_use"),
        (RESPONSES, {"tools": [{"type": "namespace", "tools": [{"type": "shell"}]}]}, "computer_use"),
        (RESPONSES, {"tools": [{"type": "image_generation"}]}, UNINSPECTABLE),
        (RESPONSES, {"prompt": {"id": "pmpt_1"}}, UNINSPECTABLE),
        (
            RESPONSES,
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "https://i"}]}]},
            UNINSPECTABLE,
        ),
        (RESPONSES, {"input": [{"type": "item_reference", "id": "msg_1"}]}, UNINSPECTABLE),
        (
            RESPONSES,
            {"input": [{"type": "function_call_output", "output": [{"type": "input_file", "file_id": "f"}]}]},
            "files",
        ),
    ],
)
def test_what_is_more_than_text_is_named(wire: str, body: dict[str, Any], feature: str | None) -> None:
    assert (feature in found(wire, body)) if feature else found(wire, body) == set()


@pytest.mark.parametrize("media_type", ["text/plain", "application/json", "text/csv; charset=utf-8"])
def test_a_text_in_base64_uses_nothing_but_what_stands_beside_it(media_type: str) -> None:
    source = {"type": "base64", "media_type": media_type, "data": "aGk="}
    url = f"data:{media_type};base64,aGk="
    parts: tuple[tuple[str, str, dict[str, Any]], ...] = (
        (MESSAGES, "messages", {"type": "document", "source": source}),
        (CHAT, "messages", {"type": "file", "file": {"file_data": url}}),
        (RESPONSES, "input", {"type": "input_file", "file_data": url}),
    )
    for wire, turns, part in parts:
        assert found(wire, {turns: [{"role": "user", "content": [part]}]}) == set()
        beside = {**part, "content": [{"type": "container_upload", "file_id": "f"}]}
        assert found(wire, {turns: [{"role": "user", "content": [beside]}]}) & {"files", UNINSPECTABLE}
    for part in ({"type": "image", "source": source}, {"type": "x", "source": source}):
        assert found(MESSAGES, {"messages": [{"role": "user", "content": [part]}]}) == {UNINSPECTABLE}
    picture = {"type": "document", "source": {**source, "media_type": "image/png"}}
    assert found(MESSAGES, {"messages": [{"role": "user", "content": [picture]}]}) == {UNINSPECTABLE}


def test_a_use_says_where_it_is() -> None:
    body = {"messages": [USER, {"role": "user", "content": [TEXT, IMAGE]}]}
    (use,) = uses(MESSAGES, json.dumps(body).encode())
    assert use.path == ("messages", 1, "content", 1, "source")


def test_names_spelled_with_escapes_are_seen() -> None:
    body = b'{"messages":[],"\\u0074ools":[{"\\u0074ype":"web_search_20250305","name":"w"}]}'
    assert [use.feature for use in uses(MESSAGES, body)] == ["web_search"]
    spaced = b'{"messages":[{"role":"user","content":[{"type" \n:\t"image","source":{"type" : "url"}}]}]}'
    assert [use.feature for use in uses(MESSAGES, spaced)] == [UNINSPECTABLE]


_NAMES = st.sampled_from(
    ["tools", "type", "content", "source", "messages", "system", "input", "file_id", "mcp_servers", "text"]
)
_WORDS = st.sampled_from(["text", "image", "base64", "web_search_1", "tool_use", "x", "document", "custom"])
_JSON = st.recursive(
    _WORDS | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60)
@given(st.dictionaries(_NAMES, _JSON, max_size=4), st.sampled_from(sorted(TABLE)))
def test_the_look_at_the_bytes_lets_nothing_past(body: dict[str, Any], wire: str) -> None:
    """What the first look takes for plain text is also plain for the one that reads everything, but for
    files named outside any piece of content, where no provider looks."""
    text = json.dumps(body).encode()
    told = list(uses(wire, text))
    # An escape of an ASCII letter makes the whole body be read.
    read = list(uses(wire, text[:-1] + (b',"\\u0078":1}' if body else b'"\\u0078":1}')))
    outside = {"file_id", "source"}
    assert [use for use in read if not outside & set(use.path)] == [
        use for use in told if not outside & set(use.path)
    ]


def test_a_body_that_is_no_json_is_refused() -> None:
    with pytest.raises(Failure) as caught:
        list(uses(MESSAGES, b'{"tools": ['))
    assert caught.value.kind is FailureKind.INVALID_BODY


def _types(package: str, folder: str, suffix: str) -> set[str]:
    """The ``type`` of every parameter class of a package whose module ends so; read, not imported."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    names: set[str] = set()
    for path in Path(spec.submodule_search_locations[0], folder).glob(f"*{suffix}.py"):
        if "managed_agents" in path.name:
            continue
        text = path.read_text(encoding="utf-8")
        for literal in re.findall(r"^    type: (?:Required\[)?Literal\[([^\]]+)\]", text, re.MULTILINE):
            names |= set(re.findall(r'"([^"]+)"', literal))
    assert names
    return names


def test_every_kind_of_content_and_tool_of_the_vendors_is_decided_about() -> None:
    """A kind that is new in an SDK makes this fail: somebody has to say what it is."""
    wire = features._WIRES[MESSAGES]
    unknown = {
        name
        for name in _types("anthropic", "types/beta", "_block_param")
        if wire.content.find(name, "?") == "?"
    }
    # The advisor is another model of the provider's, which no policy has looked at.
    assert {name for name in unknown if not name.startswith("advisor_")} == set()
    tools = _types("anthropic", "types/beta", "_param")
    dated = {name for name in tools if re.search(r"_20\d{6}$", name)}
    edits = {name for name in dated if name.startswith(("clear_", "compact_"))}
    assert {name for name in dated - edits if wire.tools.find(name, "?") == "?"} == {"advisor_20260301"}
    responses = features._WIRES[RESPONSES]
    for name in _types("openai", "types/responses", "_tool_param") - {"approximate"}:
        assert responses.tools.find(name, "?") != "?", name
