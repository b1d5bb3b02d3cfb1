"""The tables of slots against what the vendors' SDKs declare."""

from collections.abc import Callable

import anthropic.types as claude
import anthropic.types.beta as claude_beta
import msgspec
import openai.types.chat as chat
import openai.types.responses as responses
import pytest
from anthropic.types import message_count_tokens_params, message_create_params
from anthropic.types.beta import message_create_params as beta_message_create_params
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params

from tests.unit.wires.vendor_types import ELEMENT, KEY, VALUE, Declared, Field, declared_fields
from triptych.wires import json_spans
from triptych.wires.anthropic_messages import slots as messages_wire
from triptych.wires.json_spans import Rule
from triptych.wires.openai_chat import slots as chat_wire
from triptych.wires.openai_responses import slots as responses_wire
from triptych.wires.slot_tables import free_slots
from triptych.wires.slots import Kind, Slot

Slots = Callable[[bytes], list[Slot]]


def _event_slots(root: Rule) -> Slots:
    return lambda data: json_spans.walk(data, root)


# Name, the vendor's type, the rule at the root, what finds the slots.
TYPES: list[tuple[str, object, Rule, Slots]] = [
    ("messages request", message_create_params.MessageCreateParamsStreaming,
     messages_wire.REQUEST, messages_wire.text_slots),
    ("messages counting", message_count_tokens_params.MessageCountTokensParams,
     messages_wire.REQUEST, messages_wire.text_slots),
    ("messages beta request", beta_message_create_params.MessageCreateParamsStreaming,
     messages_wire.REQUEST, messages_wire.text_slots),
    ("messages answer", claude.Message, messages_wire.ANSWER, messages_wire.answer_slots),
    ("messages beta answer", claude_beta.BetaMessage, messages_wire.ANSWER, messages_wire.answer_slots),
    ("messages event", claude.RawMessageStreamEvent,
     messages_wire.EVENT, _event_slots(messages_wire.EVENT)),
    ("messages beta event", claude_beta.BetaRawMessageStreamEvent,
     messages_wire.EVENT, _event_slots(messages_wire.EVENT)),
    ("chat request", completion_create_params.CompletionCreateParamsStreaming,
     chat_wire.REQUEST, chat_wire.text_slots),
    ("chat answer", chat.ChatCompletion, chat_wire.ANSWER, chat_wire.answer_slots),
    ("chat chunk", chat.ChatCompletionChunk, chat_wire.ANSWER, chat_wire.answer_slots),
    ("responses request", response_create_params.ResponseCreateParamsStreaming,
     responses_wire.REQUEST, responses_wire.text_slots),
    ("responses answer", responses.Response, responses_wire.ANSWER, responses_wire.answer_slots),
    ("responses event", responses.ResponseStreamEvent,
     responses_wire.EVENT, _event_slots(responses_wire.EVENT)),
]  # fmt: skip
NAMES = [name for name, *_ in TYPES]
every_type = pytest.mark.parametrize(("name", "type_", "root", "find"), TYPES, ids=NAMES)

_CACHED: dict[object, list[Field]] = {}


def fields_of(type_: object) -> list[Field]:
    key = id(type_)
    if key not in _CACHED:
        _CACHED[key] = declared_fields(type_)
    return _CACHED[key]


def rule_at(root: Rule, path: tuple[str, ...]) -> Rule | None:
    """The rule a table has for a path, or None where it does not know the name."""
    rule = root
    for step in path:
        if step == ELEMENT:
            continue
        node = rule[3]
        if step in (KEY, VALUE):
            rule = node.other
        elif step.encode() in node.members:
            rule = node.members[step.encode()]
        elif not node.members or node.other[3] is node:
            # Any JSON, or a map: nothing has to be known.
            rule = node.other
        else:
            return None
    return rule


@every_type
def test_every_field_the_vendor_declares_is_in_the_table(
    name: str, type_: object, root: Rule, find: Slots
) -> None:
    unknown = [".".join(field.path) for field in fields_of(type_) if rule_at(root, field.path) is None]
    assert unknown == []


def ignored(rule: Rule) -> bool:
    """Whether a table ignores a string in the shape it should have there."""
    condition = rule[2]
    return condition is json_spans.TAG or (condition is not None and callable(condition))


# Declared as any string, and ignored in the shape of an identifier or a word. Who adds a name here
# has decided that no person writes what stands there.
IGNORED_STRINGS = {
    # Words of a vendor's that the SDK does not list, because there will be more.
    *["background", "categories", "mode", "output_format", "quality", "size", "stop_reason"],
    *["agent", "betas", "bill_to", "call_id", "caller_id", "comparison_response_id", "container"],
    *["container_id", "continuation_id", "conversation", "created_at", "download_id", "error_type"],
    *["expires_at", "file_id", "file_ids", "fingerprint", "id", "inference_geo", "item_id", "model"],
    *["obfuscation", "previous_message_id", "previous_response_id", "approval_request_id"],
    *["recommended_model", "retrieved_at", "skill_id", "system_fingerprint", "tab_id", "tool_call_id"],
    *["tool_id", "tool_use_id", "tunnel_id", "type", "user_profile_id", "vector_store_ids", "version"],
    *["voice", "workspace_id"],
}


