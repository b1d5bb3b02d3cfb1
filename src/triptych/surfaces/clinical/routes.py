"""What the clinical surface serves, and how it refuses."""

import msgspec

from triptych.core.failure import Failure
from triptych.core.response import Response
from triptych.edge.app import Route, Routes
from triptych.edge.message import Request, identity_headers
from triptych.pipeline import Pipeline
from triptych.surfaces.clinical.chat import SURFACE, CreateChat, serve_chat
from triptych.surfaces.clinical.dialects import MessagesDialect, NativeDialect
from triptych.surfaces.clinical.failures import messages_error, native_error
from triptych.surfaces.clinical.messages import CountStrictTokens, CreateStrictMessage
from triptych.surfaces.clinical.models import Catalogue
from triptych.surfaces.clinical.records import Records
from triptych.surfaces.governed import Authenticator, guard, serve
from triptych.surfaces.idempotent import Idempotency
from triptych.surfaces.lookup import Lookup
from triptych.surfaces.operations import greet


class ClinicalSurface:
    """Health-care developers point their SDK, or plain HTTP, here; see ``docs/contracts/clinical.md``."""

    def __init__(self, prefix: str, hosts: tuple[str, ...], *tables: Routes) -> None:
        """``tables``: the routes of each part of the surface; no path may be in two of them."""
        self.prefix = prefix.encode()
        self.owns = (self.prefix,)
        self.hosts = hosts
        routes: dict[bytes, dict[bytes, Route]] = {b"/": {b"GET": Route(greet, always=True)}}
        for table in tables:
            for path, methods in table.items():
                if path in routes:
                    raise ValueError(f"the path {path.decode()} is served twice")
                routes[path] = dict(methods)
        self.routes: Routes = routes

    def refuse(self, request: Request, failure: Failure) -> Response:
        request_id = "req_" + request.id
        path = request.path[len(self.prefix) :]
        on_messages = path == b"/v1/messages" or path.startswith(b"/v1/messages/")
        response = (messages_error if on_messages else native_error)(failure, request_id)
        response.headers = (*identity_headers(request), *response.headers)
        return response


class Assistant(msgspec.Struct, frozen=True):
    """Everything that stands behind chat and messages."""

    pipeline: Pipeline
    lookup: Lookup
    chat: CreateChat
    records: Records
    catalogue: Catalogue
    max_body_bytes: int


def assistant_routes(assistant: Assistant, idempotency: Idempotency, authenticate: Authenticator) -> Routes:
    """Chat, messages, their records, and the models that answer them."""
    check, pipeline, lookup = guard(authenticate), assistant.pipeline, assistant.lookup
    messages, native = MessagesDialect(), NativeDialect()
    create = CreateStrictMessage(assistant.max_body_bytes)
    count = CountStrictTokens(assistant.max_body_bytes, messages)
    record = lookup.serve("records", assistant.records.retrieve, lambda _: native)
    models = lookup.serve("models", assistant.catalogue.list, lambda _: native)
    create_message = serve(create, SURFACE, "messages", messages, pipeline, idempotency)
    count_tokens = serve(count, SURFACE, "count_tokens", messages, pipeline, idempotency)
    return {
        b"/v1/ai/chat": {b"POST": Route(serve_chat(assistant.chat, pipeline, idempotency), check)},
        b"/v1/ai/messages/{message_id}": {b"GET": Route(record, check)},
        b"/v1/ai/models": {b"GET": Route(models, check)},
        b"/v1/messages": {b"POST": Route(create_message, check)},
        b"/v1/messages/count_tokens": {b"POST": Route(count_tokens, check)},
    }
