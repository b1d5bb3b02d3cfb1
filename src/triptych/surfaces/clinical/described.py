"""What ``/openapi.json`` says of the clinical surface."""

from typing import Any

from triptych.surfaces.openapi import Described, Schema, or_null
from triptych.wires.native.request import MAX_ID_CHARS

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_KEYS: list[Schema] = [{"bearer": []}, {"apiKey": []}]
_REQUEST_META: Schema = {
    "type": "object",
    "required": ["request_id"],
    "properties": {"request_id": {"type": "string", "pattern": "^req_"}},
}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def json_answer(schema: Schema, text: str) -> Schema:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def envelope(data: Schema, meta: Schema = _REQUEST_META) -> Schema:
    """A native answer."""
    return {
        "type": "object",
        "required": ["success", "data", "meta"],
        "properties": {"success": {"const": True}, "data": data, "meta": meta},
    }


_BLOCKS: Schema = {
    "type": "array",
    "items": {"type": "object", "required": ["type"], "properties": {"type": _TEXT}},
}
_MESSAGE: Schema = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {
        "role": {"enum": ["user", "assistant"]},
        "content": {"anyOf": [_TEXT, {"type": "array", "items": {"type": "object"}}]},
    },
}
_NAME: Schema = {"type": "string", "minLength": 1}
_TOOL: Schema = {
    "anyOf": [
        {
            "type": "object",
            "required": ["name", "input_schema"],
            "properties": {
                "type": or_null({"const": "custom"}),
                "name": _NAME,
                "description": or_null(_TEXT),
                "input_schema": {"type": "object"},
            },
        },
        {
            "type": "object",
            "required": ["name", "type"],
            "properties": {
                "type": {"type": "string", "not": {"const": "custom"}},
                "name": _NAME,
                "description": or_null(_TEXT),
            },
        },
    ]
}
_ERROR: Schema = {
    "type": "object",
    "required": ["code", "message", "retryable", "request_id"],
    "properties": {
        "code": _TEXT,
        "type": _TEXT,
        "message": _TEXT,
        "param": _TEXT,
        "details": {"type": "object"},
        "retryable": {"type": "boolean"},
        "request_id": _TEXT,
        "docs_hint": _TEXT,
    },
}
_USAGE: Schema = {
    "type": "object",
    "required": ["model", "input_tokens", "output_tokens", "sonnet_equivalent_tokens", "cost_usd"],
    "properties": {
        "model": or_null(_TEXT),
        "input_tokens": _COUNT,
        "output_tokens": _COUNT,
        "sonnet_equivalent_tokens": _COUNT,
        "cost_usd": {"type": "number", "minimum": 0},
    },
}
_PHI: Schema = {
    "type": "object",
    "required": ["mode", "entity_types", "redaction_count"],
    "properties": {
        "mode": {"enum": ["redact", "block", "allow"]},
        "entity_types": {"type": "array", "items": _TEXT},
        "redaction_count": _COUNT,
    },
}
SCHEMAS: Schema = {
    "ClinicalError": {
        "type": "object",
        "required": ["success", "error", "meta"],
        "properties": {
            "success": {"const": False},
            "error": {**_ERROR, "required": [*_ERROR["required"], "type", "docs_hint"]},
            "meta": _REQUEST_META,
        },
    },
    "ClinicalMessagesError": {
        "type": "object",
        "required": ["type", "error", "success", "request_id", "meta"],
        "properties": {
            "type": {"const": "error"},
            "error": {
                **_ERROR,
                "required": [*_ERROR["required"], "type", "hasp_code"],
                "properties": {
                    **_ERROR["properties"],
                    "hasp_code": _TEXT,
                    "hasp_details": {"type": "object"},
                },
            },
            "success": {"const": False},
            "request_id": _TEXT,
            "meta": _REQUEST_META,
        },
    },
    "ClinicalChat": {
        "type": "object",
        "properties": {
            "message": {"type": "string", "minLength": 1},
            "messages": {"type": "array", "minItems": 1, "items": _MESSAGE},
            "model": or_null({"type": "string", "minLength": 1}),
            "stream": {"type": "boolean", "default": True},
            "conversation_id": or_null({"type": "string", "minLength": 1, "maxLength": MAX_ID_CHARS}),
            "store": {"type": "boolean", "default": True},
            "system": or_null({"anyOf": [_TEXT, {"type": "array", "items": ref("ClinicalText")}]}),
            "max_tokens": or_null({"type": "integer", "minimum": 1}),
            "tools": or_null({"type": "array", "items": _TOOL}),
            "document_ids": or_null({"type": "array", "items": {"type": "string", "minLength": 1}}),
        },
        "additionalProperties": False,
        "oneOf": [{"required": ["message"]}, {"required": ["messages"]}],
    },
    "ClinicalCountTokens": {
        "type": "object",
        "required": ["model", "messages"],
        "properties": {
            "model": {"type": "string", "minLength": 1},
            "messages": {"type": "array", "minItems": 1, "items": _MESSAGE},
        },
    },
    "ClinicalText": {
        "type": "object",
        "required": ["type", "text"],
        "properties": {"type": {"const": "text"}, "text": _TEXT},
    },
    "ClinicalChatAnswer": envelope(
        {
            "type": "object",
            "required": ["message", "conversation_id"],
            "properties": {
                "message": {
                    "type": "object",
                    "required": ["id", "role", "content"],
                    "properties": {
                        "id": {"type": "string", "pattern": "^msg_"},
                        "role": {"const": "assistant"},
                        "content": _BLOCKS,
                        "stop_reason": _TEXT,
                    },
                },
                "conversation_id": or_null(_TEXT),
            },
        },
        {
            "type": "object",
            "required": ["request_id", "usage"],
            "properties": {"request_id": _TEXT, "usage": _USAGE, "phi": _PHI},
        },
    ),
    "ClinicalRecord": envelope(
        {
            "type": "object",
            "required": ["message", "conversation_id", "request_id", "stored", "input", "run", "usage"],
            "properties": {
                "message": {
                    "type": "object",
                    "required": ["id", "role", "status", "content"],
                    "properties": {
                        "id": {"type": "string", "pattern": "^msg_"},
                        "role": {"const": "assistant"},
                        "status": {"enum": ["in_progress", "completed", "incomplete"]},
                        "content": or_null(_BLOCKS),
                    },
                },
                "conversation_id": or_null(_TEXT),
                "request_id": _TEXT,
                "stored": {"type": "boolean"},
                "input": or_null({"type": "array", "items": _MESSAGE}),
                "run": {"type": "object", "required": ["id", "object", "status", "events"]},
                "usage": _USAGE,
            },
        }
    ),
    "ClinicalModels": envelope(
        {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "object", "provider", "tier", "baa", "enabled", "retires_at"],
                "properties": {
                    "id": _TEXT,
                    "object": {"const": "model"},
                    "provider": _TEXT,
                    "tier": {"enum": ["standard", "premium"]},
                    "baa": {
                        "type": "object",
                        "required": ["covered", "agreement"],
                        "properties": {"covered": {"type": "boolean"}, "agreement": or_null(_TEXT)},
                    },
                    "context_window": or_null(_COUNT),
                    "max_output_tokens": or_null(_COUNT),
                    "retires_at": or_null(_TEXT),
                    "replacement": or_null(_TEXT),
                    "enabled": {"type": "boolean"},
                },
            },
        },
        {
            "type": "object",
            "required": ["next_cursor", "has_more", "request_id"],
            "properties": {
                "next_cursor": or_null(_TEXT),
                "has_more": {"type": "boolean"},
                "request_id": _TEXT,
            },
        },
    ),
}

