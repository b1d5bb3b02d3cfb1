"""What a request uses beyond text: one table of what counts as which feature, for every wire.

The table is the documentation (``docs/features.md`` is made from it) and the check alike. A tool or a
piece of content that it does not know counts as a feature of its own name, or as content that cannot
be inspected: what nobody has decided about is not let through.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from triptych.core.failure import Failure, FailureKind
from triptych.wires.attachments import is_encoded_text
from triptych.wires.slots import Path

UNINSPECTABLE: Final = "uninspectable_content"

FEATURES: Final[Mapping[str, str]] = {
    "web_search": "the provider searches the web with words of the conversation",
    "web_fetch": "the provider fetches addresses that stand in the conversation",
    "code_execution": "the provider runs code in a container of its own",
    "computer_use": "the model drives a computer, a shell or an editor",
    "mcp_connector": "the provider talks to MCP servers",
    "files": "the request names files that are kept at the provider",
    "batches": "requests are kept at the provider and answered later; no endpoint takes them yet",
    UNINSPECTABLE: "images, sound, binary documents, and whatever else the guard cannot read",
}
"""What an org can be allowed, and what it means."""


class Rule(msgspec.Struct, frozen=True):
    """``spelling``: a name, or a beginning of one with ``*`` behind it; ``feature`` None: part of every
    conversation."""

    where: str
    """FIELD: a member of the request, unless it is empty. TOOL: the type of an entry of ``tools``. CONTENT:
    the type of a piece of content. SOURCE: the type of a ``source``."""
    spelling: str
    feature: str | None


FIELD, TOOL, CONTENT, SOURCE = "field", "tool", "content", "source"


def _rules(where: str, feature: str | None, spellings: str) -> tuple[Rule, ...]:
    return tuple(Rule(where, spelling, feature) for spelling in spellings.split())


TABLE: Final[Mapping[str, tuple[Rule, ...]]] = {
    "anthropic-messages": (
        *_rules(FIELD, "mcp_connector", "mcp_servers"),
        *_rules(FIELD, "code_execution", "container"),
        *_rules(FIELD, "files", "file_id"),
        *_rules(TOOL, "web_search", "web_search_*"),
        *_rules(TOOL, "web_fetch", "web_fetch_*"),
        *_rules(TOOL, "code_execution", "code_execution_*"),
        *_rules(TOOL, "computer_use", "computer_* browser_* bash_* text_editor_*"),
        *_rules(TOOL, "mcp_connector", "mcp_toolset"),
        *_rules(TOOL, None, "custom memory_* tool_search_tool_*"),
        *_rules(CONTENT, "files", "container_upload"),
        # An image or a document is what its source is.
        *_rules(CONTENT, None, "image document"),
        *_rules(SOURCE, UNINSPECTABLE, "base64 url file"),
        *_rules(SOURCE, None, "text content"),
        *_rules(
            CONTENT,
            None,
            "text thinking redacted_thinking tool_use tool_result server_tool_use search_result "
            "compaction fallback mcp_tool_use mcp_tool_result mcp_tool_listing tool_reference "
            "tool_addition tool_removal browser_state web_search_tool_result web_search_result "
            "web_fetch_tool_result* web_fetch_result code_execution_* bash_code_execution_* "
            "text_editor_code_execution_* encrypted_code_execution_* tool_search_tool_*",
        ),
    ),
    "openai-chat": (
        *_rules(FIELD, "web_search", "web_search_options plugins"),
        *_rules(FIELD, UNINSPECTABLE, "audio"),
        *_rules(FIELD, "files", "file_id"),
        *_rules(TOOL, None, "function custom"),
        *_rules(CONTENT, UNINSPECTABLE, "image_url input_audio file"),
        *_rules(CONTENT, None, "text refusal thinking redacted_thinking"),
    ),
    "openai-responses": (
        # A template that is kept at the provider, and what it is filled with.
        *_rules(FIELD, UNINSPECTABLE, "prompt"),
        *_rules(FIELD, "files", "file_id"),
        *_rules(TOOL, "web_search", "web_search web_search_*"),
        *_rules(TOOL, "files", "file_search"),
        *_rules(TOOL, "code_execution", "code_interpreter programmatic_tool_calling"),
        *_rules(TOOL, "computer_use", "computer computer_* shell local_shell apply_patch"),
        *_rules(TOOL, "mcp_connector", "mcp"),
        *_rules(TOOL, UNINSPECTABLE, "image_generation"),
        *_rules(TOOL, None, "function custom namespace tool_search"),
        *_rules(
            CONTENT,
            UNINSPECTABLE,
            "input_image input_file input_audio computer_screenshot image_generation_call item_reference",
        ),
        *_rules(
            CONTENT,
            None,
            "message input_text output_text text refusal summary_text reasoning reasoning_text "
            "function_call function_call_output custom_tool_call custom_tool_call_output "
            "web_search_call file_search_call code_interpreter_call computer_call "
            "computer_call_output local_shell_call local_shell_call_output shell_call "
            "shell_call_output apply_patch_call apply_patch_call_output mcp_call mcp_list_tools "
            "mcp_approval_request mcp_approval_response tool_search_call tool_search_output "
            "additional_tools compaction compaction_trigger configuration_update program "
            "program_output",
        ),
    ),
}

_FREE: Final[Mapping[str, frozenset[str]]] = {
    "anthropic-messages": frozenset({"input", "input_schema", "input_examples", "schema", "metadata"}),
    "openai-chat": frozenset({"parameters", "schema", "metadata", "arguments"}),
    "openai-responses": frozenset({"parameters", "schema", "output_schema", "metadata", "arguments"}),
}
"""Members that hold any JSON of the caller's: nothing in there asks for anything."""

