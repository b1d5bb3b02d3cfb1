"""The workloads: what is sent, how many at once, and how a right answer is told from a wrong one."""

from __future__ import annotations

from dataclasses import dataclass

from bench.canned import ANSWER_TEXT, DELTA_COUNT, DELTA_TEXT, PATHS, Wire, build_answers, build_request
from bench.load import Check, raw_request
from bench.targets import Lane, Target, Triptych

BAD_KEY = "trp_bench_unknown_5f1c0a7be2d94c38a6b1"
BURST = "burst"


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of traffic. `pace` is what the mock is told: `burst`, or milliseconds between two events."""

    name: str
    title: str
    size_bytes: int = 1_000
    tools: int = 0
    stream: bool = False
    pace: str = BURST
    bad_key: bool = False
    translated: bool = False
    openai_wire: Wire | None = None
    """Asked on this wire of OpenAI's, with a provider that speaks it; only Triptych has that lane."""
    concurrency: int = 32

    def lane(self, target: Target) -> Lane | None:
        """How this target is asked for this workload; None when it has no such lane."""
        if self.openai_wire is not None:
            return target.openai_lane(self.openai_wire) if isinstance(target, Triptych) else None
        return target.translated if self.translated else target.same_wire

    def refusal(self, target: Target) -> str | None:
        """Why this workload cannot be run on this target; None when it can."""
        if self.lane(target) is None:
            return "no such lane"
        if self.bad_key and not target.checks_keys:
            return "it checks no keys"
        return None

    def requests(self, target: Target, keys: list[str]) -> list[bytes]:
        """The raw requests to send in rotation, one for each key."""
        lane = self.lane(target)
        assert lane is not None
        body = build_request(lane.wire, lane.model, self.size_bytes, stream=self.stream, tools=self.tools)
        used = [BAD_KEY] if self.bad_key else keys
        return [raw_request(PATHS[lane.wire], lane.request_headers(key), body) for key in used]

    def check(self, target: Target) -> Check:
        """How the answers are checked: byte for byte where the target relays, else by their content."""
        lane = self.lane(target)
        assert lane is not None
        if self.bad_key:
            return Check(status=target.refused_status)
        # Of a chat stream the usage chunk goes only to those who asked for it.
        edited = self.stream and lane.wire is Wire.CHAT
        if target.relays_bytes and not self.translated and not edited:
            answer = build_answers()[lane.wire]
            return Check(exact=answer.stream_body if self.stream else answer.json_body)
        if not self.stream:
            return Check(occurrences=((ANSWER_TEXT.encode(), 1),))
        end = b"event: message_stop" if lane.wire is Wire.MESSAGES else b"data: [DONE]"
        return Check(occurrences=((DELTA_TEXT.encode(), DELTA_COUNT), (end, 1)))


STREAM_PACE_MS = "2"
JSON_1K = Workload("json-1k", "JSON, request 1 kB, answer 1 kB, c=32")
CPU_WORKLOADS = (
    JSON_1K,
    Workload("json-10k", "JSON, request 10 kB, answer 1 kB, c=32", size_bytes=10_000),
    Workload("json-100k", "JSON, request 100 kB, answer 1 kB, c=32", size_bytes=100_000),
    Workload("json-tools", "JSON, request 1 kB and 20 tools, answer 1 kB, c=32", tools=20),
    Workload("stream", "stream of 64 deltas, an event every 2 ms, c=32", stream=True, pace=STREAM_PACE_MS),
    Workload("stream-burst", "stream of 64 deltas as fast as they are read, c=32", stream=True),
    Workload("refused", "refused request (unknown key), c=32", bad_key=True),
    Workload("translated", "JSON, Chat Completions in, Messages upstream, 1 kB, c=32", translated=True),
    Workload(
        "translated-stream",
        "stream of 64 deltas, Chat Completions in, Messages upstream, an event every 2 ms, c=32",
        stream=True,
        pace=STREAM_PACE_MS,
        translated=True,
    ),
    Workload("chat-1k", "JSON, Chat Completions, same wire, 1 kB, c=32", openai_wire=Wire.CHAT),
    Workload("responses-1k", "JSON, Responses, same wire, 1 kB, c=32", openai_wire=Wire.RESPONSES),
    Workload(
        "chat-stream",
        "stream of 64 deltas, Chat Completions, same wire, an event every 2 ms, c=32",
        stream=True,
        pace=STREAM_PACE_MS,
        openai_wire=Wire.CHAT,
    ),
    Workload(
        "responses-stream",
        "stream of 64 deltas, Responses, same wire, an event every 2 ms, c=32",
        stream=True,
        pace=STREAM_PACE_MS,
        openai_wire=Wire.RESPONSES,
    ),
)
NODES = Workload("nodes", "one to three processes, JSON 1 kB, c=32")
KEYS = Workload("keys", "10 keys and 10,000, JSON 1 kB, c=32")
LATENCY_WORKLOADS = {
    "latency-c1": Workload("latency-c1", "added latency, JSON 1 kB, c=1", concurrency=1),
    "latency-c32": Workload("latency-c32", "added latency, JSON 1 kB, c=32 (closed loop)", concurrency=32),
}
OPEN_STREAMS = 1_000
MEMORY = Workload(
    "memory", f"memory: idle, with {OPEN_STREAMS} open streams, after", stream=True, concurrency=OPEN_STREAMS
)
MEMORY_TRANSLATED = Workload(
    "memory-translated",
    f"memory: {OPEN_STREAMS} open translated streams",
    stream=True,
    translated=True,
    concurrency=OPEN_STREAMS,
)
SOAK = Workload("soak", "soak: growth of memory under load", concurrency=8)
SOAK_WORKLOADS = (
    JSON_1K,
    Workload("soak-stream", "soak: streams", stream=True),
    Workload("soak-translated", "soak: translated", translated=True),
    Workload("soak-translated-stream", "soak: translated streams", stream=True, translated=True),
    Workload("soak-refused", "soak: unknown keys", bad_key=True),
)
STARTUP = Workload("startup", "start-up: spawn to first answer", concurrency=1)
# A soak takes as long as it is told to (`--soak-minutes`), so it is not among the scenarios of every run.
SCENARIO_NAMES = (
    *(workload.name for workload in CPU_WORKLOADS),
    *LATENCY_WORKLOADS,
    NODES.name,
    KEYS.name,
    MEMORY.name,
    MEMORY_TRANSLATED.name,
    STARTUP.name,
)