_SAID = {
    "400": "Invalid body, unknown or not granted model, protected information in a tool definition.",
    "401": "Missing, malformed, unknown or revoked key.",
    "402": "No active agreement, or no credits left.",
    "403": "Scope, feature, model or protected information does not allow it.",
    "404": "No such message, conversation or document; also another org's.",
    "408": "The body did not arrive in time.",
    "409": "The Idempotency-Key belongs to another request, or to one that still runs.",
    "410": "The model has been retired.",
    "413": "The body is over the limit.",
    "415": "Content-Encoding is neither gzip nor zstd.",
    "429": "A limit of requests or tokens, or the org's own spend cap.",
    "431": "The headers are over the limit.",
    "500": "Unexpected; report it with the request id.",
    "502": "The provider failed.",
    "503": "Draining, or a part is unavailable.",
}
_OF_CALLS = frozenset({"408", "409", "410", "413", "415", "502"})
"""What only a body, or a call of a provider, can lead to."""


def refusals(error: str, *, without: frozenset[str] = frozenset()) -> Schema:
    """Every status a route may refuse with, in an envelope."""
    return {status: json_answer(ref(error), said) for status, said in _SAID.items() if status not in without}


NATIVE_REFUSALS = refusals("ClinicalError")
READ_REFUSALS = refusals("ClinicalError", without=_OF_CALLS)
_MESSAGES_REFUSALS = refusals("ClinicalMessagesError")


