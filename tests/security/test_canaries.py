"""Secrets and content are planted everywhere a request has room for them, driven down every path the
gateway knows, and then looked for in every place that outlives a request.

Each planted word is ``zq7canary-<kind>-<number of the request>-``, so that an answer can also be held
to contain nothing of another request.
"""

import json
import socket
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.devices import faulty_behaviours as behaviours
from tests.devices.canaries import CRASHES, LEAK, MARK, PARROT, PLANTED, SCOLD, TalkativeUpstream, plant
from tests.devices.faulty_behaviours import BEHAVIOURS
from tests.devices.gateway import Gateway, provider
from tests.devices.speaker import Answer, ask, hear, say
from triptych.upstreams.sandbox import sandbox_model_ids

# Forms in which a word could hide, beside its own.
HIDDEN = (MARK.encode(), MARK.encode().hex().encode(), MARK.upper().encode())


GOOD_KEY, TEST_KEY, REVOKED_KEY = (plant(kind) + "key-000000" for kind in ("good", "test", "revoked"))
PROVIDER_KEY = plant("provider")
KEYS = frozenset({b"good", b"test", b"revoked", b"provider", b"wrong"})

FAULTS = (
    *("ok", "reset", "close", "hang_before_head", "hang_inside_head", "hang_after_head", "empty:200"),
    *("empty:500", "html:502", "html:200", "wrong_content_type", "json_for_a_stream", "json_cut"),
    *("json_short", "stream_cut_at:300", "stream_reset_at:400", "stream_ends_at:350", "stream_without_stop"),
    *("stream_stalls", "stream_error_event", "stream_garbage_event", "stream_gigantic_line:17000000"),
    *("slow_drip", "redirect", "error:400", "error:500", "error:529", "rate_limited:9", "gzip_answer"),
    *(f"usage:{lie}" for lie in behaviours.USAGE_LIES),
)


@dataclass
class Scene:
    gateway: Gateway
    upstream: TalkativeUpstream
    said: dict[int, bytes] = field(default_factory=dict)
    """Everything each request was answered with, by its number."""
    own: dict[int, frozenset[bytes]] = field(default_factory=dict)
    """Kinds of its own words that each answer may repeat."""
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    told: list[str] = field(default_factory=list)
    """What the command line printed."""

    def body(self, number: int, model: str, **fields: Any) -> bytes:
        """Content in every place that a messages request has for it."""
        tool = {"type": "tool_use", "id": "t1", "name": "look", "input": {"q": plant("toolinput", number)}}
        result = {"type": "tool_result", "tool_use_id": "t1", "content": plant("toolresult", number)}
        schema = {"type": "object", "description": plant("schema", number)}
        request = {
            "model": model,
            "max_tokens": 64,
            "system": plant("system", number),
            "messages": [
                {"role": "user", "content": plant("prompt", number)},
                {"role": "assistant", "content": [tool]},
                {"role": "user", "content": [result, {"type": "text", "text": plant("text", number)}]},
            ],
            "metadata": {"user_id": plant("user", number), "note": plant("note", number)},
            "litellm_metadata": {"a": plant("spoof", number)},
            "tools": [{"name": "look", "description": plant("tool", number), "input_schema": schema}],
            "stop_sequences": [plant("stop", number)],
            plant("field", number): plant("value", number),
        }
        return json.dumps({**request, **fields}).encode()

    def lines(self, number: int, key: str) -> tuple[bytes, ...]:
        credential = f"authorization: Bearer {key}" if number % 2 else f"x-api-key: {key}"
        cookie = f"cookie: session={plant('cookie', number)}"
        return (credential.encode(), cookie.encode(), f"x-note: {plant('xnote', number)}".encode())

    def call(
        self,
        model: str,
        *,
        stream: bool = False,
        key: str = GOOD_KEY,
        path: str = "/v1/messages",
        body: Callable[[int], bytes] | None = None,
        method: str = "POST",
        may_repeat: frozenset[bytes] = frozenset(),
        extra: Callable[[int], tuple[bytes, ...]] = lambda number: (),
    ) -> Answer:
        number = next(self.numbers)
        sent = self.body(number, model, stream=stream) if body is None else body(number)
        answer = ask(
            self.gateway.port,
            sent,
            method=method,
            path=f"{path}{'&' if '?' in path else '?'}beta={plant('query', number)}".replace(
                "NUMBER", f"{number:04d}"
            ),
            key=None,
            fields=self.lines(number, key) + extra(number),
            timeout_s=20,
        )
        self.note(number, answer, may_repeat)
        return answer

    def note(self, number: int, answer: Answer, may_repeat: frozenset[bytes] = frozenset()) -> None:
        headers = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
        self.said[number] = headers.encode() + b"\n\n" + answer.body
        self.own[number] = may_repeat


