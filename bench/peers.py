"""The peers, each installed by `bench/install_peers.sh` into an environment of its own, never required.

Every peer runs with what it has of keys, limits and a request log; what it lacks stands in its notes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path

from bench.canned import MODEL_ID, Wire
from bench.process import Running, call, free_port, start, wait_for
from bench.targets import KEY_COUNT, UNLIMITED, Keyless, Lane, Target

PEERS_DIR = Path(__file__).resolve().parent / ".peers"
FERRO_MASTER_KEY = "fgw_0123456789abcdef0123456789abcdef"
LITELLM_MASTER_KEY = "sk-bench-0123456789abcdef"
OPENAI_MODEL_ID = "gpt-4o-mini"


def _installed_version(environment: Path, name: str) -> str:
    """The version of a Python distribution in another virtual environment."""
    paths = [str(path) for path in environment.glob("lib/python*/site-packages")]
    return next((found.version for found in distributions(name=name, path=paths)), "unknown")


def _missing(path: Path, peer: str) -> str | None:
    return None if path.exists() else f"not installed: run bench/install_peers.sh {peer}"


@dataclass(slots=True)
class Ferro:
    """Ferro Labs AI Gateway, a Go binary. It has no Messages wire: it is asked on Chat Completions.

    `persist` keeps keys and request log in SQLite, as Triptych keeps its own; else keys are in memory and the
    request log goes to standard output.
    """

    persist: bool = False
    name: str = "ferrogw"
    title: str = "Ferro Labs AI Gateway (Go)"
    notes: str = "Chat Completions wire; ten keys in memory, rate limits, request log to standard output"
    same_wire: Lane = field(default_factory=lambda: Lane(Wire.CHAT, OPENAI_MODEL_ID))
    translated: Lane | None = field(default_factory=lambda: Lane(Wire.CHAT))
    relays_bytes: bool = False
    checks_keys: bool = True
    refused_status: int = 401
    slow: bool = False
    open_pace_ms: int = 150
    health_path: str = "/readyz"

    @property
    def command(self) -> Path:
        """The binary that the PyPI distribution carries."""
        return PEERS_DIR / "ferrogw/bin/ferrogw"

    def absent(self) -> str | None:
        """Absent until installed."""
        return _missing(self.command, "ferrogw")

    def version(self) -> str:
        """Version of the PyPI distribution."""
        return _installed_version(PEERS_DIR / "ferrogw", "ferrogw")

    def start(self, work_dir: Path, mock_port: int) -> Running:
        """Starts the gateway with both providers pointing at the mock."""
        work_dir.mkdir(parents=True, exist_ok=True)
        port = free_port()
        logger = {"level": "info", "persist": self.persist}
        limit = {"requests_per_second": UNLIMITED, "burst": UNLIMITED, "key_rpm": UNLIMITED}
        plugins = [
            ("request-logger", "logging", "after_request", logger),
            ("rate-limit", "guardrail", "before_request", limit),
        ]
        config = {
            "strategy": {"mode": "fallback"},
            "targets": [{"virtual_key": "openai"}, {"virtual_key": "anthropic"}],
            "plugins": [
                {"name": name, "type": kind, "stage": stage, "enabled": True, "config": settings}
                for name, kind, stage, settings in plugins
            ],
        }
        (work_dir / "config.json").write_text(json.dumps(config))
        environment = {
            "PORT": str(port),
            "GATEWAY_CONFIG": "config.json",
            "MASTER_KEY": FERRO_MASTER_KEY,
            "OPENAI_API_KEY": "not-a-real-key",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{mock_port}/v1",
            "ANTHROPIC_API_KEY": "not-a-real-key",
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{mock_port}",
            "RATE_LIMIT_RPS": str(UNLIMITED),
            "RATE_LIMIT_BURST": str(UNLIMITED),
            "FERRO_MODEL_CATALOG_TIMEOUT": "0",
            "LOG_LEVEL": "info",
        }
        if self.persist:
            for store in ("API_KEY_STORE", "REQUEST_LOG_STORE"):
                environment |= {f"{store}_BACKEND": "sqlite", f"{store}_DSN": f"{store.lower()}.db"}
        return start([self.command, "serve"], port, work_dir, environment)

    def prepare(self, running: Running) -> list[str]:
        """Waits for readiness and makes ten keys through the admin API."""
        wait_for(running, "GET", self.health_path)
        headers = {"authorization": f"Bearer {FERRO_MASTER_KEY}", "content-type": "application/json"}
        keys = []
        for number in range(KEY_COUNT):
            wanted = json.dumps({"name": f"bench-{number}", "scopes": ["read_only"]}).encode()
            status, answer = call(running.port, "POST", "/admin/keys", headers, wanted)
            if status not in (200, 201):
                raise running.failure(f"POST /admin/keys answered {status}: {answer[:200]!r}")
            keys.append(str(json.loads(answer)["key"]))
        return keys


@dataclass(slots=True)
class Portkey:
    """Portkey's open-source gateway on Node: the client's headers name the provider and its host."""

    name: str = "portkey"
    title: str = "Portkey AI Gateway (Node)"
    notes: str = "no keys of its own, no limits, no request log: it relays the provider's key"
    same_wire: Lane = field(default_factory=lambda: Lane(Wire.MESSAGES))
    translated: Lane | None = field(default_factory=lambda: Lane(Wire.CHAT))
    relays_bytes: bool = True
    checks_keys: bool = False
    refused_status: int = 401
    slow: bool = False
    open_pace_ms: int = 300
    health_path: str = "/"

    @property
    def script(self) -> Path:
        """The bundled server of the npm package."""
        return PEERS_DIR / "portkey/node_modules/@portkey-ai/gateway/build/start-server.js"

    def absent(self) -> str | None:
        """Absent until installed."""
        return _missing(self.script, "portkey")

    def version(self) -> str:
        """Version of the npm package and of Node."""
        package = json.loads((self.script.parent.parent / "package.json").read_text())
        node = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip()
        return f"{package['version']}, Node {node}"

    def start(self, work_dir: Path, mock_port: int) -> Running:
        """Starts the server; where the provider is, each request says."""
        port = free_port()
        for lane in (self.same_wire, self.translated):
            if lane is not None:
                lane.headers["x-portkey-provider"] = "anthropic"
                lane.headers["x-portkey-custom-host"] = f"http://127.0.0.1:{mock_port}/v1"
        command: list[str | Path] = ["node", self.script, f"--port={port}", "--headless"]
        return start(command, port, work_dir, {"NODE_ENV": "production"})

    def prepare(self, running: Running) -> list[str]:
        """Any key will do: it is the provider's."""
        wait_for(running, "GET", self.health_path)
        return [f"not-a-real-key-{number}" for number in range(KEY_COUNT)]