def operation(name: str, text: str, body: str, answers: Schema, errors: Schema) -> Schema:
    """One with a body."""
    return {
        "operationId": name,
        "summary": text,
        "security": _KEYS,
        "requestBody": {"required": True, "content": {"application/json": {"schema": ref(body)}}},
        "responses": {**answers, **errors},
    }


def read(name: str, text: str, answer: Schema, *parameters: tuple[str, str, Schema, str]) -> Schema:
    """One without; ``parameters``: name, where it stands, schema, description."""
    shown: list[dict[str, Any]] = [
        {"name": called, "in": place, "required": place == "path", "schema": schema, "description": said}
        for called, place, schema, said in parameters
    ]
    return {
        "operationId": name,
        "summary": text,
        "security": _KEYS,
        "parameters": shown,
        "responses": {"200": answer, **READ_REFUSALS},
    }


def _either(schema: Schema, text: str) -> Schema:
    return {
        "200": {
            "description": text,
            "content": {"application/json": {"schema": schema}, "text/event-stream": {}},
        }
    }


OPERATIONS: dict[tuple[str, str], Schema] = {
    ("/", "get"): {
        "operationId": "clinicalGreet",
        "summary": "Answers without a key; clients probe it.",
        "security": [],
        "responses": {"200": {"description": "Served."}},
    },
    ("/v1/ai/chat", "post"): operation(
        "clinicalChat",
        "One turn of a chat, streamed unless `stream` is false.",
        "ClinicalChat",
        _either(ref("ClinicalChatAnswer"), "The answer, or the events of its run."),
        NATIVE_REFUSALS,
    ),
    ("/v1/ai/messages/{message_id}", "get"): read(
        "clinicalMessage",
        "The record of one exchange.",
        json_answer(ref("ClinicalRecord"), "The record."),
        ("message_id", "path", _TEXT, "A bare ULID, `msg_<ulid>` or `req_<ulid>`."),
    ),
    ("/v1/ai/models", "get"): read(
        "clinicalModels",
        "The models the caller's groups grant.",
        json_answer(ref("ClinicalModels"), "A page of models."),
        ("limit", "query", {"type": "integer", "minimum": 1, "maximum": 200}, "Models per page; 50."),
        ("cursor", "query", _TEXT, "The page behind the one that named it."),
    ),
    ("/v1/messages", "post"): operation(
        "clinicalCreateMessage",
        "Create a message (Anthropic Messages, no other fields).",
        "CreateMessage",
        _either({"type": "object", "required": ["id", "meta"]}, "The message, or its event stream."),
        _MESSAGES_REFUSALS,
    ),
    ("/v1/messages/count_tokens", "post"): operation(
        "clinicalCountTokens",
        "Count a message's tokens (Anthropic Messages, no other fields).",
        "ClinicalCountTokens",
        {"200": json_answer(ref("TokenCount"), "The count.")},
        _MESSAGES_REFUSALS,
    ),
}
CLINICAL = Described(OPERATIONS, SCHEMAS)
