"""What ``/openapi.json`` says of the control plane."""

from triptych.core.principal import SCOPES
from triptych.storage.keys import MAX_NAME_CHARS
from triptych.surfaces.clinical.compliance import BAA_PATH
from triptych.surfaces.clinical.control import LARGEST_PAGE
from triptych.surfaces.clinical.described import (
    CLINICAL,
    NATIVE_REFUSALS,
    envelope,
    json_answer,
    operation,
    read,
    ref,
)
from triptych.surfaces.clinical.usage import MOST_THRESHOLDS, MOST_USD
from triptych.surfaces.openapi import Described, Schema, or_null

_TEXT: Schema = {"type": "string"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_USD: Schema = {"type": "number", "minimum": 0}
_SCOPES: Schema = {"type": "array", "minItems": 1, "items": {"enum": sorted(SCOPES)}}
_PAGE_META: Schema = {
    "type": "object",
    "required": ["next_cursor", "has_more", "request_id"],
    "properties": {
        "next_cursor": or_null(_TEXT),
        "has_more": {"type": "boolean"},
        "request_id": _TEXT,
    },
}


def _object(properties: Schema) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


_KEY: Schema = {
    "id": {"type": "string", "pattern": "^key_"},
    "name": _TEXT,
    "prefix": _TEXT,
    "last_four": _TEXT,
    "scopes": {"type": "array", "items": {"enum": sorted(SCOPES)}},
    "environment": {"enum": ["live", "test"]},
    "created_at": _TIME,
    "expires_at": or_null(_TIME),
}
_TEMPLATE: Schema = _object({"version": _TEXT, "sha256": _TEXT})
_STATES: Schema = {"enum": ["none", "active", "expired", "superseded"]}
_ACCEPTANCE: Schema = _object(
    {
        "id": {"type": "string", "pattern": "^baa_"},
        "status": {"enum": ["active", "expired", "superseded"]},
        "template": _TEMPLATE,
        "signer": _object({"name": _TEXT, "title": _TEXT, "email": _TEXT}),
        "ip_address": or_null(_TEXT),
        "accepted_at": _TIME,
        "expires_at": or_null(_TIME),
    }
)
_MODEL_USAGE: Schema = _object(
    {
        "model": _TEXT,
        "requests": _COUNT,
        "failed": _COUNT,
        "input_tokens": _COUNT,
        "output_tokens": _COUNT,
        "cache_read_tokens": _COUNT,
        "cache_write_tokens": _COUNT,
        "credits": _COUNT,
        "spend_usd": _USD,
    }
)
_THRESHOLDS: Schema = {
    "type": "array",
    "maxItems": MOST_THRESHOLDS,
    "uniqueItems": True,
    "items": {"type": "integer", "minimum": 1, "maximum": 99},
}

SCHEMAS: Schema = {
    "ClinicalKeys": envelope(
        {"type": "array", "items": _object({**_KEY, "revoked_at": {"type": "null"}})}, _PAGE_META
    ),
    "ClinicalCreateKey": {
        "type": "object",
        "required": ["name", "scopes"],
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": MAX_NAME_CHARS},
            "scopes": _SCOPES,
            "environment": {"enum": ["live", "test"], "default": "live"},
        },
        "additionalProperties": False,
    },
    "ClinicalCreatedKey": envelope(_object({**_KEY, "plaintext": _TEXT})),
    "ClinicalRevokedKey": envelope(_object({"id": _TEXT, "revoked_at": _TIME})),
    "ClinicalUsage": envelope(
        _object(
            {
                "period": _object({"start": _TIME, "end": _TIME}),
                "credits": _object(
                    {
                        "allotment": or_null(_COUNT),
                        "used": _COUNT,
                        "reserved": _COUNT,
                        "remaining": or_null(_COUNT),
                    }
                ),
                "requests": _object({"total": _COUNT, "failed": _COUNT}),
                "by_model": {"type": "array", "items": _MODEL_USAGE},
                "spend_usd": _USD,
            }
        )
    ),
    "ClinicalBudget": envelope(
        _object(
            {
                "spend_cap_usd": or_null(_USD),
                "alert_thresholds": _THRESHOLDS,
                "opus_enabled": {"type": "boolean"},
                "credits_allotment": or_null(_COUNT),
                "current_spend_usd": _USD,
                "cycle_reset_at": _TIME,
            }
        )
    ),
    "ClinicalChangeBudget": {
        "type": "object",
        "properties": {
            "spend_cap_usd": or_null({**_USD, "maximum": MOST_USD}),
            "alert_thresholds": or_null(_THRESHOLDS),
            "opus_enabled": {"type": "boolean"},
        },
        "additionalProperties": False,
    },
    "ClinicalAgreement": envelope(
        _object(
            {
                "status": _STATES,
                "required": {"type": "boolean"},
                "template": or_null(_TEMPLATE),
                "signing_url": or_null(_TEXT),
                "accepted_at": or_null(_TIME),
                "expires_at": or_null(_TIME),
            }
        )
    ),
    "ClinicalAcceptance": envelope(_ACCEPTANCE),
    "ClinicalAcceptances": envelope({"type": "array", "items": _ACCEPTANCE}, _PAGE_META),
    "ClinicalProviders": envelope(
        {
            "type": "array",
            "items": _object(
                {
                    "provider": _TEXT,
                    "status": {"enum": ["operational", "degraded", "down"]},
                    "affected_models": {"type": "array", "items": _TEXT},
                }
            ),
        }
    ),
}

