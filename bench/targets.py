"""What is measured: the mock provider itself and Triptych. The peers are in `bench.peers`."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.canned import MODEL_ID, Wire
from bench.process import Running, free_port, start, wait_for

REPOSITORY = Path(__file__).resolve().parent.parent
KEY_COUNT = 10
UNLIMITED = 100_000_000
ANTHROPIC_VERSION = "2023-06-01"
OPENAI_MODEL_ID = MODEL_ID + "-openai"


@dataclass(frozen=True, slots=True)
class Lane:
    """How a target is asked: the wire the client speaks, the model it names, extra headers."""

    wire: Wire
    model: str = MODEL_ID
    headers: dict[str, str] = field(default_factory=dict)

    def request_headers(self, key: str) -> dict[str, str]:
        """The headers of one request: the key as a bearer token, and what the lane adds."""
        headers = {"authorization": f"Bearer {key}", **self.headers}
        if self.wire is Wire.MESSAGES:
            headers["anthropic-version"] = ANTHROPIC_VERSION
        return headers


class Target(Protocol):
    """A gateway (or the mock itself) that the benchmark can start, ask and stop."""

    name: str
    title: str
    notes: str
    same_wire: Lane
    """The lane where the wire of the client is the wire of the provider."""
    translated: Lane | None
    """Chat Completions in, Anthropic Messages upstream; None when the target cannot."""
    relays_bytes: bool
    """The answer must be the provider's, byte for byte."""
    checks_keys: bool
    refused_status: int
    """What it answers to an unknown key."""
    slow: bool
    """Under about 1,000 requests a second: loaded by `bench.load`, which waits for running requests."""
    open_pace_ms: int
    """Between two events of each of the 1,000 open streams: slow enough for the target to keep up."""
    health_path: str

    def absent(self) -> str | None:
        """Why the target cannot be measured here; None when it can."""

    def version(self) -> str:
        """The installed version."""

    def start(self, work_dir: Path, mock_port: int) -> Running:
        """Starts the target in front of the mock; returns when the process exists, not when it is ready."""

    def prepare(self, running: Running) -> list[str]:
        """Waits until the target is ready; the API keys to rotate over."""


@dataclass(slots=True)
class Keyless:
    """What all targets have that pass bytes on and know no keys."""

    same_wire: Lane = field(default_factory=lambda: Lane(Wire.MESSAGES))
    translated: Lane | None = None
    relays_bytes: bool = True
    checks_keys: bool = False
    refused_status: int = 401
    slow: bool = False
    open_pace_ms: int = 100
    health_path: str = "/healthz"

    def prepare(self, running: Running) -> list[str]:
        """Any key will do."""
        wait_for(running, "GET", self.health_path)
        return key_secrets()


