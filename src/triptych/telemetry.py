"""Metrics and logs. Neither ever holds content, keys or names a client made up.

Counting on the hot path is a dict increment; Prometheus's objects are built when somebody scrapes.
"""

import asyncio
import io
import logging
import os
import re
import sys
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import msgspec

from triptych.core.breaker import Circuit
from triptych.core.clock import now_us
from triptych.core.exchange import Exchange
from triptych.core.failure import FACTS, Blame, FailureKind
from triptych.core.origin import origin
from triptych.core.outcome import Ending, Outcome
from triptych.core.target import Model, Target
from triptych.core.usage import NO_USAGE

if TYPE_CHECKING:
    from prometheus_client.core import Metric

LATENCY_BUCKETS_S = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip

# Lines are written together this soon; a crash loses log lines, never rows.
LOG_FLUSH_S = 0.2
REFUSALS_FLUSH_S = 1.0
# What waits for a reader of the log who has stopped reading; then lines are dropped, and counted.
MOST_WAITING_BYTES = 4 << 20
LAST_LINES_S = 1.0
STDERR_FD = 2
_QUOTED = re.compile(r"[(<\n]")

logger = logging.getLogger("triptych.telemetry")

Gauge = Callable[[], float]


class Watched(Protocol):
    """A target of a model and its circuit, if it has one."""

    @property
    def model(self) -> Model: ...
    @property
    def target(self) -> Target: ...
    @property
    def circuit(self) -> Circuit | None: ...


class Histogram:
    """Cumulative at scrape time only; an observation is one bisect and two additions."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(LATENCY_BUCKETS_S) + 1)
        self.total = 0.0

    def observe(self, value_s: float) -> None:
        self.counts[bisect_left(LATENCY_BUCKETS_S, value_s)] += 1
        self.total += value_s


class Latency:
    """From a request's last byte to the first and to the last byte of its answer."""

    __slots__ = ("first_byte", "total")

    def __init__(self) -> None:
        self.first_byte = Histogram()
        self.total = Histogram()


TOKEN_KINDS = ("input", "output", "cache_read", "cache_write")
_LEVELS = {Blame.CLIENT: "info", Blame.POLICY: "info", Blame.GATEWAY: "error", Blame.PROVIDER: "warning"}


class ExchangeLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One log line per exchange: ids, numbers and words of ours."""

    level: str
    event: str
    time_us: int
    request_id: str
    surface: str
    endpoint: str
    org: str
    key_id: str
    status: int
    ending: Ending
    total_ms: float
    model: str | None = None
    provider: str | None = None
    stream: bool = False
    failure_kind: str | None = None
    first_byte_ms: float | None = None
    upstream_status: int | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nusd: int = 0
    retries: int = 0
    fallbacks: int = 0


class RefusalLine(msgspec.Struct, frozen=True):
    """Requests refused within a second before there was a principal."""

    level: str
    event: str
    time_us: int
    failure_kind: str
    status: int
    count: int


class Telemetry:
    """Counts and writes down what happened."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sink: BinaryIO | None = None) -> None:
        self._loop = loop
        self._sink = sys.stderr.buffer if sink is None else sink
        self._lines: list[bytes] = []
        self._flush_due = False
        self._requests: defaultdict[tuple[str, str, str, int, str], int] = defaultdict(int)
        self._tokens: defaultdict[str, list[int]] = defaultdict(lambda: [0] * len(TOKEN_KINDS))
        self._latency: defaultdict[tuple[str, str], Latency] = defaultdict(Latency)
        self._refused: defaultdict[tuple[FailureKind, int], int] = defaultdict(int)
        self._findings: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._retries = 0
        self._fallbacks = 0
        self._holds_exceeded = 0
        self._targets: Callable[[], Iterator[Watched]] = lambda: iter(())
        self._gauges: dict[str, tuple[str, Gauge]] = {}

    def gauge(self, name: str, text: str, read: Gauge) -> None:
        """Register a value that is read at scrape time."""
        self._gauges[name] = (text, read)

    def targets(self, read: Callable[[], Iterator[Watched]]) -> None:
        """Register the targets whose circuits are read at scrape time."""
        self._targets = read

    def count_refusal(self, kind: FailureKind, status: int) -> None:
        """A request refused before there was a principal: no row, so that strangers cannot fill the
        disk, but a count."""
        self._requests["", "", "", status, kind.value] += 1
        if not self._refused:
            self._loop.call_later(REFUSALS_FLUSH_S, self._write_refusals)
        self._refused[kind, status] += 1

    def _write_refusals(self) -> None:
        """One line per kind and second, however many strangers knock."""
        refused = dict(self._refused)
        self._refused.clear()
        for (kind, status), count in refused.items():
            self._write(RefusalLine("info", "refused", now_us(), kind.value, status, count))

    def report(self, exchange: Exchange, outcome: Outcome) -> None:
        model = exchange.model.id if exchange.model else ""
        failure = outcome.failure_kind or ""
        surface, endpoint = exchange.surface, exchange.endpoint
        self._requests[surface, endpoint, model, outcome.status, failure] += 1
        usage = outcome.usage
        if usage is not NO_USAGE:
            counts = self._tokens[model]
            counts[0] += usage.input_tokens
            counts[1] += usage.output_tokens
            counts[2] += usage.cache_read_tokens
            counts[3] += usage.cache_write_tokens
        latency = self._latency[surface, endpoint]
        latency.total.observe(outcome.total_us / 1e6)
        first_byte_us = outcome.first_byte_us
        if first_byte_us is not None:
            latency.first_byte.observe(first_byte_us / 1e6)
        if exchange.screening is not None:
            # Types are words of the recogniser's own: those of an org's filters are one.
            for entity_type, found in exchange.screening.counts.items():
                self._findings[entity_type, exchange.screening.mode] += found
        self._retries += outcome.retries
        self._fallbacks += exchange.fallbacks
        hold = exchange.hold
        if hold is not None and (outcome.cost_nusd > hold.nusd or outcome.credits > hold.credits):
            # Without a budget nothing was held that could be exceeded.
            self._holds_exceeded += hold.booking is not None
        kind = exchange.failure_kind
        self._write(
            # By position: the fields' names cost more than their values here.
            ExchangeLine(
                "info" if kind is None else _LEVELS[FACTS[kind].blame],
                "exchange",
                exchange.started_us,
                exchange.request_id,
                surface,
                endpoint,
                exchange.principal.org_slug,
                exchange.principal.key_id,
                outcome.status,
                outcome.ending,
                outcome.total_us / 1000,
                model or None,
                outcome.provider,
                exchange.stream,
                failure or None,
                None if first_byte_us is None else first_byte_us / 1000,
                outcome.upstream_status,
                usage.input_tokens,
                usage.output_tokens,
                outcome.cost_nusd,
                outcome.retries,
                exchange.fallbacks,
            )
        )

    def _write(self, line: "ExchangeLine | RefusalLine") -> None:
        self._lines.append(msgspec.json.encode(line))
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_later(LOG_FLUSH_S, self.flush)

    def flush(self) -> None:
        self._flush_due = False
        if self._lines:
            lines, self._lines = self._lines, []
            try:
                self._sink.write(b"\n".join(lines) + b"\n")
                self._sink.flush()
            except (OSError, ValueError):
                # A closed or full log pipe must not take the gateway down; rows are in the ledger.
                self._lines.clear()

    # -- exposition ---------------------------------------------------------------------------

    def exposition(self) -> bytes:
        """The Prometheus text format, version 0.0.4."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator["Metric"]:
        """Called by the registry while somebody scrapes."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        requests = CounterMetricFamily(
            "triptych_requests",
            "Requests by how they ended.",
            labels=["surface", "endpoint", "model", "status", "failure_kind"],
        )
        for (surface, endpoint, model, status, failure), count in self._requests.items():
            requests.add_metric([surface, endpoint, model, str(status), failure], count)
        yield requests
        tokens = CounterMetricFamily("triptych_tokens", "Tokens by model and kind.", labels=["model", "kind"])
        for model, counts in self._tokens.items():
            for kind, count in zip(TOKEN_KINDS, counts, strict=True):
                tokens.add_metric([model, kind], count)
        yield tokens
        where = ["surface", "endpoint"]
        whole = HistogramMetricFamily(
            "triptych_request_seconds", "Last byte in to last byte out.", labels=where
        )
        first = HistogramMetricFamily(
            "triptych_first_byte_seconds", "Last byte in to first byte out.", labels=where
        )
        for place, latency in self._latency.items():
            whole.add_metric(list(place), _cumulative(latency.total), latency.total.total)
            first.add_metric(list(place), _cumulative(latency.first_byte), latency.first_byte.total)
        yield whole
        yield first
        findings = CounterMetricFamily(
            "triptych_phi_findings", "What the PHI/DLP guard found in requests.", labels=["type", "mode"]
        )
        for (entity_type, mode), count in self._findings.items():
            findings.add_metric([entity_type, mode], count)
        yield findings
        yield CounterMetricFamily("triptych_upstream_retries", "Calls tried again.", value=self._retries)
        yield CounterMetricFamily(
            "triptych_upstream_fallbacks", "Calls made to the next target instead.", value=self._fallbacks
        )
        yield CounterMetricFamily(
            "triptych_hold_exceeded",
            "Exchanges that cost more money or credits than was held.",
            value=self._holds_exceeded,
        )
        where = ["model", "provider", "upstream_model"]
        state = GaugeMetricFamily(
            "triptych_target_state", "Circuit: 0 closed, 1 half-open, 2 open.", labels=where
        )
        opened = CounterMetricFamily("triptych_target_opened", "How often a circuit opened.", labels=where)
        for watched in self._targets():
            if watched.circuit is not None:
                labels = [watched.model.id, watched.target.provider, watched.target.upstream_model]
                state.add_metric(labels, watched.circuit.state.value)
                opened.add_metric(labels, watched.circuit.opened)
        yield state
        yield opened
        for name, (text, read) in self._gauges.items():
            yield GaugeMetricFamily(name, text, value=read())


