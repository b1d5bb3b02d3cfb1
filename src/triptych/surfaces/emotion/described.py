"""What ``/openapi.json`` says of the emotion surface."""

from typing import Any

from triptych.core.emotion import COMPLEXITIES, DISCOVERY_LEVELS, INTENSITY_LEVELS, LABELS
from triptych.surfaces.emotion.body import MAX_ID_BYTES, MAX_MESSAGES, MAX_TEXT_CHARS, ROLES
from triptych.surfaces.emotion.failures import ROWS
from triptych.surfaces.openapi import Described, Schema, or_null

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_MAYBE_TEXT: Schema = or_null(_TEXT)


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Schema, *required: str, **more: Any) -> Schema:
    return {"type": "object", "required": list(required or properties), "properties": properties, **more}


def _score(least: float = 0.0) -> Schema:
    return {"type": "number", "minimum": least, "maximum": 1.0}


def _words(*words: str) -> Schema:
    return {"enum": list(dict.fromkeys(words))}


_BANDS = [name for _, name in INTENSITY_LEVELS]
_LEVELS = [name for _, name in DISCOVERY_LEVELS]
_TIME: Schema = {"type": "string", "format": "date-time"}
_MESSAGE_TEXT: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT_CHARS}
_EMOTIONS: Schema = {
    "type": "object",
    "properties": {role: {"anyOf": [_ref("Emotion"), {"type": "null"}]} for role in (*ROLES, "tool")},
}
_USAGE = _object({"analyse_tokens": _COUNT})
_OF_BATCH: Schema = {"index": _COUNT, "externalId": _MAYBE_TEXT}
_ERROR = _object(
    {
        "type": _words(*(row.type for row in ROWS.values())),
        "code": _words(*(row.code for row in ROWS.values())),
        "message": _TEXT,
        "param": _TEXT,
        "request_id": {"type": "string", "pattern": "^req-[0-9a-f]{10}$"},
    },
    "type",
    "code",
    "message",
    "request_id",
)
_CONTENT: Schema = {"anyOf": [_MESSAGE_TEXT, _object({"text": _MESSAGE_TEXT})]}
_SAID = _object({"role": or_null(_words(*ROLES)), "content": _CONTENT}, "content")
_CALLED = _object(
    {
        "role": {"const": "assistant"},
        "content": {"anyOf": [_CONTENT, {"enum": ["", None]}]},
        "tool_calls": {"type": "array", "minItems": 1, "items": {"type": "object"}},
    },
    "role",
    "tool_calls",
    description="Calls of tools, with or without a text.",
)
_GIVEN_BACK = _object(
    {"role": {"const": "tool"}, "tool_call_id": _TEXT, "content": _CONTENT},
    description="What a tool gave back.",
)

