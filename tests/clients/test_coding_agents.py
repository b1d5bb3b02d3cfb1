"""Claude Code and Codex as black boxes: each reads a file, edits it and says so, through the gateway.
The provider behind it plays the model's part."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.clients.scripted_upstream import Call, Say, ScriptedUpstream, Step
from tests.devices.gateway import LIVE_KEY, ORG, Gateway

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PACKAGES = {"@anthropic-ai/claude-code": "2.1.197", "@openai/codex": "0.169.0"}
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "triptych" / "coding-agents"
INSTALL_LIMIT_S = 240
RUN_LIMIT_S = 90
PROVIDER_KEY = "upstream-secret-key"
TASK = "Replace world by gateway in greeting.txt"
DONE = "The greeting is to the gateway now."
PROVIDERS = {
    "messages": 'kind = "anthropic"\nbase_url = "{url}"',
    "chat": 'kind = "openai"\nwire = "chat"\nbase_url = "{url}/v1"',
    "responses": 'kind = "openai"\nwire = "responses"\nbase_url = "{url}/v1"',
}
PATHS = {"messages": "/v1/messages", "chat": "/v1/chat/completions", "responses": "/v1/responses"}


class Home(NamedTuple):
    """The places an agent may write to, its tools, and the gateway it is told of."""

    bin: Path
    home: Path
    work: Path
    gateway: str
    model: str


def claude_code(home: Home) -> tuple[list[str], dict[str, str]]:
    command = [str(home.bin / "claude"), "-p", "--permission-mode", "acceptEdits", "--model", home.model]
    surroundings = {
        "ANTHROPIC_BASE_URL": home.gateway,
        "ANTHROPIC_API_KEY": LIVE_KEY,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    return [*command, TASK], surroundings


# Hosted tools and namespaces are not functions: the gateway refuses them, and Codex can do without.
FUNCTIONS_ONLY = """
web_search = "disabled"
[features]
multi_agent = false
"""


def codex(home: Home, settings: str = FUNCTIONS_ONLY) -> tuple[list[str], dict[str, str]]:
    folder = home.home / ".codex"
    folder.mkdir()
    (folder / "config.toml").write_text(
        f"""
model = "{home.model}"
model_provider = "gateway"
{settings}
[model_providers.gateway]
name = "gateway"
base_url = "{home.gateway}/v1"
env_key = "GATEWAY_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
"""
    )
    command = [str(home.bin / "codex"), "exec", "--skip-git-repo-check", "-C", str(home.work)]
    return [*command, "--dangerously-bypass-approvals-and-sandbox", TASK], {"GATEWAY_KEY": LIVE_KEY}


def codex_as_it_comes(home: Home) -> tuple[list[str], dict[str, str]]:
    return codex(home, "")


def claude_code_steps(work: Path) -> list[Step]:
    file = str(work / "greeting.txt")
    return [
        Call("Read", {"file_path": file}),
        Call("Edit", {"file_path": file, "old_string": "world", "new_string": "gateway"}),
        Say(DONE),
    ]


def codex_steps(_: Path) -> list[Step]:
    patch = "*** Begin Patch\n*** Update File: greeting.txt\n@@\n-hello world\n+hello gateway\n*** End Patch"
    return [
        Call("exec_command", {"cmd": "cat greeting.txt"}),
        Call("exec_command", {"cmd": f"apply_patch <<'END'\n{patch}\nEND"}),
        Say(DONE),
    ]


class Agent(NamedTuple):
    start: Callable[[Home], tuple[list[str], dict[str, str]]]
    steps: Callable[[Path], list[Step]]


AGENTS = {
    "claude-code": Agent(claude_code, claude_code_steps),
    "codex": Agent(codex, codex_steps),
}
# The agent, the wire of the provider behind the gateway, and the model: agents go by its name. Sonnet
# gets no system text between the turns; opus does, and Claude Code takes the refusal of it as a hint.
RUNS = [
    ("claude-code", "messages", "claude-sonnet-4-6"),
    ("claude-code", "messages", "claude-opus-4-8"),
    ("claude-code", "chat", "claude-sonnet-4-6"),
    ("claude-code", "responses", "claude-opus-4-8"),
    ("codex", "responses", "a-model-codex-does-not-know"),
    ("codex", "messages", "a-model-codex-does-not-know"),
    ("codex", "chat", "a-model-codex-does-not-know"),
]


@pytest.fixture(scope="module")
def installed() -> Path:
    """The folder of the agents' programs. They are installed once, outside the project."""
    wanted = {**PACKAGES}
    folder = CACHE / "-".join(wanted.values())
    programs = folder / "node_modules" / ".bin"
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("the coding agents are NOT TESTED: there is no npm to install them with")
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": wanted}))
        command = [npm, "install", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"the coding agents are NOT TESTED: npm could not install them: {done.stderr[-500:]}")
        (folder / "complete").touch()
    return programs


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "greeting.txt").write_text("hello world\n")
    return folder