def _cumulative(histogram: Histogram) -> list[tuple[str, float]]:
    running, rows = 0, []
    for bound, count in zip((*map(str, LATENCY_BUCKETS_S), "+Inf"), histogram.counts, strict=True):
        running += count
        rows.append((bound, float(running)))
    return rows


class AsideStream(io.RawIOBase):
    """Written by a thread of its own: a pipe that nobody reads holds up neither requests nor a stop."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._pieces: SimpleQueue[bytes] = SimpleQueue()
        self._counting = threading.Lock()
        self._waiting_bytes = 0
        self._dropped_lines = 0
        self._thread = threading.Thread(target=self._pass_on, name="log", daemon=True)
        self._thread.start()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def write(self, piece: Any, /) -> int:
        taken = bytes(piece)
        with self._counting:
            if self._waiting_bytes + len(taken) > MOST_WAITING_BYTES:
                self._dropped_lines += taken.count(b"\n")
                return len(taken)
            self._waiting_bytes += len(taken)
        self._pieces.put(taken)
        return len(taken)

    def finish(self) -> None:
        """Wait for what is left, but not for a reader who does not come."""
        self._pieces.put(b"")
        self._thread.join(LAST_LINES_S)

    def _pass_on(self) -> None:
        while piece := self._pieces.get():
            self._write_out(piece)
            with self._counting:
                self._waiting_bytes -= len(piece)
                dropped, self._dropped_lines = self._dropped_lines, 0
            if dropped:
                told = {"event": f"{dropped} lines were dropped: the log was not read", "level": "warning"}
                self._write_out(msgspec.json.encode(told) + b"\n")

    def _write_out(self, piece: bytes) -> None:
        try:
            while piece:
                piece = piece[os.write(self._fd, piece) :]
        except OSError:
            pass  # A closed pipe or a full disk must not take the gateway down; rows are in the ledger.


@contextmanager
def stderr_aside() -> Iterator[None]:
    """Within the block, what is written to ``sys.stderr`` never waits for who reads it."""
    before = sys.stderr
    before.flush()
    aside = AsideStream(STDERR_FD)
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(aside), before.encoding, "backslashreplace", line_buffering=True
    )
    try:
        yield
    finally:
        sys.stderr.flush()
        aside.finish()
        sys.stderr = before


class _Lines(logging.StreamHandler[Any]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name of logging
        """A line that cannot be written is told without what it would have said."""
        told = {"event": "a line of the log was lost", "logger": record.name, "level": "error"}
        at = f"{record.filename}:{record.lineno}"
        with suppress(OSError, ValueError):
            self.stream.write(msgspec.json.encode({**told, "at": at}).decode() + self.terminator)


def _without_content(_: Any, __: str, event: Any) -> Any:
    """Of an exception its class and where it was raised: what it says may quote anything. So may what
    asyncio tells of a callback or a task."""
    event.pop("stack_info", None)
    raised = event.pop("exc_info", None)
    error = raised[1] if isinstance(raised, tuple) else raised
    if isinstance(error, BaseException):
        event["error"], event["at"] = type(error).__name__, origin(error)
    if event.get("logger") == "asyncio":
        event["event"] = _QUOTED.split(str(event["event"]), maxsplit=1)[0].strip()
    return event


def _uncaught(thing: str) -> Callable[[BaseException | None], None]:
    def tell(error: BaseException | None) -> None:
        logger.error("an exception ended %s", thing, exc_info=error)

    return tell


def configure_logging(level: int = logging.INFO) -> None:
    """JSON lines on stderr for everything that is not an exchange; exceptions that nobody caught too."""
    import structlog

    def render(_: Any, __: str, event: Any) -> str:
        return msgspec.json.encode(event).decode()

    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = _Lines(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _without_content,
                render,
            ],
        )
    )
    thread, object_ = _uncaught("a thread"), _uncaught("what nobody waited for")
    threading.excepthook = lambda ended: thread(ended.exc_value)
    sys.unraisablehook = lambda ended: object_(ended.exc_value)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries tell of what they work on, a font's of the letters of a name; of us, only what is ours.
    root.setLevel(logging.WARNING)
    logging.getLogger("triptych").setLevel(level)