@dataclass(slots=True)
class LiteLLM:
    """LiteLLM proxy, one worker. Virtual keys and spend rows need PostgreSQL: it checks its master key."""

    name: str = "litellm"
    title: str = "LiteLLM proxy (Python)"
    notes: str = (
        "one master key; no PostgreSQL, so no virtual keys, no limits, no spend rows; an unknown key is 400"
    )
    same_wire: Lane = field(default_factory=lambda: Lane(Wire.MESSAGES))
    translated: Lane | None = field(default_factory=lambda: Lane(Wire.CHAT))
    relays_bytes: bool = False
    checks_keys: bool = True
    refused_status: int = 400
    slow: bool = True
    open_pace_ms: int = 600
    health_path: str = "/health/liveliness"

    @property
    def command(self) -> Path:
        """The proxy's console script."""
        return PEERS_DIR / "litellm/bin/litellm"

    def absent(self) -> str | None:
        """Absent until installed."""
        return _missing(self.command, "litellm")

    def version(self) -> str:
        """Version of the PyPI distribution."""
        return _installed_version(PEERS_DIR / "litellm", "litellm")

    def start(self, work_dir: Path, mock_port: int) -> Running:
        """Starts the proxy with one model; it makes no call to the outside."""
        work_dir.mkdir(parents=True, exist_ok=True)
        port = free_port()
        model = {
            "model": f"anthropic/{MODEL_ID}",
            "api_base": f"http://127.0.0.1:{mock_port}",
            "api_key": "not-a-real-key",
        }
        config = {
            "model_list": [{"model_name": MODEL_ID, "litellm_params": model}],
            "general_settings": {"master_key": LITELLM_MASTER_KEY},
            "litellm_settings": {"telemetry": False},
        }
        (work_dir / "config.yaml").write_text(json.dumps(config))
        environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
        command: list[str | Path] = [self.command, "--config", "config.yaml"]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        return start(command, port, work_dir, environment)

    def prepare(self, running: Running) -> list[str]:
        """Waits until it answers; there is one key."""
        wait_for(running, "GET", self.health_path)
        return [LITELLM_MASTER_KEY]


NGINX_CONFIG = """\
daemon off; master_process off; pid nginx.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off; tcp_nodelay on; keepalive_requests 1000000000;
    client_body_temp_path body; proxy_temp_path answers;
    fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    upstream mock {{ server 127.0.0.1:{mock_port}; keepalive 256; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_buffering off; client_max_body_size 50m; client_body_buffer_size 1m;
        }}
    }}
}}
"""


@dataclass(slots=True)
class Nginx(Keyless):
    """nginx as a bare reverse proxy in one process: no gateway, but what relaying alone costs."""

    name: str = "nginx"
    title: str = "nginx, a bare reverse proxy (C)"
    notes: str = "relays and nothing else: the floor, and a measure of the machine"

    @property
    def command(self) -> Path:
        """The system's nginx; Debian keeps it where only administrators look."""
        return Path(shutil.which("nginx") or "/usr/sbin/nginx")

    def absent(self) -> str | None:
        """Absent until the system has it."""
        return None if self.command.exists() else "not installed: apt-get install nginx-light"

    def version(self) -> str:
        """The version it prints."""
        said = subprocess.run([self.command, "-v"], capture_output=True, text=True).stderr
        return said.strip().rpartition("/")[2]

    def start(self, work_dir: Path, mock_port: int) -> Running:
        """Starts one process in front of the mock."""
        work_dir.mkdir(parents=True, exist_ok=True)
        port = free_port()
        (work_dir / "nginx.conf").write_text(NGINX_CONFIG.format(port=port, mock_port=mock_port))
        return start([self.command, "-p", work_dir, "-c", "nginx.conf"], port, work_dir, {})


def all_peers() -> list[Target]:
    """The peers the benchmark knows, installed or not."""
    persisting = "Chat Completions wire; ten keys, rate limits, one request-log row a request, all on SQLite"
    return [Ferro(), Ferro(True, "ferrogw-sqlite", notes=persisting), Portkey(), LiteLLM(), Nginx()]
