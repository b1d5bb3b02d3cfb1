"""What is kept of a response while its caller is told of it - also when the ledger stumbles."""

import asyncio
import json
from typing import Any

import pytest

from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.core.outcome import Ending
from triptych.core.principal import Principal, RequestLimits
from triptych.core.response import Response
from triptych.storage.errors import StorageError
from triptych.storage.kept import Keeping, Writes
from triptych.surfaces.inference.keeping import FLUSH_S, Keeper, KeptReply
from triptych.wires.openai_responses import parse_request

KEY = b"k" * 32


class Ledger:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[Writes, asyncio.Future[None]]] = []

    def keep(self, exchange_id: str, kept: Writes) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.asked.append((kept, future))
        return future

    def plain(self) -> list[bytes]:
        return [write.plain or b"" for writes, _ in self.asked for write in writes]


class Reply:
    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.blocked: asyncio.Future[None] | None = None
        self.disconnected = False
        self.started = False
        self.bytes_out = 0

    def write(self, piece: bytes) -> asyncio.Future[None] | None:
        self.written.append(piece)
        return self.blocked


def event(type_: str, number: int, **more: Any) -> bytes:
    data = json.dumps({"type": type_, "sequence_number": number, **more})
    return f"event: {type_}\ndata: {data}\n\n".encode()


CREATED = event("response.created", 0, response={"id": "resp_1", "status": "in_progress"})
DELTAS = [event("response.output_text.delta", number, delta=str(number)) for number in range(1, 9)]
COMPLETED = event("response.completed", 9, response={"id": "resp_1", "status": "completed", "output": []})


def exchange() -> Exchange:
    limits = RequestLimits()
    principal = Principal("ORG", "org", "ANA", "KEY", frozenset(), "live", (), limits, limits, limits)
    made = Exchange(
        id="01TESTEXCHANGE000000000000",
        surface="inference",
        endpoint="responses",
        principal=principal,
        headers=[],
        query=b"",
        body=b"",
        started_us=1,
        received_s=0.0,
    )
    made.opened = made.stream = True
    return made


def keeper(made: Exchange, ledger: Ledger) -> Keeper:
    keeping = Keeping(made.id, "ORG", "ANA", "live", KEY, "conv_1", None, False, 1)
    made.keeper = kept = Keeper(
        made, parse_request(b'{"model":"m","input":"x","store":true}'), keeping, ledger
    )
    return kept


def parts(writes: Writes) -> list[tuple[int, bytes]]:
    """Number and events of the parts among the writes."""
    return [(write.values[1], write.plain or b"") for write in writes if "stored_events (" in write.statement]


def statements(writes: Writes) -> str:
    return " ".join(write.statement for write in writes)


def test_the_first_events_wait_until_the_response_can_be_found() -> None:
    async def play() -> None:
        ledger, reply, made = Ledger(), Reply(), exchange()
        kept = keeper(made, ledger)
        assert kept.stream(b": ping\n\n", reply) is None
        first = kept.stream(CREATED, reply)
        second = kept.stream(DELTAS[0], reply)
        assert first is second and first is not None and reply.written == []
        ledger.asked[0][1].set_result(None)
        await first
        assert len(reply.written) == 1
        assert reply.written[0].startswith(b": ping\n\nevent: response.created")
        assert reply.written[0].endswith(DELTAS[0])
        assert kept.stream(DELTAS[1], reply) is None
        assert reply.written[1:] == [DELTAS[1]]

    asyncio.run(play())


def test_a_slow_reader_is_waited_for_from_the_first_event_on() -> None:
    async def play() -> None:
        ledger, reply = Ledger(), Reply()
        kept = keeper(exchange(), ledger)
        reply.blocked = asyncio.get_running_loop().create_future()
        ready = kept.stream(CREATED, reply)
        assert ready is not None
        ledger.asked[0][1].set_result(None)
        await asyncio.sleep(0)
        assert reply.written and not ready.done()
        reply.blocked.set_result(None)
        await ready

    asyncio.run(play())


def test_what_cannot_be_stored_is_refused_before_the_first_byte() -> None:
    async def play() -> None:
        ledger, reply = Ledger(), Reply()
        ready = keeper(exchange(), ledger).stream(CREATED, reply)
        assert ready is not None
        ledger.asked[0][1].set_exception(StorageError("away"))
        with pytest.raises(Failure) as refused:
            await ready
        assert refused.value.kind is FailureKind.SERVICE_UNAVAILABLE
        assert reply.written == []

    asyncio.run(play())


def test_a_part_that_could_not_be_written_leaves_no_gap() -> None:
    async def play() -> None:
        ledger, reply, made = Ledger(), Reply(), exchange()
        kept = keeper(made, ledger)
        ready = kept.stream(CREATED, reply)
        assert ready is not None
        ledger.asked[0][1].set_result(None)
        await ready
        kept.stream(DELTAS[0], reply)
        await asyncio.sleep(FLUSH_S * 1.5)
        assert [number for number, _ in parts(ledger.asked[1][0])] == [0]
        kept.stream(DELTAS[1], reply)
        ledger.asked[1][1].set_exception(StorageError("away"))
        await asyncio.sleep(FLUSH_S * 2.5)
        [(number, events)] = parts(ledger.asked[2][0])
        assert number == 0 and events.endswith(DELTAS[0] + DELTAS[1])
        kept.stream(DELTAS[2], reply)
        # That part is still under way when the stream ends: the end brings it again, and the rest.
        kept.conclude(None, COMPLETED)
        made.ending = Ending.COMPLETED
        writes = kept.writes(made.end_row(1.0, 0), 2)
        found = parts(writes)
        assert [number for number, _ in found] == [0, 1]
        assert found[0][1] == events
        assert found[1][1].startswith(DELTAS[2]) and b"response.completed" in found[1][1]

    asyncio.run(play())


def test_a_response_that_was_stopped_is_taken_away() -> None:
    async def play() -> None:
        ledger, reply, made = Ledger(), Reply(), exchange()
        kept = keeper(made, ledger)
        ready = kept.stream(CREATED, reply)
        assert ready is not None
        ledger.asked[0][1].set_result(None)
        await ready
        made.stopped = Failure(FailureKind.CLIENT_DISCONNECTED)
        kept.conclude(None, b"")
        writes = kept.writes(made.end_row(1.0, 0), 2)
        assert "INSERT" not in statements(writes) and "DELETE FROM stored_responses" in statements(writes)

    asyncio.run(play())


def test_an_error_of_the_provider_is_not_kept() -> None:
    made = exchange()
    kept = keeper(made, Ledger())
    made.stream = False
    made.ending, made.failure_kind = Ending.FAILED, FailureKind.UPSTREAM_ERROR
    shown = Response(400, (), b'{"error":{}}')
    assert kept.conclude(shown, b"") == (shown, b"")
    assert "INSERT" not in statements(kept.writes(made.end_row(1.0, 0), 2))


def test_a_caller_who_leaves_ends_only_what_is_not_kept() -> None:
    made, reply = exchange(), Reply()
    reply.disconnected = True
    seen = KeptReply(reply, made)  # type: ignore[arg-type]
    assert (seen.disconnected, seen.caller_left, seen.goes_on) == (True, True, False)
    keeper(made, Ledger())
    assert (seen.disconnected, seen.caller_left, seen.goes_on) == (False, True, True)
    made.opened = False
    assert seen.disconnected
