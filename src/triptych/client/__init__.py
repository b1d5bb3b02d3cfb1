"""A typed client for the clinical and the emotion surface: ``pip install 'triptych[client]'``.

    from triptych.client import Triptych

    with Triptych("http://127.0.0.1:8080", api_key="...") as triptych:
        triptych.emotion.analyse(["What a lovely day!"]).messages[0].emotions.category
        triptych.clinical.chat("Hello").text

``AsyncTriptych`` is the same, to be awaited. The inference surface needs no client of ours: the vendors'
SDKs speak to it. See ``docs/client.md``.
"""

from triptych.client.asynchronous import AsyncTriptych
from triptych.client.errors import (
    ApiError,
    AuthenticationError,
    ConflictError,
    ConnectionFailed,
    InvalidRequestError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    StreamFailed,
    TriptychError,
)
from triptych.client.synchronous import Triptych

__all__ = [
    "ApiError",
    "AsyncTriptych",
    "AuthenticationError",
    "ConflictError",
    "ConnectionFailed",
    "InvalidRequestError",
    "NotFoundError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "RateLimitError",
    "ServerError",
    "StreamFailed",
    "Triptych",
    "TriptychError",
]