EVERYTHING = frozenset(b"system prompt toolinput toolresult text schema tool stop field value query".split())
"""What goes to the provider, so that the provider's own words may repeat it to the same caller."""


def succeed(scene: Scene) -> None:
    for stream in (False, True):
        for key in (GOOD_KEY, TEST_KEY):
            for _ in range(2):  # in either credential header
                assert scene.call(PARROT, stream=stream, key=key, may_repeat=EVERYTHING).status == 200
        assert scene.call("sandbox-echo", stream=stream, key=TEST_KEY, may_repeat=EVERYTHING).status == 200
        assert scene.call("sandbox-tool", stream=stream, key=TEST_KEY, may_repeat=EVERYTHING).status == 200
    assert scene.call("m", path="/v1/messages/count_tokens").status == 200


def be_refused(scene: Scene) -> None:
    named = frozenset({b"model"})
    for _ in range(2):
        number_in_model = lambda number: scene.body(number, plant("model", number))  # noqa: E731
        for key in (GOOD_KEY, TEST_KEY):
            assert scene.call("", key=key, body=number_in_model, may_repeat=named).status == 400
        assert scene.call("m", key=REVOKED_KEY).status == 401
        assert scene.call("m", key=plant("wrong")).status == 401
        assert scene.call("m", key=plant("wrong") + "k" * 600).status == 401
        assert scene.call("withheld").status == 403
    # The name of a field that stands there twice is told to the one who wrote it.
    twice = lambda number: b'{"%b":1,"%b":2,"model":"m"}' % ((plant("twice", number).encode(),) * 2)  # noqa: E731
    assert scene.call("m", body=twice, may_repeat=frozenset({b"twice"})).status == 400
    broken: tuple[Callable[[int], bytes], ...] = (
        lambda number: b'{"model": "m", "' + plant("prompt", number).encode(),
        lambda number: plant("prompt", number).encode(),
        lambda number: b"\xef\xbb\xbf" + scene.body(number, "m"),
        lambda number: scene.body(number, "m") + plant("prompt", number).encode(),
        lambda number: scene.body(number, "m", messages=[{"role": plant("role", number), "content": "x"}]),
        lambda number: scene.body(number, "m", messages=plant("prompt", number)),
        lambda number: scene.body(number, "m", messages=[{"role": "user", "content": 5}]),
        lambda number: scene.body(number, "m", max_tokens=plant("number", number)),
        lambda number: scene.body(number, "m", stream=plant("stream", number)),
        lambda number: scene.body(number, "m", messages=[{"role": "system", "content": plant("x", number)}]),
        lambda number: b'{"model":"m","x":"\\ud800%b"}' % plant("lone", number).encode(),
        lambda number: b'{"model":"m","x":"\xff%b"}' % plant("utf", number).encode(),
        lambda number: b'{"model":"m","x":NaN,"y":"%b"}' % plant("nan", number).encode(),
        lambda number: b'{"model":"m","x":' + b"[" * 200 + plant("deep", number).encode(),
    )
    for body in broken:
        assert scene.call("m", body=body).status == 400
    for encoding in (b"gzip", b"zstd"):
        answer = scene.call("m", extra=lambda number, encoding=encoding: (b"content-encoding: " + encoding,))  # type: ignore[misc]
        assert answer.status == 400
    gzip = zlib.compressobj(wbits=31)
    packed = gzip.compress(b'{"model": ' + plant("prompt", 0).encode()) + gzip.flush()
    assert scene.call("m", body=lambda _: packed, extra=lambda _: (b"content-encoding: gzip",)).status == 400
    odd = lambda number: (f"content-encoding: {plant('encoding', number)}".encode(),)  # noqa: E731
    assert scene.call("m", extra=odd).status == 415
    double = lambda number: (f"x-api-key: {plant('wrong')}".encode(),) * 2  # noqa: E731
    assert scene.call("m", extra=double).status == 400
    path = frozenset({b"path"})  # an unknown path is repeated, its query is not
    unknown = f"/v1/{MARK}-path-NUMBER-"
    assert scene.call("m", path=unknown, may_repeat=path).status == 404
    assert scene.call("m", path="/v1/messages", method="DELETE").status == 405
    big = lambda number: (f"x-big: {plant('big', number) * 4000}".encode(),)  # noqa: E731
    assert scene.call("m", extra=big).status == 431


