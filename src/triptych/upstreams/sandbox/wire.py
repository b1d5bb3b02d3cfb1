"""What a wire of the sandbox has to provide; one file each implements it."""

from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from triptych.core.call import Headers
from triptych.upstreams.sandbox.replies import Prompt, Reply
from triptych.upstreams.sandbox.scenarios import Scenario


class RequestRefused(Exception):
    """The body is not a request of this wire; the text says why and quotes none of it."""


class Exchange(msgspec.Struct, frozen=True):
    """What the renderings of one answer share."""

    digest: str
    """Of the request's body: the same request gets the same ids."""
    model: str
    prompt: Prompt


class Script(msgspec.Struct, frozen=True):
    """A streamed answer: everything before the words, the words (those of the thoughts too),
    everything after."""

    head: bytes
    deltas: Iterator[bytes]
    tail: Callable[[], bytes]
    """Called when the words are said: where events are numbered, their number is known then."""


class ProviderError(msgspec.Struct, frozen=True):
    """An error answer. ``headers`` are those beside content type and request id."""

    status: int
    body: bytes
    headers: Headers = ()


class Wire(Protocol):
    def read(self, body: bytes) -> Prompt:
        """Raises RequestRefused."""
        ...

    def plain(self, exchange: Exchange, reply: Reply) -> bytes: ...

    def script(self, exchange: Exchange, reply: Reply) -> Script: ...

    def counts(self, path: str) -> bool:
        """Whether the path asks for a count of tokens only."""
        ...

    def count(self, prompt: Prompt) -> bytes: ...

    def error(self, scenario: Scenario, digest: str) -> ProviderError: ...

    def refused(self, sentence: str, digest: str) -> ProviderError: ...

    def error_event(self, scenario: Scenario) -> bytes:
        """The frame that ends a stream when the failure happens inside it."""
        ...
