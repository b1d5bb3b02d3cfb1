"""What the inference surface serves, and how it refuses."""

import msgspec

from triptych.core.call import header
from triptych.core.failure import Failure
from triptych.core.response import Response
from triptych.edge.app import Route, Routes
from triptych.edge.message import Request, identity_headers
from triptych.pipeline import Pipeline
from triptych.surfaces.governed import Authenticator, guard, serve
from triptych.surfaces.inference.conversations import Conversations, ConversationsDialect
from triptych.surfaces.inference.failures import (
    agents_error,
    conversations_error,
    messages_error,
    openai_error,
)
from triptych.surfaces.inference.keeping import Memory
from triptych.surfaces.inference.messages import MessagesDialect
from triptych.surfaces.inference.models import Models
from triptych.surfaces.inference.models import dialect_of as dialect_of_models
from triptych.surfaces.inference.openai import (
    ChatDialect,
    CreateChatCompletion,
    CreateResponse,
    ResponsesDialect,
)
from triptych.surfaces.inference.runs import SURFACE, Runs, serve_kept
from triptych.surfaces.inference.stored_responses import StoredDialect, StoredResponsesEndpoints
from triptych.surfaces.lookup import Lookup
from triptych.surfaces.messages import CountTokens, CreateMessage
from triptych.surfaces.operations import greet


class State(msgspec.Struct, frozen=True):
    """Everything that stands behind stored responses and conversations."""

    memory: Memory
    runs: Runs
    responses: StoredResponsesEndpoints
    conversations: Conversations


class InferenceSurface:
    """Stock SDKs point here; see ``docs/contracts/inference.md``."""

    def __init__(
        self,
        prefix: str,
        pipeline: Pipeline,
        lookup: Lookup,
        models: Models,
        state: State,
        authenticate: Authenticator,
        max_body_bytes: int,
        hosts: tuple[str, ...] = (),
    ) -> None:
        self.prefix = prefix.encode()
        self.owns = (self.prefix,)
        self.hosts = hosts
        check = guard(authenticate)
        messages, chat = MessagesDialect(), ChatDialect()
        create = serve(CreateMessage(max_body_bytes), SURFACE, "messages", messages, pipeline)
        count = serve(CountTokens(max_body_bytes, messages), SURFACE, "count_tokens", messages, pipeline)
        complete = serve(CreateChatCompletion(max_body_bytes), SURFACE, "chat_completions", chat, pipeline)
        create_response = CreateResponse(max_body_bytes, state.memory)
        respond = serve_kept(create_response, "responses", ResponsesDialect(), pipeline, state.runs)
        list_models = lookup.serve("models", models.list, dialect_of_models)
        retrieve_model = lookup.serve("models", models.retrieve, dialect_of_models)
        stored, told = state.responses, StoredDialect()
        # A response whose client left goes on, in its slot: it can be followed and stopped all the same.
        retrieve_response = lookup.serve("responses", stored.retrieve, lambda _: told, slot=False)
        delete_response = lookup.serve("responses", stored.delete, lambda _: told, slot=False)
        conversations, dialect = state.conversations, ConversationsDialect()
        list_items = lookup.serve("conversations", conversations.list_items, lambda _: dialect)
        retrieve_item = lookup.serve("conversations", conversations.retrieve_item, lambda _: dialect)
        self.routes: Routes = {
            b"/v1/messages": {b"POST": Route(create, check)},
            b"/v1/messages/count_tokens": {b"POST": Route(count, check)},
            b"/v1/chat/completions": {b"POST": Route(complete, check)},
            b"/v1/responses": {b"POST": Route(respond, check)},
            # Operations of the vendor's that are not served are no ids of responses.
            b"/v1/responses/compact": {},
            b"/v1/responses/input_tokens": {},
            b"/v1/responses/{response_id}": {
                b"GET": Route(retrieve_response, check),
                b"DELETE": Route(delete_response, check),
            },
            b"/v1/conversations/{conversation_id}/items": {b"GET": Route(list_items, check)},
            b"/v1/conversations/{conversation_id}/items/{item_id}": {b"GET": Route(retrieve_item, check)},
            b"/v1/models": {b"GET": Route(list_models, check)},
            b"/v1/models/{+model_id}": {b"GET": Route(retrieve_model, check)},
            b"/": {b"GET": Route(greet, always=True)},
        }

    def refuse(self, request: Request, failure: Failure) -> Response:
        request_id = "req_" + request.id
        path = request.path[len(self.prefix) :]
        on_models = _is_at(path, b"/v1/models") and header(request.headers, b"anthropic-version") is not None
        if on_models or _is_at(path, b"/v1/messages"):
            response = messages_error(failure, request_id)
        elif _is_at(path, b"/v1/agents") or _is_at(path, b"/v1/runs"):
            response = agents_error(failure, request_id)
        elif path.startswith(b"/v1/conversations/"):
            response = conversations_error(failure, request_id)
        else:
            response = openai_error(failure, request_id)
        response.headers = (*identity_headers(request), *response.headers)
        return response


def _is_at(path: bytes, owned: bytes) -> bool:
    return path == owned or path.startswith(owned + b"/")
