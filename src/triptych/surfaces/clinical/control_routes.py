"""Where the control plane is served: keys, usage, budget, agreements, providers."""

import msgspec

from triptych.edge.app import Route, Routes
from triptych.surfaces.clinical.compliance import BAA_PATH, Compliance
from triptych.surfaces.clinical.control import SCOPE
from triptych.surfaces.clinical.dialects import NativeDialect
from triptych.surfaces.clinical.keys import Keys
from triptych.surfaces.clinical.provider_status import ProviderStatus
from triptych.surfaces.clinical.usage import Usage
from triptych.surfaces.governed import Authenticator, guard
from triptych.surfaces.idempotent import Idempotency
from triptych.surfaces.lookup import LookUp, Lookup

MODELS_PATH = "/v1/ai/models"
"""The catalogue, with the ends of models that have one."""


class Control(msgspec.Struct, frozen=True):
    keys: Keys
    usage: Usage
    compliance: Compliance
    provider_status: ProviderStatus


def control_routes(
    control: Control, lookup: Lookup, idempotency: Idempotency, authenticate: Authenticator
) -> Routes:
    check, dialect = guard(authenticate), NativeDialect()

    def route(name: str, look_up: LookUp, scope: str | None, *, once: bool = False) -> Route:
        endpoint = lookup.serve(
            name, look_up, lambda _: dialect, scope=scope, idempotency=idempotency if once else None
        )
        return Route(endpoint, check)

    keys, usage, compliance = control.keys, control.usage, control.compliance
    baa = BAA_PATH.encode()
    return {
        b"/v1/api_keys": {
            b"GET": route("api_keys", keys.list, SCOPE),
            b"POST": route("api_keys", keys.create, SCOPE, once=True),
        },
        b"/v1/api_keys/{key_id}": {b"DELETE": route("api_keys", keys.revoke, SCOPE)},
        b"/v1/usage": {b"GET": route("usage", usage.read, SCOPE)},
        b"/v1/usage/budget": {
            b"GET": route("budget", usage.budget, SCOPE),
            b"PUT": route("budget", usage.change, SCOPE),
        },
        baa: {b"GET": route("compliance", compliance.baa, None)},
        baa + b"/acceptances": {b"GET": route("compliance", compliance.list, None)},
        baa + b"/acceptances/{acceptance_id}": {b"GET": route("compliance", compliance.retrieve, None)},
        baa + b"/acceptances/{acceptance_id}/download": {
            b"GET": route("compliance", compliance.download, None)
        },
        b"/v1/provider-status": {b"GET": route("provider_status", control.provider_status.list, None)},
    }
