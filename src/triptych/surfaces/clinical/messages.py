"""POST /v1/messages and count_tokens: Anthropic's wire, strict, with facts of ours beside the answer."""

from typing import Any

import msgspec

from triptych.core.call import header
from triptych.core.exchange import Exchange
from triptych.core.response import Response
from triptych.core.usage import Usage
from triptych.pipeline import Carriage
from triptych.stages.departure import AnswerReader, StreamMeter
from triptych.surfaces.clinical.meta import answer_meta
from triptych.surfaces.messages import CountTokens, CreateMessage
from triptych.wires import anthropic_messages as messages_wire
from triptych.wires.anthropic_messages.known_fields import check_fields
from triptych.wires.anthropic_messages.stamp import StampedStream, stamp_answer


class CreateStrictMessage(CreateMessage):
    def parse(self, exchange: Exchange) -> messages_wire.MessagesRequest:
        """Raises Failure UNSUPPORTED_PARAMETER for a field that is not Anthropic's."""
        parsed = super().parse(exchange)
        check_fields(parsed.body, beta=bool(header(exchange.headers, b"anthropic-beta")))
        return parsed

    def carry(
        self, exchange: Exchange, parsed: messages_wire.MessagesRequest, wires: frozenset[str]
    ) -> Carriage | Response:
        carriage = super().carry(exchange, parsed, wires)
        if isinstance(carriage, Response):
            return carriage
        reader = StampingReader(exchange, carriage.reader, "msg_" + exchange.id)
        return msgspec.structs.replace(carriage, reader=reader)


class CountStrictTokens(CountTokens):
    def parse(self, exchange: Exchange) -> messages_wire.MessagesRequest:
        """Raises Failure UNSUPPORTED_PARAMETER for a field that is not Anthropic's."""
        parsed = super().parse(exchange)
        beta = bool(header(exchange.headers, b"anthropic-beta"))
        check_fields(parsed.body, beta=beta, counting=True)
        return parsed

    def carry(
        self, exchange: Exchange, parsed: messages_wire.MessagesRequest, wires: frozenset[str]
    ) -> Carriage | Response:
        carriage = super().carry(exchange, parsed, wires)
        if isinstance(carriage, Response):
            carriage.body = stamp_answer(carriage.body, None, answer_meta(exchange))
            return carriage
        return msgspec.structs.replace(carriage, reader=StampingReader(exchange, carriage.reader, None))


class StampingReader:
    """Puts an id of ours, and ``meta``, on what another reader gives. Implements ``AnswerReader``."""

    def __init__(self, exchange: Exchange, reader: AnswerReader, message_id: str | None) -> None:
        self._exchange = exchange
        self._reader = reader
        self._message_id = message_id

    def stream_meter(self, parsed: Any, request_bytes: int) -> StreamMeter:
        assert self._message_id is not None
        return StampedStream(self._reader.stream_meter(parsed, request_bytes), self._message_id)

    def read_answer(self, parsed: Any, body: bytes, request_bytes: int) -> tuple[bytes, Usage]:
        written, usage = self._reader.read_answer(parsed, body, request_bytes)
        return stamp_answer(written, self._message_id, answer_meta(self._exchange)), usage