SCHEMAS: Schema = {
    "Emotion": _object(
        {
            "text": _TEXT,
            "category": _words(*LABELS),
            "raw": _object({label: _score() for label in LABELS}),
            "intensity": _score(),
            "intensityLevel": _words(*_BANDS),
            "valence": _score(-1.0),
            "arousal": _score(),
            "complexity": _words(*COMPLEXITIES),
            "wonderIndex": _score(),
            "discoveryLevel": _words(*_LEVELS),
            "language": {"type": "string", "description": "ISO 639-1, as far as it can be told."},
        },
        "category",
        "raw",
        "intensity",
        "intensityLevel",
        "valence",
        "arousal",
        "complexity",
        "wonderIndex",
        "discoveryLevel",
        description="Descriptive statistics of a text, not a clinical reading.",
    ),
    "AnalysisMessage": _object(
        {
            "role": or_null(_words(*ROLES)),
            "externalId": or_null({"type": "string", "minLength": 1, "maxLength": MAX_ID_BYTES}),
            "content": _CONTENT,
            "timestamp": or_null(_TIME),
        },
        "content",
    ),
    "Analyse": _object(
        {
            "model": {"const": "emotion-v2"},
            "messages": {
                "type": "array",
                "minItems": 1,
                "description": f"At most {MAX_MESSAGES}; more are 413.",
                "items": _ref("AnalysisMessage"),
            },
        }
    ),
    "Trajectory": {"type": "object", "description": "Of the user's messages; most of it from the third on."},
    "Analysis": _object(
        {
            "object": {"const": "emotions.analysis"},
            "model": _TEXT,
            "emotions": _EMOTIONS,
            "messages": {
                "type": "array",
                "items": _object(
                    {
                        "index": _COUNT,
                        "externalId": _MAYBE_TEXT,
                        "role": _words(*ROLES),
                        "emotions": _ref("Emotion"),
                    }
                ),
            },
            "metadata": _object({"context_id": _TEXT}),
            "trajectory": _ref("Trajectory"),
            "usage": _USAGE,
        },
        "object",
        "model",
        "emotions",
        "messages",
        "usage",
    ),
    "BatchAnalysis": _object(
        {
            "object": {"const": "emotions.batch_analysis"},
            "model": _TEXT,
            "results": {
                "type": "array",
                "items": {
                    "anyOf": [
                        _object({**_OF_BATCH, "status": {"const": "ok"}, "emotions": _ref("Emotion")}),
                        _object({**_OF_BATCH, "status": {"const": "error"}, "error": _ERROR}),
                    ]
                },
            },
            "usage": _USAGE,
        }
    ),
    "ContextState": _object(
        {
            "object": {"const": "emotions.state"},
            "metadata": _object(
                {"context_id": _TEXT, "created_at": _TIME, "expires_at": _TIME, "message_count": _COUNT}
            ),
            "emotions": _EMOTIONS,
            "trajectory": _ref("Trajectory"),
        }
    ),
    "ContextMessage": _object(
        {
            "object": {"const": "emotions.state"},
            "metadata": _object({"context_id": _TEXT, "message_id": _TEXT}),
            "emotions": _EMOTIONS,
        }
    ),
    "EmotionChat": _object(
        {
            "model": {"type": "string", "minLength": 1},
            "emotion_model": or_null({"const": "emotion-v2"}),
            "messages": {
                "type": "array",
                "minItems": 1,
                "description": f"At most {MAX_MESSAGES}; more are 413.",
                "items": {"anyOf": [_SAID, _CALLED, _GIVEN_BACK]},
            },
            "context_id": or_null({"type": "string", "minLength": 1, "maxLength": MAX_ID_BYTES}),
            "model_params": or_null(
                {
                    "type": "object",
                    "properties": {
                        "temperature": or_null({"type": "number", "minimum": 0, "maximum": 2}),
                        "top_p": or_null({"type": "number", "minimum": 0, "maximum": 1}),
                        "presence_penalty": or_null({"type": "number", "minimum": -2, "maximum": 2}),
                        "frequency_penalty": or_null({"type": "number", "minimum": -2, "maximum": 2}),
                        "max_tokens": or_null({"type": "integer", "minimum": 1}),
                    },
                }
            ),
            "emotion_model_params": or_null({"type": "object"}),
            "stream": or_null({"type": "boolean"}),
            "tools": or_null({"type": "array", "items": {"type": "object"}}),
            "tool_choice": {"description": "As OpenAI's; only beside `tools`."},
        },
        "model",
        "messages",
    ),
    "EmotionChatCompletion": _object(
        {
            "emotion_model": _TEXT,
            "emotions": _EMOTIONS,
            "conversationMode": {"type": "object"},
            "trajectory": _ref("Trajectory"),
            "usage": {"type": "object"},
        },
        description="OpenAI's chat completion, and these.",
    ),
    "EmotionModels": _object(
        {
            "object": {"const": "list"},
            "data": {
                "type": "array",
                "items": _object(
                    {"id": _TEXT, "object": {"const": "model"}, "type": _words("emotion", "chat")}
                ),
            },
        }
    ),
    "EmotionStatus": _object(
        {
            "object": {"const": "status"},
            "status": _words("operational", "down"),
            "components": {
                "type": "object",
                "additionalProperties": _words("operational", "down", "idle"),
            },
        }
    ),
    "EmotionError": _object({"error": _ERROR}),
}

_SECURITY: list[dict[str, list[str]]] = [{"apiKey": []}, {"bearer": []}]
_COMMON = (401, 403, 408, 413, 429, 431, 500, 503)
_POSTED = (400, 404, 409, 415, 422)


def _json(schema: str, text: str) -> Schema:
    return {"description": text, "content": {"application/json": {"schema": _ref(schema)}}}


