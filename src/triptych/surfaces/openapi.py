"""``/openapi.json``: what this process serves, and nothing it does not.

The paths are taken from the routes themselves, so that a route without a description fails a test
instead of being left out.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from triptych import __version__
from triptych.edge.app import Routes

Schema = dict[str, Any]


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Schema, text: str) -> Schema:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def or_null(schema: Schema) -> Schema:
    """Of a member that may also be null."""
    return {"anyOf": [schema, {"type": "null"}]}


_BLOCKS: Schema = {"type": "array", "items": {"type": "object"}}
_MESSAGE: Schema = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {
        "role": {"enum": ["user", "assistant"]},
        "content": {"anyOf": [{"type": "string"}, _BLOCKS]},
    },
}
_CORE: Schema = {
    "model": {"type": "string", "minLength": 1},
    "messages": {"type": "array", "minItems": 1, "items": _ref("InputMessage")},
    "stream": {"type": "boolean"},
    "max_tokens": {"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
}
_SCHEMAS: Schema = {
    "InputMessage": _MESSAGE,
    "CreateMessage": {
        "type": "object",
        "required": ["model", "messages", "max_tokens"],
        "properties": _CORE,
        "description": "Core fields are validated; every other field is the provider's and is forwarded.",
    },
    "CountTokens": {"type": "object", "required": ["model", "messages"], "properties": _CORE},
    "CreateChatCompletion": {
        "type": "object",
        "required": ["model", "messages"],
        "properties": {
            "model": {"type": "string", "minLength": 1},
            "messages": {"type": "array", "minItems": 1, "items": {"type": "object"}},
            "stream": {"type": "boolean"},
        },
        "description": "Core fields are validated; every other field is the provider's and is forwarded.",
    },
    "CreateResponse": {
        "type": "object",
        "required": ["model", "input"],
        "properties": {
            "model": {"type": "string", "minLength": 1},
            "input": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]},
            "stream": {"type": "boolean"},
            "store": or_null({"type": "boolean"}),
        },
        "description": "Core fields are validated; every other field is the provider's and is forwarded.",
    },
    "OpenAIError": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "code", "param"],
                "properties": {
                    "message": {"type": "string"},
                    "type": {"type": "string"},
                    "code": or_null({"type": "string"}),
                    "param": or_null({"type": "string"}),
                },
            }
        },
    },
    "Unauthorized": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"const": "Unauthorized"}},
    },
    "UnauthorizedSaid": {
        "type": "object",
        "required": ["error", "message"],
        "properties": {"error": {"const": "Unauthorized"}, "message": {"type": "string"}},
    },
    "Items": {
        "type": "object",
        "required": ["object", "data", "has_more", "first_id", "last_id"],
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": {"type": "object", "required": ["id", "type"]}},
            "has_more": {"type": "boolean"},
            "first_id": or_null({"type": "string"}),
            "last_id": or_null({"type": "string"}),
        },
    },
    "TokenCount": {
        "type": "object",
        "required": ["input_tokens"],
        "properties": {"input_tokens": {"type": "integer"}},
    },
    "MessagesError": {
        "type": "object",
        "required": ["type", "error", "request_id"],
        "properties": {
            "type": {"const": "error"},
            "request_id": {"type": "string"},
            "error": {
                "type": "object",
                "required": ["type", "message"],
                "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
    "Models": {
        "anyOf": [
            {
                "type": "object",
                "required": ["object", "data"],
                "properties": {
                    "object": {"const": "list"},
                    "data": {"type": "array", "items": _ref("Model")},
                },
            },
            {
                "type": "object",
                "required": ["data", "has_more", "first_id", "last_id"],
                "properties": {
                    "data": {"type": "array", "items": _ref("Model")},
                    "has_more": {"type": "boolean"},
                    "first_id": or_null({"type": "string"}),
                    "last_id": or_null({"type": "string"}),
                },
            },
        ],
    },
    "Model": {
        "anyOf": [
            {
                "type": "object",
                "required": ["id", "object", "created", "owned_by"],
                "properties": {
                    "id": {"type": "string"},
                    "object": {"const": "model"},
                    "created": {"type": "integer"},
                    "owned_by": {"type": "string"},
                    "shutdown_date": {"type": "string"},
                },
            },
            {
                "type": "object",
                "required": ["id", "type", "display_name", "created_at", "lifecycle"],
                "properties": {
                    "id": {"type": "string"},
                    "type": {"const": "model"},
                    "display_name": {"type": "string"},
                    "created_at": {"type": "string"},
                    "lifecycle": {"enum": ["active", "deprecated"]},
                    "retires_at": or_null({"type": "string"}),
                    "max_input_tokens": or_null({"type": "integer"}),
                    "max_tokens": or_null({"type": "integer"}),
                },
            },
        ],
    },
    "TooLarge": {
        "type": "object",
        "required": ["message"],
        "properties": {"message": {"type": "string"}},
    },
}
_ERROR = _ref("MessagesError")
_REFUSALS: Schema = {
    "400": _json(_ERROR, "Invalid body, unknown or retired model."),
    "401": _json(_ERROR, "Missing, malformed, unknown, revoked or expired key."),
    "402": _json(_ERROR, "Credits exhausted, or spend cap reached."),
    "403": _json(_ERROR, "Scope, group, model or agreement does not allow it."),
    "408": _json(_ERROR, "The body did not arrive in time."),
    "413": _json(_ref("TooLarge"), "The body is over the limit."),
    "415": _json(_ERROR, "Content-Encoding is neither gzip nor zstd."),
    "429": _json(_ERROR, "A request limit is reached; see Retry-After."),
    "431": _json(_ERROR, "The headers are over the limit."),
    "500": _json(_ERROR, "Unexpected; report it with the request id."),
    "502": _json(_ERROR, "The provider could not be reached or gave no usable answer."),
    "503": _json(_ERROR, "Draining, or a part is unavailable."),
    "504": _json(_ERROR, "The provider did not answer in time."),
    "default": {"description": "A provider's own error, verbatim."},
}
_OPENAI_ERROR = _ref("OpenAIError")
_OPENAI_REFUSALS: Schema = {
    status: answer
    if status in ("413", "default")
    else _json(_ref("Unauthorized") if status == "401" else _OPENAI_ERROR, answer["description"])
    for status, answer in _REFUSALS.items()
    if status != "402"
} | {"404": _json(_OPENAI_ERROR, "No such stored response or conversation.")}
_EITHER_ERROR: Schema = {"anyOf": [_OPENAI_ERROR, _ERROR, _ref("Unauthorized")]}
_MODELS_REFUSALS: Schema = {
    status: answer if status == "413" else _json(_EITHER_ERROR, answer["description"])
    for status, answer in _OPENAI_REFUSALS.items()
    if status not in ("404", "default")
}
_CONVERSATION_REFUSALS: Schema = _OPENAI_REFUSALS | {
    "401": _json(_ref("UnauthorizedSaid"), _REFUSALS["401"]["description"])
}
# What only a call of a provider, or a body, can lead to.
_OF_CALLS = frozenset({"402", "415", "502", "504", "default"})
_TEXT: Schema = {"type": "string"}
_KEYS: list[Schema] = [{"bearer": []}, {"apiKey": []}]


def _operation(name: str, text: str, body: str, answer: Schema, refusals: Schema = _REFUSALS) -> Schema:
    return {
        "operationId": name,
        "summary": text,
        "security": _KEYS,
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(body)}}},
        "responses": {"200": answer, **refusals},
    }


def _read(
    name: str, text: str, answer: Schema, refusals: Schema, *parameters: tuple[str, str, Schema, str]
) -> Schema:
    """``parameters``: name, where it stands, schema, description."""
    return {
        "operationId": name,
        "summary": text,
        "security": _KEYS,
        "parameters": [
            {"name": called, "in": place, "required": place == "path", "schema": schema, "description": said}
            for called, place, schema, said in parameters
        ],
        "responses": {
            "200": answer,
            **{status: refusals[status] for status in refusals if status not in _OF_CALLS},
        },
    }


def _open(name: str, text: str, **responses: str) -> Schema:
    answers = {status.lstrip("s"): {"description": said} for status, said in responses.items()}
    return {"operationId": name, "summary": text, "security": [], "responses": answers}


_STREAM: Schema = {
    "description": "The message, or its event stream when `stream` is true.",
    "content": {
        "application/json": {"schema": {"type": "object"}},
        "text/event-stream": {},
    },
}
OPERATIONS: dict[tuple[str, str], Schema] = {
    ("/v1/messages", "post"): _operation(
        "createMessage", "Create a message (Anthropic Messages).", "CreateMessage", _STREAM
    ),
    ("/v1/messages/count_tokens", "post"): _operation(
        "countTokens", "Count a message's tokens.", "CountTokens", _json(_ref("TokenCount"), "The count.")
    ),
    ("/v1/chat/completions", "post"): _operation(
        "createChatCompletion",
        "Create a chat completion (OpenAI Chat Completions).",
        "CreateChatCompletion",
        _STREAM,
        _OPENAI_REFUSALS,
    ),
    ("/v1/responses", "post"): _operation(
        "createResponse", "Create a response (OpenAI Responses).", "CreateResponse", _STREAM, _OPENAI_REFUSALS
    ),
    ("/v1/responses/{response_id}", "get"): _read(
        "retrieveResponse",
        "A stored response, or its events.",
        _STREAM,
        _OPENAI_REFUSALS,
        ("response_id", "path", _TEXT, "As it was answered."),
        ("stream", "query", {"type": "boolean"}, "The events it was streamed as, kept for an hour."),
        ("starting_after", "query", {"type": "integer", "minimum": 0}, "Only events with a higher number."),
    ),
    ("/v1/responses/{response_id}", "delete"): _read(
        "deleteResponse",
        "Delete a stored response; one that is still being made is stopped.",
        _json({"type": "object"}, "Deleted."),
        _OPENAI_REFUSALS,
        ("response_id", "path", _TEXT, "As it was answered."),
    ),
    ("/v1/conversations/{conversation_id}/items", "get"): _read(
        "listConversationItems",
        "What was said in a conversation.",
        _json(_ref("Items"), "A page of items."),
        _CONVERSATION_REFUSALS,
        ("conversation_id", "path", _TEXT, "As the stored responses tell it."),
        ("limit", "query", {"type": "integer", "minimum": 1, "maximum": 100}, "Messages per page; 20."),
        ("order", "query", {"enum": ["asc", "desc"]}, "Newest first unless `asc`."),
        ("after", "query", _TEXT, "The page behind this item."),
    ),
    ("/v1/conversations/{conversation_id}/items/{item_id}", "get"): _read(
        "retrieveConversationItem",
        "One item of a conversation.",
        _json({"type": "object"}, "The item."),
        _CONVERSATION_REFUSALS,
        ("conversation_id", "path", _TEXT, "As the stored responses tell it."),
        ("item_id", "path", _TEXT, "As the list tells it."),
    ),
    ("/v1/models", "get"): _read(
        "listModels",
        "The models the caller may use; Anthropic's shape when `anthropic-version` is sent.",
        _json(_ref("Models"), "The models."),
        _MODELS_REFUSALS,
        ("anthropic-version", "header", _TEXT, "Asks for Anthropic's shape, in pages."),
        # A parameter of Anthropic's shape alone: in OpenAI's it is looked at as little as any other.
        ("limit", "query", _TEXT, "In Anthropic's shape: models per page, 1 to 1000; 20."),
        ("after_id", "query", _TEXT, "The page behind this model."),
        ("before_id", "query", _TEXT, "The page before this model."),
        ("lifecycle", "query", _TEXT, "Only `active` or `deprecated` ones."),
    ),
    ("/v1/models/{model_id}", "get"): _read(
        "retrieveModel",
        "One model the caller may use.",
        _json(_ref("Model"), "The model."),
        _MODELS_REFUSALS,
        ("model_id", "path", _TEXT, "May hold slashes."),
        ("anthropic-version", "header", _TEXT, "Asks for Anthropic's shape."),
    ),
    ("/", "get"): _open("greet", "Answers without a key; clients probe it.", s200="Served."),
    ("/healthz", "get"): _open("health", "The process answers.", s200="Alive."),
    ("/readyz", "get"): _open(
        "readiness", "Whether requests are served now.", s200="Ready.", s503="Not ready; see components."
    ),
    ("/metrics", "get"): _open("metrics", "Prometheus text format.", s200="Metrics."),
    ("/openapi.json", "get"): _open("describe", "This document.", s200="OpenAPI 3.1."),
}


class Described(msgspec.Struct, frozen=True):
    """What a part of the API says of itself."""

    operations: Mapping[tuple[str, str], Schema]
    """By path (without the prefix it is mounted at) and method in lower case."""
    schemas: Schema = {}
    """What the operations refer to, by name."""


INFERENCE = Described(OPERATIONS, _SCHEMAS)
"""Inference, and what stands at the root."""


def describe(mounted: Iterable[tuple[str, Routes, Described]]) -> bytes:
    """The OpenAPI 3.1 document of these (prefix, routes, what they say). Raises KeyError for a route
    that nothing is said of."""
    paths: dict[str, Schema] = {}
    schemas: Schema = {}
    for prefix, routes, described in mounted:
        schemas |= described.schemas
        for path, methods in routes.items():
            # A parameter that takes the rest of the path is one like any other in OpenAPI.
            name = re.sub(r"\{\+", "{", path.decode())
            for method in methods:
                verb = method.decode().lower()
                paths.setdefault(prefix + name, {})[verb] = described.operations[name, verb]
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Triptych", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }
    return msgspec.json.encode(document)