def speak_no_http(scene: Scene) -> None:
    start = f"POST /v1/messages HTTP/1.1\r\nhost: a\r\nx-api-key: {GOOD_KEY}\r\n"
    for raw in (
        f"{start}content-length: 2\r\ncontent-length: PLANT\r\n\r\n{{}}",
        f"{start}transfer-encoding: PLANT\r\n\r\n",
        f"{start}x-a: b\x00PLANT\r\n\r\n",
        start.replace("POST", "PLANT") + "\r\n",
        start.replace("host: a", "x: PLANT") + "\r\n",
        f"{start}content-length: 99999999\r\n\r\nPLANT",
        "PLANT\r\n\r\n",
    ):
        number = next(scene.numbers)
        scene.note(number, say(scene.gateway.port, raw.replace("PLANT", plant("raw", number)).encode()))


def play_every_failure(scene: Scene) -> None:
    """The sandbox's failures, and those of a provider that misbehaves; plain and streamed."""
    with ThreadPoolExecutor(24) as pool:
        ids = [model for model in sandbox_model_ids() if model.startswith("sandbox-error-")]
        # A stream that breaks later has begun as an answer; what it says is the sandbox's own.
        calls = [
            pool.submit(scene.call, model, stream=stream, key=TEST_KEY, may_repeat=EVERYTHING)
            for model in ids
            for stream in (False, True)
        ]
        calls += [
            pool.submit(scene.call, f"fault-{fault}", stream=stream)
            for fault in FAULTS
            for stream in (False, True)
        ]
        for stream in (False, True):
            calls.append(pool.submit(scene.call, SCOLD, stream=stream, may_repeat=EVERYTHING))
        calls.append(pool.submit(scene.call, LEAK, stream=True, may_repeat=EVERYTHING))
        calls += [pool.submit(scene.call, "gone", stream=stream) for stream in (False, True)]
        for call in calls:
            call.result()


def crash(scene: Scene) -> None:
    for place in ("parse", "rewrite", "call"):
        answer = scene.call("m", body=lambda n, place=place: scene.body(n, "m", x=f"crash-in-{place}"))  # type: ignore[misc]
        assert (answer.status, answer.json["error"]["type"]) == (500, "api_error")
        assert answer.headers["request-id"] in answer.json["error"]["message"]
    broken = scene.call(
        PARROT,
        stream=True,
        body=lambda n: scene.body(n, PARROT, stream=True, x="crash-in-feed"),
        may_repeat=EVERYTHING,
    )
    assert b"event: error" in broken.body if broken.status == 200 else broken.status == 500
    # The words for the refusal cannot be found either: then it is a bare 500.
    wordless = scene.call("m", path="/v1/messages?crash-in-settlement=1")
    assert (wordless.status, wordless.body) == (500, b"")