def _refusals(*statuses: int) -> Schema:
    return {str(status): _json("EmotionError", "See error.code.") for status in sorted(statuses)}


def _post(operation: str, summary: str, body: str, answer: Schema, *parameters: Schema) -> Schema:
    return {
        "operationId": operation,
        "summary": summary,
        "security": _SECURITY,
        "parameters": [*parameters],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(body)}}},
        "responses": {"200": answer, **_refusals(*_COMMON, *_POSTED)},
    }


def _get(operation: str, summary: str, answer: Schema, *parameters: Schema, status: str = "200") -> Schema:
    return {
        "operationId": operation,
        "summary": summary,
        "security": _SECURITY,
        "parameters": [*parameters],
        "responses": {status: answer, **_refusals(*_COMMON, *((404, 422) if parameters else ()))},
    }


def _never(operation: str) -> Schema:
    """A word that cannot be the id of a context."""
    return {
        "operationId": operation,
        "summary": "A reserved word, which no context is called by.",
        "security": _SECURITY,
        "responses": _refusals(*_COMMON, 422),
    }


def _segment(name: str) -> Schema:
    schema = {"type": "string", "minLength": 1, "maxLength": MAX_ID_BYTES}
    return {"name": name, "in": "path", "required": True, "schema": schema}


_CONTEXT, _MESSAGE = _segment("context_id"), _segment("external_id")
_CHAT_ANSWER: Schema = {
    "description": "The completion; with `stream`, its chunks.",
    "content": {
        "application/json": {"schema": _ref("EmotionChatCompletion")},
        "text/event-stream": {},
    },
}

OPERATIONS: dict[tuple[str, str], Schema] = {
    ("/v2/emotions/analysis", "post"): _post(
        "analyseEmotions", "Score texts.", "Analyse", _json("Analysis", "The scores.")
    ),
    ("/v2/emotions/analysis", "get"): _never("readContextNamedAnalysis"),
    ("/v2/emotions/analysis", "delete"): _never("deleteContextNamedAnalysis"),
    ("/v2/emotions/batch-analysis", "post"): _post(
        "analyseBatch",
        "Score texts that have nothing to do with each other.",
        "Analyse",
        _json("BatchAnalysis", "The scores, in the order of the texts."),
    ),
    ("/v2/emotions/batch-analysis", "get"): _never("readContextNamedBatchAnalysis"),
    ("/v2/emotions/batch-analysis", "delete"): _never("deleteContextNamedBatchAnalysis"),
    ("/v2/emotions/{context_id}/analysis", "post"): _post(
        "analyseInContext",
        "Score texts as a part of a conversation, and keep the scores.",
        "Analyse",
        _json("Analysis", "The scores, and the course of the conversation."),
        _CONTEXT,
    ),
    ("/v2/emotions/{context_id}", "get"): _get(
        "readContext", "The state of a conversation.", _json("ContextState", "The state."), _CONTEXT
    ),
    ("/v2/emotions/{context_id}", "delete"): _get(
        "deleteContext", "Forget a conversation now.", {"description": "Gone."}, _CONTEXT, status="204"
    ),
    ("/v2/emotions/{context_id}/message/{external_id}", "get"): _get(
        "readContextMessage",
        "What is kept of one message.",
        _json("ContextMessage", "Its scores; its text only where the org keeps texts."),
        _CONTEXT,
        _MESSAGE,
    ),
    ("/v2/chat/completions", "post"): _post(
        "completeEmotionChat",
        "A model's answer, and the emotions of both sides.",
        "EmotionChat",
        _CHAT_ANSWER,
    ),
    ("/v2/models", "get"): _get(
        "listEmotionModels",
        "The emotion model, and the chat models the caller may use.",
        _json("EmotionModels", "The models."),
    ),
    ("/v2/status", "get"): {
        "operationId": "emotionStatus",
        "summary": "The state of the parts; without a key.",
        "security": [],
        "responses": {"200": _json("EmotionStatus", "The state of the parts.")},
    },
    ("/", "get"): {
        "operationId": "emotionGreet",
        "summary": "Answers without a key; clients probe it.",
        "security": [],
        "responses": {"200": {"description": "Served."}},
    },
}
EMOTION = Described(OPERATIONS, SCHEMAS)
