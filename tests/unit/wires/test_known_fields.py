"""A strict surface takes the fields of Anthropic's API and no other, however deep."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from triptych.core.failure import Failure, FailureKind
from triptych.wires.anthropic_messages.known_fields import check_fields
from triptych.wires.anthropic_messages.known_fields_table import OBJECTS

TURN = {"role": "user", "content": "x"}
TEXT = {"type": "text", "text": "x"}


def refused(*, beta: bool = False, counting: bool = False, **fields: Any) -> str | None:
    """The path of the field that is refused, or None."""
    body = json.dumps({"model": "m", "messages": [TURN], **fields}).encode()
    found: Failure | None = None
    try:
        check_fields(body, beta=beta, counting=counting)
    except Failure as failure:
        found = failure
    if found is None:
        return None
    assert found.kind is FailureKind.UNSUPPORTED_PARAMETER
    assert found.param is not None and found.message.startswith(found.param)
    return found.param


def content(*blocks: Any) -> list[Any]:
    return [{"role": "user", "content": list(blocks)}]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"max_tokens": 5, "system": "x", "stop_sequences": ["a"], "temperature": 0.1, "top_k": 5},
        {"system": [{**TEXT, "cache_control": {"type": "ephemeral", "ttl": "5m"}}]},
        {"tools": [{"name": "f", "input_schema": {"anything": {"at": "all"}}}]},
        {"tools": [{"type": "custom", "name": "f", "input_schema": {}}]},
        {"tools": [{"type": None, "name": "f", "input_schema": {}}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 1}]},
        {"messages": content({"type": "tool_use", "id": "t", "name": "f", "input": {"any": {"thing": 1}}})},
        {"messages": content({"type": "tool_result", "tool_use_id": "t", "content": [TEXT]})},
        {"metadata": {"user_id": "u"}, "tool_choice": {"type": "auto"}},
        # Values of a wrong type are the provider's to judge.
        {"messages": 5, "tools": "x", "metadata": [], "system": {"text": "x"}},
        {"tools": [5, None, [{}]]},
    ],
)
def test_a_field_of_the_api_passes(fields: dict[str, Any]) -> None:
    assert refused(**fields) is None


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("store", {"store": True}),
        ("litellm_metadata", {"litellm_metadata": {}}),
        ("", {"": 1}),
        ("x" * 64, {"x" * 900: 1}),
        ("metadata.org", {"metadata": {"org": 1}}),
        ("messages[0].name", {"messages": [{**TURN, "name": "x"}]}),
        ("messages[0].content[1].x", {"messages": content(TEXT, {**TEXT, "x": 1})}),
        ("messages[0].content[0].type", {"messages": content({"type": "video"})}),
        (
            "messages[0].content[0].content[0].x",
            {"messages": content({"type": "tool_result", "tool_use_id": "t", "content": [{**TEXT, "x": 1}]})},
        ),
        (
            "messages[0].content[0].source.x",
            {"messages": content({"type": "image", "source": {"type": "url", "url": "u", "x": 1}})},
        ),
        ("tools[0].x", {"tools": [{"name": "f", "x": 1}]}),
        ("tools[0].type", {"tools": [{"type": "telepathy_20270101", "name": "f"}]}),
        ("tool_choice.x", {"tool_choice": {"type": "auto", "x": 1}}),
        ("system[0].cache_control.x", {"system": [{**TEXT, "cache_control": {"type": "ephemeral", "x": 1}}]}),
    ],
)
def test_any_other_field_is_refused_by_its_path(path: str, fields: dict[str, Any]) -> None:
    assert refused(**fields) == path


@pytest.mark.parametrize(
    "fields",
    [
        {"mcp_servers": [{"type": "url", "url": "https://x", "name": "x"}]},
        {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
        {"system": [{**TEXT, "cache_control": {"type": "ephemeral", "scope": "global"}}]},
    ],
)
def test_a_field_of_a_beta_needs_a_beta(fields: dict[str, Any]) -> None:
    assert refused(**fields) is not None
    assert refused(beta=True, **fields) is None
    assert refused(beta=True, **fields, store=True) == "store"


def test_a_count_has_fewer_fields() -> None:
    assert refused(counting=True) is None
    assert refused(counting=True, max_tokens=5) == "max_tokens"
    assert refused(counting=True, beta=True, mcp_servers=[]) is None


def test_the_table_knows_every_field_that_the_installed_sdk_has() -> None:
    """Fails when a new version of the SDK has learnt one: then ``make docs`` writes the table anew."""
    script = Path(__file__).parents[3] / "scripts" / "generate_fields.py"
    spec = importlib.util.spec_from_file_location("generate_fields", script)
    assert spec is not None and spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    made: dict[str, Any] = {}
    exec(generator.table(), made)
    for name, spelled in made["OBJECTS"].items():
        known = {field.partition(":")[0] for field in OBJECTS.get(name, "").split()}
        assert {field.partition(":")[0] for field in spelled.split()} <= known, name