_PAGE = (
    ("limit", "query", {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE}, "Per page; 50."),
    ("cursor", "query", _TEXT, "The page behind the one that named it."),
)
_ACCEPTANCE_ID = ("acceptance_id", "path", _TEXT, "A bare ULID, or `baa_<ulid>`.")
_PDF: Schema = {
    "description": "The agreement and its signature.",
    "content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}},
}

OPERATIONS: dict[tuple[str, str], Schema] = {
    ("/v1/api_keys", "get"): read(
        "clinicalListKeys",
        "The org's keys that are not revoked.",
        json_answer(ref("ClinicalKeys"), "A page of keys."),
        *_PAGE,
    ),
    ("/v1/api_keys", "post"): operation(
        "clinicalCreateKey",
        "Make a key for the caller's user.",
        "ClinicalCreateKey",
        {"201": json_answer(ref("ClinicalCreatedKey"), "The key; its text is shown this once.")},
        NATIVE_REFUSALS,
    ),
    ("/v1/api_keys/{key_id}", "delete"): read(
        "clinicalRevokeKey",
        "Revoke a key for good.",
        json_answer(ref("ClinicalRevokedKey"), "Revoked."),
        ("key_id", "path", _TEXT, "A bare ULID, or `key_<ulid>`."),
    ),
    ("/v1/usage", "get"): read(
        "clinicalUsage",
        "What the org used in the cycle that runs.",
        json_answer(ref("ClinicalUsage"), "Credits, requests and spending."),
    ),
    ("/v1/usage/budget", "get"): read(
        "clinicalBudget",
        "The org's cap, alerts and premium models.",
        json_answer(ref("ClinicalBudget"), "The budget."),
    ),
    ("/v1/usage/budget", "put"): operation(
        "clinicalChangeBudget",
        "Change the org's budget; what is absent stays.",
        "ClinicalChangeBudget",
        {"200": json_answer(ref("ClinicalBudget"), "The budget as it is now.")},
        NATIVE_REFUSALS,
    ),
    (BAA_PATH, "get"): read(
        "clinicalAgreement",
        "The state of the org's Business Associate Agreement.",
        json_answer(ref("ClinicalAgreement"), "The state."),
    ),
    (f"{BAA_PATH}/acceptances", "get"): read(
        "clinicalAcceptances",
        "What the org signed.",
        json_answer(ref("ClinicalAcceptances"), "A page of acceptances."),
        *_PAGE,
    ),
    (f"{BAA_PATH}/acceptances/{{acceptance_id}}", "get"): read(
        "clinicalAcceptance",
        "One acceptance.",
        json_answer(ref("ClinicalAcceptance"), "The acceptance."),
        _ACCEPTANCE_ID,
    ),
    (f"{BAA_PATH}/acceptances/{{acceptance_id}}/download", "get"): read(
        "clinicalDownloadAcceptance", "One acceptance as PDF.", _PDF, _ACCEPTANCE_ID
    ),
    ("/v1/provider-status", "get"): read(
        "clinicalProviderStatus",
        "How the providers of the caller's models are doing.",
        json_answer(ref("ClinicalProviders"), "Each provider's state."),
    ),
}
CLINICAL_WHOLE = Described({**CLINICAL.operations, **OPERATIONS}, {**CLINICAL.schemas, **SCHEMAS})
"""The surface with its control plane."""