@every_type
def test_a_string_that_is_no_slot_is_on_the_list_of_ignored_ones(
    name: str, type_: object, root: Rule, find: Slots
) -> None:
    unlisted = set()
    for field in fields_of(type_):
        rule = rule_at(root, field.path)
        if field.declared is Declared.STRING and rule is not None and ignored(rule):
            name = next(step for step in reversed(field.path) if step != ELEMENT)
            if name not in IGNORED_STRINGS:
                unlisted.add(".".join(field.path))
    assert unlisted == set()


class Canaries:
    """A body with a different text in every string that the vendor declares."""

    def __init__(self, fields: list[Field], spelling: str) -> None:
        self.of_field: dict[str, Field] = {}
        self.tree: object = None
        for field in fields:
            if field.declared is Declared.OTHER:
                continue
            canary = spelling.format(number=len(self.of_field))
            self.of_field[canary] = field
            inner: object = {"a": canary} if field.declared is Declared.ANY else canary
            if field.declared is Declared.KEY:
                inner = 1
            for step in reversed(field.path):
                if step == ELEMENT:
                    inner = [inner]
                elif step == KEY:
                    inner = {canary: inner}
                elif step == VALUE:
                    inner = {"any": inner}
                else:
                    inner = {step: inner}
            self.tree = inner if self.tree is None else _merged(self.tree, inner)

    @property
    def body(self) -> bytes:
        return msgspec.json.encode(self.tree)

    def missing_from(self, slots: list[Slot]) -> dict[str, Field]:
        body = self.body
        found = "\n".join(slot.text(body) for slot in slots)
        return {canary: field for canary, field in self.of_field.items() if canary not in found}


def _merged(one: object, other: object) -> object:
    """Both in one tree; what stands in one place twice stands in an array there, which the
    tables read as they read its elements."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {
            key: _merged(one[key], other[key])
            if key in one and key in other
            else one.get(key, other.get(key))
            for key in {**one, **other}
        }
    if isinstance(one, list) and isinstance(other, list):
        head, *tail = one
        if isinstance(head, dict) and isinstance(other[0], dict):
            return [_merged(head, other[0]), *tail]
        return [*other, *one] if isinstance(other[0], dict) else [*one, *other]
    if isinstance(one, list):
        return _merged(one, [other])
    if isinstance(other, list):
        return _merged([one], other)
    return [other, one] if isinstance(other, dict) else [one, other]


@every_type
def test_a_sentence_in_any_declared_string_is_found(
    name: str, type_: object, root: Rule, find: Slots
) -> None:
    """Even in ``type`` and ``id``: what has not the shape of a word is not ignored."""
    canaries = Canaries(fields_of(type_), "Ada Example {number}, 123-45-6789")
    assert len(canaries.of_field) > 20
    assert canaries.missing_from(find(canaries.body)) == {}


@every_type
def test_a_word_in_any_declared_string_is_found_or_its_field_ignored(
    name: str, type_: object, root: Rule, find: Slots
) -> None:
    canaries = Canaries(fields_of(type_), "canary{number}x")
    for canary, field in canaries.missing_from(find(canaries.body)).items():
        rule = rule_at(root, field.path)
        assert rule is not None and ignored(rule), (canary, field)


@every_type
def test_what_nobody_declared_is_found_at_every_depth(
    name: str, type_: object, root: Rule, find: Slots
) -> None:
    """An unknown member beside every declared one: its key and its value."""
    places = {field.path[:length] for field in fields_of(type_) for length in range(len(field.path))}
    unknown = [Field((*place, "x_unheard_of", "within"), Declared.STRING) for place in sorted(places)]
    canaries = Canaries([field for field in unknown if KEY not in field.path], "canary{number}x")
    slots = find(canaries.body)
    assert canaries.missing_from(slots) == {}
    kinds = {slot.kind for slot in slots if slot.text(canaries.body).startswith("canary")}
    assert kinds == {Kind.TEXT}
    assert {slot.text(canaries.body) for slot in slots if slot.is_key} >= {"x_unheard_of", "within"}


def test_any_json_is_all_text() -> None:
    assert [slot.kind for slot in free_slots(b'{"type": "text", "id": ["call_1"]}')] == [
        Kind.NAME, Kind.TEXT, Kind.NAME, Kind.TEXT,
    ]  # fmt: skip