def run(
    agent: Agent, programs: Path, work: Path, upstream: ScriptedUpstream, wire: str, model: str
) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """What the agent said, and the rows of the gateway's ledger."""
    home = work.parent / "home"
    home.mkdir()
    toml = (
        f'[[providers]]\nname = "scripted"\napi_key = "{PROVIDER_KEY}"\n'
        f'{PROVIDERS[wire].format(url=upstream.url)}\n[[models]]\nid = "{model}"\nprovider = "scripted"\n'
    )
    with Gateway(toml + ORG) as gateway:
        command, surroundings = agent.start(Home(programs, home, work, gateway.url, model))
        done = subprocess.run(
            command,
            cwd=work,
            # Nothing of this machine's: its keys, settings and sessions are not the agent's.
            env={"PATH": os.environ["PATH"], "HOME": str(home), **surroundings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_LIMIT_S,
            check=False,
        )
        return done, gateway.settled_rows(len(gateway.rows()))


@pytest.mark.parametrize(("agent", "wire", "model"), RUNS)
def test_an_agent_edits_a_file(installed: Path, work: Path, agent: str, wire: str, model: str) -> None:
    with ScriptedUpstream(AGENTS[agent].steps(work)) as upstream:
        done, rows = run(AGENTS[agent], installed, work, upstream, wire, model)
    assert done.returncode == 0, done.stdout + done.stderr
    assert DONE in done.stdout
    assert (work / "greeting.txt").read_text() == "hello gateway\n"
    assert [len(request.tool_results) for request in upstream.conversations] == [0, 1, 2]
    assert "hello world" in upstream.conversations[1].tool_results[0]
    assert {request.path.partition("?")[0] for request in upstream.requests} == {PATHS[wire]}
    assert all(LIVE_KEY not in f"{request.headers}{request.body!r}" for request in upstream.requests)
    # What reached the provider is all there is in the ledger, but for refusals of ours.
    relayed = [row for row in rows if row["status"] == 200]
    assert len(relayed) == len(upstream.requests)
    assert all(row["output_tokens"] > 0 for row in relayed)


def test_codex_as_it_comes_is_told_which_of_its_tools_is_refused(installed: Path, work: Path) -> None:
    """It offers tools that are no functions: refused on purpose, see ``docs/decisions``."""
    agent = Agent(codex_as_it_comes, codex_steps)
    with ScriptedUpstream(agent.steps(work)) as upstream:
        done, rows = run(agent, installed, work, upstream, "responses", "gpt-5.5")
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    error = json.loads(said.partition("ERROR: ")[2].splitlines()[0])["error"]
    assert error == {
        "message": "The tool type 'custom' is not supported: use 'function'.",
        "type": "invalid_request_error",
        "code": "unsupported_tool_type",
        "param": "tools[3].type",
    }
    assert (work / "greeting.txt").read_text() == "hello world\n"
    assert upstream.requests == []
    assert {row["status"] for row in rows} == {400}