def leave_and_stall(scene: Scene) -> None:
    """Clients that go away inside a stream, before it, and inside their own request."""
    for stream, model, part in (
        (True, PARROT, 1.0),
        (False, "fault-hang_before_head", 1.0),
        (True, "m", 0.5),
    ):
        number = next(scene.numbers)
        body = scene.body(number, model, stream=stream)
        head = [b"POST /v1/messages HTTP/1.1", b"host: a", b"content-length: %d" % len(body)]
        raw = b"\r\n".join([*head, *scene.lines(number, GOOD_KEY), b"", b""]) + body
        with socket.create_connection(("127.0.0.1", scene.gateway.port), timeout=10) as connection:
            connection.sendall(raw[: int(len(raw) * part)])
            time.sleep(0.2)
            if part < 1:
                scene.note(number, hear(connection))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("canaries")
    with TalkativeUpstream() as upstream, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        served = ("m", "withheld", PARROT, SCOLD, LEAK, *(f"fault-{fault}" for fault in FAULTS))
        granted = json.dumps([model for model in (*served, "gone") if model != "withheld"])
        keys = "".join(
            f'  [[orgs.keys]]\n  name = "{name}"\n  user = "ana"\n'
            f'  secret = "{key}"\n  environment = "{where}"\n'
            for name, key, where in (
                ("good", GOOD_KEY, "live"),
                ("test", TEST_KEY, "test"),
                ("revoked", REVOKED_KEY, "live"),
            )
        )
        toml = (
            '[retries]\nattempts = 1\n[[orgs]]\nslug = "acme"\nplan = "enterprise"\n'
            f'  [[orgs.groups]]\n  name = "g"\n  models = {granted}\n  api_key_access = true\n'
            f'  [[orgs.users]]\n  name = "ana"\n  groups = ["g"]\n{keys}'
            + provider(upstream.base_url, *served, key=PROVIDER_KEY)
            + provider(f"http://127.0.0.1:{taken.getsockname()[1]}", "gone", name="gone", key=PROVIDER_KEY)
        ).replace('models = ["m"', 'models = ["sandbox-echo", "sandbox-tool", "m"')
        server = (
            "header_timeout_s = 1\nbody_timeout_s = 1\nfirst_byte_timeout_s = 1\n"
            "idle_stream_timeout_s = 1\nrequest_timeout_s = 5\nmax_body_bytes = 1000000\ndrain_timeout_s = 1"
        )
        with Gateway(toml, folder=folder, server=server, preload=CRASHES) as gateway:
            scene = Scene(gateway, upstream)
            config = ("--config", str(gateway.config))
            command_line(scene, "keys", "revoke", "revoked", *config)
            time.sleep(1)
            succeed(scene)
            be_refused(scene)
            speak_no_http(scene)
            play_every_failure(scene)
            crash(scene)
            leave_and_stall(scene)
            for command in (("check",), ("keys", "list"), ("models", "list"), ("doctor",)):
                command_line(scene, *command, *config, code=None)
            yield scene


def command_line(scene: Scene, *arguments: str, code: int | None = 0) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "triptych", *arguments],
        cwd=scene.gateway.folder,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert code in (None, done.returncode), done.stderr
    scene.told.append(f"$ {arguments[0]}\n{done.stdout}{done.stderr}")


def assert_clean(where: str, content: bytes) -> None:
    for form in HIDDEN:
        at = content.find(form)
        assert at < 0, f"{where}: {content[max(0, at - 200) : at + 100]!r}"


def test_an_answer_repeats_nothing_but_its_own_request_where_it_may(scene: Scene) -> None:
    """No answer contains anything of another request, and none a key, not even its own."""
    assert len(scene.said) > 250
    for number, said in scene.said.items():
        for kind, planted in PLANTED.findall(said):
            assert kind not in KEYS, said[:500]
            assert int(planted) == number, said[:500]
            assert kind in scene.own[number], (kind, said[:500])
        assert MARK.encode() not in PLANTED.sub(b"", said)


def test_the_provider_got_its_own_key_and_none_of_the_clients_secrets(scene: Scene) -> None:
    assert len(scene.upstream.requests) > 50
    secret = KEYS - {b"provider"} | {b"cookie", b"xnote", b"user", b"note", b"spoof"}
    for request in scene.upstream.requests:
        assert request.header("x-api-key") == PROVIDER_KEY
        everything = repr((request.target, request.headers)).encode() + request.body
        assert not {kind for kind, _ in PLANTED.findall(everything)} & secret


