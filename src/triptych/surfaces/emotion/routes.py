"""What the emotion surface serves, and how it refuses."""

from collections.abc import Awaitable, Mapping

from triptych.core.exchange import Exchange
from triptych.core.failure import Failure
from triptych.core.response import Response
from triptych.edge.app import Guard, Route, Routes
from triptych.edge.message import Request
from triptych.edge.reply import Reply
from triptych.pipeline import Pipeline
from triptych.stages.settle import Dialect
from triptych.surfaces.emotion.analysis import Analyses, Engines
from triptych.surfaces.emotion.body import MAX_BODY_BYTES, check_size
from triptych.surfaces.emotion.chat import CompleteChat
from triptych.surfaces.emotion.chat_stream import EmotionReply
from triptych.surfaces.emotion.contexts import ContextEndpoints, refuse_reserved
from triptych.surfaces.emotion.dialect import EmotionDialect
from triptych.surfaces.emotion.failures import emotion_error, request_id
from triptych.surfaces.emotion.models import Check, ModelList, status
from triptych.surfaces.governed import serve
from triptych.surfaces.idempotent import Idempotency
from triptych.surfaces.lookup import LookUp, Lookup
from triptych.surfaces.operations import greet

SURFACE = "emotion"
_OWNED = b"/v2"
_CHAT = "chat_completions"


class EmotionSurface:
    """Scores of texts, contexts and chats; see ``docs/contracts/emotion.md``."""

    def __init__(
        self,
        prefix: str,
        hosts: tuple[str, ...],
        pipeline: Pipeline,
        lookup: Lookup,
        check: Guard,
        engines: Engines,
        idempotency: Idempotency,
        models: ModelList,
        components: Mapping[str, Check],
    ) -> None:
        """``components``: what ``/v2/status`` tells of, besides the engine."""
        self.prefix = prefix.encode()
        self.hosts = hosts
        # Beside another surface at the root, only its own paths are told of in its form.
        self.owns = (self.prefix or _OWNED,)
        analyses = Analyses(engines)
        contexts = ContextEndpoints(engines.keeping, engines.trajectory)
        dialect = EmotionDialect()

        def dialect_of(request: Request) -> Dialect:
            return dialect

        def served(name: str, look_up: LookUp) -> Route:
            return Route(lookup.serve(name, look_up, dialect_of), check)

        def posted(name: str, look_up: LookUp) -> Route:
            return Route(lookup.serve(name, look_up, dialect_of, idempotency=idempotency), check)

        refuse_large = lookup.serve(_CHAT, _refuse_large, dialect_of)

        def chat_or_refusal(request: Request, reply: Reply) -> Awaitable[None]:
            # This surface's size comes after the limits, and before anything of the governed path.
            if len(request.body) > MAX_BODY_BYTES:
                return refuse_large(request, reply)
            told = EmotionReply(reply)
            complete = CompleteChat(engines, told)
            return serve(complete, SURFACE, _CHAT, dialect, pipeline, idempotency)(request, told)

        state, delete = served("contexts", contexts.state), served("contexts", contexts.delete)
        routes: dict[bytes, dict[bytes, Route]] = {
            b"/v2/emotions/{context_id}/analysis": {b"POST": posted("context_analysis", analyses.analyse)},
            b"/v2/emotions/{context_id}/message/{external_id}": {
                b"GET": served("contexts", contexts.message)
            },
            b"/v2/emotions/{context_id}": {b"GET": state, b"DELETE": delete},
            b"/v2/chat/completions": {b"POST": Route(chat_or_refusal, check)},
            b"/v2/models": {b"GET": served("models", models.list)},
            b"/v2/status": {b"GET": Route(status(components, engines.scoring), always=True)},
        }
        for word, analyse in ((b"analysis", analyses.analyse), (b"batch-analysis", analyses.analyse_batch)):
            refused = served("contexts", refuse_reserved(word))
            name = "analysis" if word == b"analysis" else "batch_analysis"
            routes[b"/v2/emotions/" + word] = {
                b"POST": posted(name, analyse),
                b"GET": refused,
                b"DELETE": refused,
            }
        if self.prefix:
            routes[b"/"] = {b"GET": Route(greet, always=True)}
        self.routes: Routes = routes

    def refuse(self, request: Request, failure: Failure) -> Response:
        response = emotion_error(failure, request.id)
        response.headers = ((b"x-request-id", request_id(request.id).encode()), *response.headers)
        return response


async def _refuse_large(exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect) -> Response:
    check_size(exchange.bytes_in)
    raise AssertionError("only for bodies over the limit")