_PIECES: Final[Mapping[str, frozenset[str]]] = {
    "anthropic-messages": frozenset({"content", "system"}),
    "openai-chat": frozenset({"content"}),
    "openai-responses": frozenset({"content", "input", "output"}),
}
"""Members that hold pieces of content."""
_MAX_SHOWN_CHARS: Final = 64


class Use(msgspec.Struct, frozen=True):
    """A feature, and where in the request it is used."""

    feature: str
    path: Path


class _Lookup:
    """The rules of one place, by exact name and by beginning."""

    __slots__ = ("_exact", "_prefixes")

    def __init__(self, rules: tuple[Rule, ...], where: str) -> None:
        mine = [rule for rule in rules if rule.where == where]
        self._exact = {rule.spelling: rule.feature for rule in mine if not rule.spelling.endswith("*")}
        self._prefixes = tuple(
            (rule.spelling[:-1], rule.feature) for rule in mine if rule.spelling.endswith("*")
        )

    def find(self, name: object, unknown: str | None) -> str | None:
        """The feature; ``unknown`` for what no rule names (None: the name itself)."""
        if isinstance(name, str):
            if name in self._exact:
                return self._exact[name]
            for prefix, feature in self._prefixes:
                if name.startswith(prefix):
                    return feature
            if unknown is None:
                return name[:_MAX_SHOWN_CHARS] if name.isprintable() else "unknown"
        return unknown or "unknown"


class _Wire:
    __slots__ = ("_plain", "_telling", "content", "fields", "free", "pieces", "sources", "tools")

    def __init__(self, name: str) -> None:
        rules = TABLE[name]
        self.fields = {rule.spelling: rule.feature for rule in rules if rule.where == FIELD}
        self.tools = _Lookup(rules, TOOL)
        self.content = _Lookup(rules, CONTENT)
        self.sources = _Lookup(rules, SOURCE)
        self.free = _FREE[name]
        self.pieces = _PIECES[name]
        # A file or a source stands in a piece of content that is not plain.
        named = [*self.fields.keys() - {"file_id"}, "tools"]
        self._telling = (rb"\u00", *(b'"%b"' % name.encode() for name in named))
        plain = [
            rule.spelling
            for rule in rules
            if rule.where == CONTENT and rule.feature is None and not rule.spelling.endswith("*")
        ]
        self._plain = re.compile(rb'[ \t\r\n]*+:[ \t\r\n]*+"(?:%b)"' % "|".join(plain).encode()).match

    def may_use(self, body: bytes) -> bool:
        """Whether there is anything to look at. What uses nothing can mostly be told by its bytes: names
        stand there as they are, or with escapes, which are then those of ASCII."""
        for mark in self._telling:
            if body.find(mark) >= 0:
                return True
        place = body.find(_TYPE)
        while place >= 0:
            place += len(_TYPE)
            if self._plain(body, place) is None:
                return True
            place = body.find(_TYPE, place)
        return False


_TYPE: Final = b'"type"'
_READ: Final = "source of a text"
"""Stands for the member that holds a text in Base64, which the guard decodes: no rule is about it."""
_WIRES: Final = {name: _Wire(name) for name in TABLE}
_decode = msgspec.json.Decoder().decode


def uses(wire: str, body: bytes) -> Iterator[Use]:
    """Every use of a feature in a request, as they come up; one may come up several times.

    Raises Failure INVALID_BODY when the body is not JSON.
    """
    rules = _WIRES[wire]
    if not rules.may_use(body):
        return
    try:
        root = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Failure(FailureKind.INVALID_BODY, "The request body is not valid JSON.") from error
    fields, free, pieces = rules.fields, rules.free, rules.pieces
    waiting: list[tuple[Any, Path, str]] = [(root, (), "")]
    while waiting:
        value, path, held_by = waiting.pop()
        encoded_text = False
        if type(value) is list:
            for place in range(len(value) - 1, -1, -1):
                item = value[place]
                if type(item) is dict or type(item) is list:
                    waiting.append((item, (*path, place), held_by))
            continue
        if held_by == "tools":
            # Without a type it is the caller's own; a provider that has no such tools refuses it.
            feature = rules.tools.find(value["type"], None) if "type" in value else None
            if feature is not None:
                yield Use(feature, path)
        elif held_by in pieces:
            encoded_text = is_encoded_text(value)
            feature = None
            if "type" in value and not encoded_text:
                feature = rules.content.find(value["type"], UNINSPECTABLE)
            if feature is not None:
                yield Use(feature, path)
        elif held_by == "source":
            feature = rules.sources.find(value.get("type"), UNINSPECTABLE)
            if feature is not None:
                yield Use(feature, path)
        inside = []
        for name, item in value.items():
            if name in fields and item:
                found = fields[name]
                if found is not None:
                    yield Use(found, (*path, name))
            if (type(item) is dict or type(item) is list) and name not in free:
                inside.append((item, (*path, name), _READ if encoded_text and name == "source" else name))
        inside.reverse()
        waiting += inside
