"""The schema, once, for both engines.

Instants are int microseconds since the epoch (UTC), money is int nano-USD, lists are JSON text.
Ids are bare ULIDs; the prefixes that the contracts show (``key_``, ``req_``) are put on by the
surfaces. The migrations say the same thing again, by hand; a test holds the two together.

A table belongs to the metadata once its module is imported, so this package imports them all.
"""

from triptych.storage.tables.agreements import admin_actions, append_only, baa_acceptances, baa_templates
from triptych.storage.tables.base import ORIGIN_API, ORIGIN_FILE, metadata
from triptych.storage.tables.content import (
    chat_turns,
    idempotency_keys,
    org_data_keys,
    stored_conversations,
    stored_events,
    stored_responses,
)
from triptych.storage.tables.directory import api_keys, groups, orgs, user_groups, users
from triptych.storage.tables.emotion import analyse_tokens, emotion_contexts, emotion_messages
from triptych.storage.tables.installation import installation, model_retirements, nodes, snapshot_version
from triptych.storage.tables.ledger import balances, events, exchanges, metered_orgs, request_days

__all__ = (
    "ORIGIN_API",
    "ORIGIN_FILE",
    "admin_actions",
    "analyse_tokens",
    "api_keys",
    "append_only",
    "baa_acceptances",
    "baa_templates",
    "balances",
    "chat_turns",
    "emotion_contexts",
    "emotion_messages",
    "events",
    "exchanges",
    "groups",
    "idempotency_keys",
    "installation",
    "metadata",
    "metered_orgs",
    "model_retirements",
    "nodes",
    "org_data_keys",
    "orgs",
    "request_days",
    "snapshot_version",
    "stored_conversations",
    "stored_events",
    "stored_responses",
    "user_groups",
    "users",
)
