"""Many callers at once, each remembering what it saw, and a provider that does as each call says.

Every call carries its order - how long, how many words, which token counts - in the prompt, so that
the provider's log, the caller's notes and the ledger's rows can be held against each other without
asking the gateway. The row is found by the keyed hash of ``metadata.user_id``, which is the tag.
"""

import asyncio
import json
import random
from collections.abc import Awaitable
from dataclasses import asdict, dataclass, field

from tests.devices import faulty_behaviours as behaviours
from tests.devices import messages_wire as wire
from tests.devices.faulty_upstream import FaultyUpstream, SeenRequest
from tests.devices.gateway import LIVE_KEY

MODEL = "load-model"
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


@dataclass(frozen=True)
class Order:
    """What one call wants of the provider."""

    tag: str
    stream: bool
    deltas: int
    pause_ms: int
    input_tokens: int
    output_tokens: int

    @property
    def usage(self) -> dict[str, object]:
        return {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens}

    def body(self) -> bytes:
        return json.dumps(
            {
                "model": MODEL,
                "max_tokens": 64,
                "stream": self.stream,
                "metadata": {"user_id": self.tag},
                "messages": [{"role": "user", "content": json.dumps(asdict(self))}],
            }
        ).encode()

    @staticmethod
    def read(request: SeenRequest) -> "Order":
        messages = request.json["messages"]
        assert isinstance(messages, list)
        return Order(**json.loads(messages[0]["content"]))


class OrderedUpstream(FaultyUpstream):
    """Answers each request as its order says."""

    def behaviour(self, request: SeenRequest, wire: "object") -> Awaitable[None]:
        return self._play(Order.read(request), wire)

    def orders(self) -> list[Order]:
        """What arrived, in order of arrival."""
        return [Order.read(request) for request in list(self.requests)]

    @staticmethod
    async def _play(order: Order, exchange: "object") -> None:
        pause_s = order.pause_ms / 1000
        if order.stream:
            events = wire.stream_events(order.deltas, MODEL, order.usage)
            await behaviours.whole_stream(exchange, events, pause_s)  # type: ignore[arg-type]
        else:
            await asyncio.sleep(pause_s * order.deltas)
            body = wire.message(MODEL, order.usage)
            await behaviours.answer(exchange, 200, behaviours.JSON, body)  # type: ignore[arg-type]


@dataclass
class Seen:
    """One call as its caller saw it."""

    order: Order
    sent: bool = False
    request_id: str = ""
    status: int = 0
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False
    """Whether the body came to the end that HTTP's framing promises."""
    left: bool = False
    """Whether the caller walked away on purpose."""

    @property
    def finished(self) -> bool:
        """Whether the caller may believe that its answer is complete."""
        if self.status != 200:
            return False
        return bytes(self.body).endswith(STOP) if self.order.stream else self.whole


class Caller:
    """Calls in a row on one kept connection."""

    def __init__(self, port: int, *, key: str = LIVE_KEY) -> None:
        self._port = port
        self._key = key
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def call(self, order: Order, *, leave_after_bytes: int | None = None) -> Seen:
        """Raises ConnectionRefusedError when nobody listens; any other end of the connection is
        what the caller saw, and is returned."""
        seen = Seen(order)
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            await self._exchange(seen, leave_after_bytes)
        except (OSError, EOFError):
            self.close()
        return seen

    async def _exchange(self, seen: Seen, leave_after_bytes: int | None) -> None:
        reader, writer = self._reader, self._writer
        assert reader is not None and writer is not None
        body = seen.order.body()
        head = (
            f"POST /v1/messages HTTP/1.1\r\nhost: triptych\r\nx-api-key: {self._key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        seen.sent = True
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        seen.status = int(status.split(" ")[1])
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        seen.request_id = headers.get("request-id", "")
        if "content-length" in headers:
            seen.body += await reader.readexactly(int(headers["content-length"]))
        else:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                seen.body += (await reader.readexactly(size + 2))[:-2]
                if leave_after_bytes is not None and len(seen.body) >= leave_after_bytes:
                    seen.left = True
                    self.close()
                    return
            await reader.readexactly(2)
        seen.whole = True
        if headers.get("connection") == "close":
            self.close()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None


class Load:
    """``callers`` connections, each calling again and again until nobody listens or ``stop``."""

    def __init__(self, port: int, name: str, *, callers: int = 12, seed: int = 0) -> None:
        self._port = port
        self._name = name
        self._callers = callers
        self._random = random.Random(f"{name}/{seed}")
        self._stopped = False
        self.seen: list[Seen] = []

    @property
    def busy(self) -> bool:
        """Whether enough has happened for a kill to be worth judging: calls that finished, one that left."""
        return sum(seen.finished for seen in self.seen) >= 30 and any(seen.left for seen in self.seen)

    def stop(self) -> None:
        """Let every call that runs come to its end, and start no other."""
        self._stopped = True

    async def run(self) -> None:
        await asyncio.gather(*(self._call_on(number) for number in range(self._callers)))

    async def _call_on(self, number: int) -> None:
        caller = Caller(self._port)
        serial = 0
        try:
            while not self._stopped:
                order = self.order(f"{self._name}-{number}-{serial}")
                serial += 1
                leaves = order.stream and self._random.random() < 0.1
                seen = await caller.call(order, leave_after_bytes=400 if leaves else None)
                self.seen.append(seen)
        except OSError:
            return  # nobody listens any more
        finally:
            caller.close()

    def order(self, tag: str) -> Order:
        """Quick and slow, plain and streamed, and token counts that tell one call from another."""
        pick = self._random
        return Order(
            tag=tag,
            stream=pick.random() < 0.5,
            deltas=pick.choice((1, 3, 8)),
            pause_ms=pick.choice((0, 0, 2, 15)),
            input_tokens=pick.randrange(1, 100_000),
            output_tokens=pick.randrange(1, 100_000),
        )