def test_a_connection_later_nothing_of_it_is_in_other_answers(scene: Scene) -> None:
    """Requests that plant nothing, on every kind of path, after all the others."""
    port = scene.gateway.port
    clean = [
        ask(port, b'{"model":"nonesuch","max_tokens":1,"messages":[{"role":"user","content":"x"}]}', key="x"),
        ask(port, b"{", key=GOOD_KEY),
        ask(port, b'{"model":"nonesuch"}', key=GOOD_KEY),
        ask(port, b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}]}', key=GOOD_KEY),
        *(ask(port, path=path, method="GET", key=None) for path in ("/", "/nowhere", "/v1/messages")),
        *(ask(port, path=path, method="GET", key=None) for path in ("/healthz", "/readyz", "/openapi.json")),
        *(say(port, raw) for raw in (b"\r\n\r\n\x00\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n")),
    ]
    for answer in clean:
        assert_clean("answer", repr(answer.headers).encode() + answer.body)


def test_the_metrics_hold_nothing_that_a_client_said(scene: Scene) -> None:
    answer = ask(scene.gateway.port, path="/metrics", method="GET", key=None)
    assert b"triptych_requests_total" in answer.body
    assert_clean("/metrics", answer.body)


def test_the_command_line_shows_no_secret(scene: Scene) -> None:
    assert len(scene.told) == 5
    for told in scene.told:
        # The last four characters and a prefix are shown, so that people can tell keys apart.
        assert_clean("command line", told.encode())


def test_the_ledger_holds_nothing_that_a_client_said(scene: Scene) -> None:
    """Every column of every table, while the gateway runs."""
    connection = sqlite3.connect(f"file:{scene.gateway.database}?mode=ro", uri=True)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert {"exchanges", "api_keys", "nodes"} <= set(tables)
    for table in tables:
        for row in connection.execute(f"SELECT * FROM {table}"):
            assert_clean(table, repr(row).encode())
    rows, open_rows = connection.execute("SELECT count(*), sum(ended_us IS NULL) FROM exchanges").fetchone()
    connection.close()
    assert rows > 200
    # None of the crashes left a row behind without its end.
    assert open_rows == 0


def test_after_kill_restart_and_drain_no_file_and_no_log_line_holds_a_secret(scene: Scene) -> None:
    """Raw bytes of everything but the configuration, which is where the operator put the keys."""
    gateway = scene.gateway
    number = next(scene.numbers)
    body = scene.body(number, "fault-stream_stalls", stream=True)
    head = [b"POST /v1/messages HTTP/1.1", b"host: a", b"content-length: %d" % len(body)]
    raw = b"\r\n".join([*head, *scene.lines(number, GOOD_KEY), b"", b""]) + body
    files: dict[str, bytes] = {}

    def gather(moment: str) -> None:
        for path in sorted(Path(gateway.folder).rglob("*")):
            if path.is_file() and path != gateway.config:
                files[f"{path.name}, {moment}"] = path.read_bytes()

    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as running:
        running.sendall(raw)
        assert running.recv(100)
        gather("running")
        gateway.kill()
    gather("killed")
    gateway.start()
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as running:
        running.sendall(raw)
        assert running.recv(100)
        assert gateway.stop() == 0
    gather("stopped")
    gateway.start()

    names = {name.partition(",")[0] for name in files}
    assert {"triptych.db", "triptych.db-wal", "triptych.db.lock", "triptych.key", "stderr.log"} <= names
    assert "interrupted" in gateway.log
    assert "settled 1 exchanges" in gateway.log
    assert gateway.log.count('"event":"exchange"') > 200
    for name, content in files.items():
        assert_clean(name, content)


def test_the_search_itself_finds_what_is_there(scene: Scene) -> None:
    """The canaries are alive: the provider's log and the configuration are full of them."""
    with pytest.raises(AssertionError):
        assert_clean("configuration", scene.gateway.config.read_bytes())
    with pytest.raises(AssertionError):
        assert_clean("provider", b"".join(request.body for request in scene.upstream.requests))
    assert set(BEHAVIOURS) > {fault.partition(":")[0] for fault in FAULTS}
