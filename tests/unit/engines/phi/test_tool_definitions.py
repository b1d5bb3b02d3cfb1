"""Definitions of tools, as programs have them, pass the trained guard; a person in one does not."""

import json
from typing import Any

import pytest

from triptych.core.policy import Filter
from triptych.engines.phi.filters import CompiledFilters
from triptych.engines.phi.inspect import Asked, Inspected, inspect
from triptych.engines.phi.recognise import Recogniser
from triptych.engines.phi.vocabulary import is_usual

TEXT = {"type": "string"}
TOOLS: list[tuple[str, str, dict[str, Any]]] = [
    ("get_weather", "Get the current weather for a city.", {"city": TEXT, "state": TEXT, "country": TEXT}),
    ("Edit", "Performs exact string replacements in files.", {"file_path": TEXT, "replace_all": TEXT}),
    ("Glob", "Fast file pattern matching", {"pattern": {**TEXT, "description": "The glob pattern"}}),
    ("Grep", "A powerful search tool", {"output_mode": {"enum": ["content", "count"]}, "multiline": TEXT}),
    ("send_email", "Send an email to a recipient", {"to": TEXT, "cc": TEXT, "bcc": TEXT, "headers": TEXT}),
    (
        "list_rows",
        "List the rows of a table",
        {"page": TEXT, "pageNumber": TEXT, "cursor": TEXT, "key": TEXT},
    ),
    ("order_lab", "Order a test, e.g. CBC or BMP", {"priority": {"enum": ["routine", "urgent", "stat"]}}),
    ("create_pull_request", "Create a pull request", {"head": {**TEXT, "description": "Branch to merge"}}),
    ("calculate", "Evaluate an expression, e.g. 2 * (3 + 4)", {"expression": TEXT, "timezone": TEXT}),
]


def definition(name: str, description: str, properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"name": name, "description": description, "input_schema": schema}


def screened(recogniser: Recogniser, filters: CompiledFilters | None = None, **fields: Any) -> Inspected:
    body = {"model": "m", "max_tokens": 1, "messages": [], **fields}
    return inspect(recogniser, Asked("anthropic-messages", json.dumps(body).encode()), filters)


def test_usual_definitions_pass_alone_and_together(recogniser: Recogniser) -> None:
    tools = [definition(*tool) for tool in TOOLS]
    for offered in (*([tool] for tool in tools), tools):
        inspected = screened(recogniser, tools=offered)
        assert (inspected.tool, inspected.counts) == (None, {}), offered


def test_arguments_keep_the_names_that_the_definition_gave_them(recogniser: Recogniser) -> None:
    arguments = {"page": 1, "state": "open", "headers": [], "bcc": "", "filter": {"key": "x", "branch": "y"}}
    use = {"type": "tool_use", "id": "toolu_1", "name": "list_rows", "input": arguments}
    inspected = screened(recogniser, messages=[{"role": "assistant", "content": [use]}])
    assert json.loads(inspected.body)["messages"][0]["content"][0]["input"] == arguments


@pytest.mark.parametrize(
    ("name", "description", "property_"),
    [
        ("look_up", "Look up Margaret Thornton, e.g. by page", "page"),
        ("look_up", "Ask Priya.", "page"),
        ("look_up", "Look it up.", "margaret_thornton"),
        ("margaret_thornton", "Look it up.", "page"),
        ("look_up", "Patient of MRN 00482913", "page"),
    ],
)
def test_a_person_in_a_definition_is_found(
    recogniser: Recogniser, name: str, description: str, property_: str
) -> None:
    assert screened(recogniser, tools=[definition(name, description, {property_: TEXT})]).tool is not None


def test_an_org_s_own_term_is_found_in_names_of_usual_words(recogniser: Recogniser) -> None:
    filters = CompiledFilters.compile([Filter("project", "literal", "branch")])
    tool = definition("list_rows", "List.", {"branch": TEXT})
    assert screened(recogniser, filters, tools=[tool]).counts == {"CUSTOM": 2}


def test_a_name_of_usual_words_is_one_in_the_manner_of_programs() -> None:
    for name in ("page", "pageNumber", "PAGE_SIZE", "x-request-id", "_id", "icd10_code", "HTTPHeaders"):
        assert is_usual(name), name
    for name in ("", "page 2", "page7", "the page", "margaret", "page_margaret", "pageThornton", "page" * 17):
        assert not is_usual(name), name
