"""What OpenAI's two wires say in the same way when a conversation is translated to them."""

import hashlib
import re
from collections.abc import Iterable

import msgspec

from triptych.core.conversation import Conversation, Role, Text, Thinking, Tool

ERROR_PREFIX = "[tool error] "
"""Before the text of a tool's result that is an error: neither wire has a field for it."""

LOW_BUDGET_TOKENS = 4_096
"""A budget of at most so many is ``low`` effort."""
MEDIUM_BUDGET_TOKENS = 16_384

_CACHE_KEY_HEX_DIGITS = _CALL_ID_HEX_DIGITS = 32
_NEVER_STRICT = re.compile(
    "default|allOf|oneOf|not|if|then|else|dependentRequired|dependentSchemas|patternProperties|propertyNames|"
    "unevaluatedProperties|minProperties|maxProperties|contains|prefixItems|uniqueItems"
)


class _Object(msgspec.Struct):
    type: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    properties: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_OBJECT = msgspec.json.Decoder(_Object)


def arguments_schema(tool: Tool) -> msgspec.Raw:
    """Byte for byte, but for an object without ``properties``: tools of MCP servers that take no arguments
    are often written so, and the vendor answers 400 for it."""
    said = _OBJECT.decode(tool.schema)
    typed = said.type is not msgspec.UNSET and bytes(said.type) == b'"object"'
    if not typed or said.properties is not msgspec.UNSET:
        return tool.schema
    return msgspec.Raw(bytes(tool.schema).rstrip()[:-1] + b',"properties":{}}')


def call_id(id_: str, most_chars: int) -> str:
    """Ids of other vendors may be longer than the vendor takes: such an id is spelled anew, the same way in
    the call and in its result."""
    if len(id_) <= most_chars:
        return id_
    return f"call_{hashlib.sha256(id_.encode('utf-8', 'replace')).hexdigest()[:_CALL_ID_HEX_DIGITS]}"


def can_be_strict(schema: msgspec.Raw) -> bool:
    """Whether the vendor takes a schema as a strict one: each object is closed and each of its properties
    required (https://platform.openai.com/docs/guides/structured-outputs); for any other it answers 400.
    On the Messages wire a property may be optional."""
    try:
        return _strict(msgspec.json.decode(schema))
    except msgspec.DecodeError:
        return False


def _strict(schema: object) -> bool:
    if not isinstance(schema, dict):
        return True
    if any(map(_NEVER_STRICT.fullmatch, schema)):
        return False
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if "properties" in schema or schema.get("type") == "object":
        if not (isinstance(properties, dict) and isinstance(required, list)):
            return False
        if schema.get("additionalProperties") is not False or not all(
            name in required for name in properties
        ):
            return False
    named = [schema.get(key) for key in ("properties", "$defs", "definitions")]
    below = [one for part in named if isinstance(part, dict) for one in part.values()]
    variants = schema.get("anyOf")
    below += variants if isinstance(variants, list) else []
    return all(_strict(one) for one in (*below, schema.get("items")))


def strictness(tool: Tool) -> bool | None:
    """What is said of it to the vendor. False also for a strict one that the vendor would refuse, where its
    caller's wire takes such: without it the model still sees the schema."""
    if tool.strict and tool.any_schema and not can_be_strict(tool.schema):
        return False
    return tool.strict


def effort_of(thinking: Thinking) -> str | None:
    """The word for how much is to be reasoned; None where nothing was said of it."""
    if thinking.effort is not None:
        return "xhigh" if thinking.effort == "max" else thinking.effort
    if thinking.budget_tokens is None:
        return None
    if thinking.budget_tokens <= LOW_BUDGET_TOKENS:
        return "low"
    return "medium" if thinking.budget_tokens <= MEDIUM_BUDGET_TOKENS else "high"


def cache_key(conversation: Conversation) -> str:
    """The same for every turn of a conversation: made from its tools and what stands before its first
    turn. The provider caches prefixes by itself; a key brings requests that share one to the same
    machine. Two scopes never share one: how fast an answer comes must not tell what others ask."""
    prefix = hashlib.sha256(b"%d:%b" % (len(conversation.cache_scope), conversation.cache_scope.encode()))
    for text in _prefix(conversation):
        prefix.update(b"%d:%b" % (len(text), text))
    return f"trp-{prefix.hexdigest()[:_CACHE_KEY_HEX_DIGITS]}"


def _prefix(conversation: Conversation) -> Iterable[bytes]:
    for tool in conversation.tools:
        yield tool.name.encode()
        yield (tool.description or "").encode()
        yield bytes(tool.schema)
    for message in conversation.messages:
        # What is said later changes from turn to turn.
        if message.role not in (Role.SYSTEM, Role.DEVELOPER):
            return
        for part in message.parts:
            if isinstance(part, Text):
                yield part.text.encode()