@dataclass(slots=True)
class Direct(Keyless):
    """No gateway: the mock provider, which is the base line of latency and the price of the mock itself."""

    name: str = "direct"
    title: str = "mock provider, no gateway"
    notes: str = "the CPU time is the mock's own"

    def absent(self) -> str | None:
        """Never absent."""
        return None

    def version(self) -> str:
        """The mock has no version of its own."""
        return "-"

    def start(self, work_dir: Path, mock_port: int) -> Running:
        """Starts another mock process; `mock_port` is where it listens."""
        environment = {"PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, "-m", "bench.mock_upstream", "--port", str(mock_port)]
        return start(command, mock_port, work_dir, environment)


@dataclass(slots=True)
class Triptych:
    """This gateway, everything on: keys, policy, limits, outcome ledger on SQLite, metrics."""

    durability: str = "strict"
    org: str = ""
    """Further lines of the org's table."""
    workloads: frozenset[str] | None = None
    """Names of those it runs; None: all."""
    name: str = "triptych"
    title: str = "Triptych"
    notes: str = "keys, policy, limits, two ledger rows a request, metrics, log line"
    same_wire: Lane = field(default_factory=lambda: Lane(Wire.MESSAGES))
    translated: Lane | None = field(default_factory=lambda: Lane(Wire.CHAT))
    relays_bytes: bool = True
    checks_keys: bool = True
    refused_status: int = 401
    slow: bool = False
    open_pace_ms: int = 100
    health_path: str = "/healthz"

    def openai_lane(self, wire: Wire) -> Lane:
        """The lane of one of OpenAI's wires, served by a provider that speaks it."""
        return Lane(wire, OPENAI_MODEL_ID)

    @property
    def command(self) -> Path:
        """The installed console script, from the environment that runs the benchmark."""
        return Path(sys.executable).parent / "triptych"

    def refusal(self, workload: str) -> str | None:
        """Why it does not run a workload; None when it does."""
        return None if self.workloads is None or workload in self.workloads else "not for this one"

    def absent(self) -> str | None:
        """Absent until `pip install -e .` has put the command beside the interpreter."""
        return None if self.command.exists() else f"{self.command} does not exist: install the package"

    def version(self) -> str:
        """The version of the installed distribution."""
        code = "import importlib.metadata as m; print(m.version('triptych'))"
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()

    def start(self, work_dir: Path, mock_port: int) -> Running:
        """Starts `triptych serve` with a new configuration file; a database that is there already is kept."""
        work_dir.mkdir(parents=True, exist_ok=True)
        port = free_port()
        config = work_dir / "triptych.toml"
        config.write_text(triptych_config(port, mock_port, work_dir / "bench.db", self.durability, self.org))
        return start([self.command, "serve", "--config", config], port, work_dir, {})

    def prepare(self, running: Running) -> list[str]:
        """Waits for `/readyz`; the keys are those of the configuration."""
        wait_for(running, "GET", "/readyz")
        return key_secrets()


def key_secrets() -> list[str]:
    """Ten API keys, the same in every run."""
    return [f"trp_bench_{number:02d}_5f1c0a7be2d94c38a6b1" for number in range(KEY_COUNT)]


def variants() -> list[Triptych]:
    """Triptych as it comes, and with what not every org has."""
    budgets = f"spend_cap_usd = 1000000\ncredits = 1000000000000\ntpm = {2**40}\nconcurrency = 100000"
    plain = Triptych()
    return [
        plain,
        Triptych(
            "process",
            workloads=frozenset({"json-1k", "latency-c1", "latency-c32"}),
            name="triptych-process",
            title='Triptych, durability = "process"',
        ),
        Triptych(
            org=budgets,
            workloads=frozenset({"json-1k", "json-100k", "stream"}),
            name="triptych-budgets",
            title="Triptych, with budgets",
            notes=f"{plain.notes}; tokens, credits and money of the org are held before and settled after",
        ),
        Triptych(
            org='phi_mode = "redact"',
            workloads=frozenset({"json-1k", "json-10k", "stream", "memory", "startup"}),
            name="triptych-guard",
            title="Triptych, with the guard",
            notes=f"{plain.notes}; every text is scanned for protected information, answers are restored",
        ),
    ]


def triptych_config(port: int, mock_port: int, database: Path, durability: str, org: str = "") -> str:
    """A configuration with one org, one user and ten keys; limits are on and never reached."""
    limits = f"rpm = {UNLIMITED}\nrpd = {UNLIMITED}"
    keys = "\n".join(
        f'[[orgs.keys]]\nname = "bench-{number}"\nuser = "bench"\nsecret = "{secret}"\n{limits}\n'
        for number, secret in enumerate(key_secrets())
    )
    return f"""\
[server]
host = "127.0.0.1"
port = {port}

[storage]
url = "sqlite:///{database}"

[ledger]
durability = "{durability}"

[[providers]]
name = "mock"
kind = "anthropic"
base_url = "http://127.0.0.1:{mock_port}"
api_key = "not-a-real-key"
baa = "bench_mock_2026"

[[models]]
id = "{MODEL_ID}"
provider = "mock"
price = {{ input = 1.0, output = 5.0 }}

[[providers]]
name = "openai-mock"
kind = "openai"
base_url = "http://127.0.0.1:{mock_port}/v1"
api_key = "not-a-real-key"

[[models]]
id = "{OPENAI_MODEL_ID}"
upstream_id = "{MODEL_ID}"
provider = "openai-mock"
price = {{ input = 1.0, output = 5.0 }}

[[orgs]]
slug = "bench"
plan = "enterprise"
{limits}
{org}

[[orgs.groups]]
name = "everyone"
models = ["*"]
api_key_access = true

[[orgs.users]]
name = "bench"
groups = ["everyone"]

{keys}"""
