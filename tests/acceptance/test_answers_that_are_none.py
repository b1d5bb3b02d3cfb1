"""A provider that says 200 and gives no answer: our own surfaces do not pass that on as one."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.devices.gateway import ORG, Gateway, message, provider
from tests.devices.speaker import ask

NO_ANSWERS = {
    "nothing": b"{}",
    "no-list": b'{"content":null,"choices":null}',
    "no-choice": b'{"choices":[]}',
    "error": b'{"type":"error","error":{"type":"overloaded_error","message":"busy"}}',
}


class Reply(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        body = NO_ANSWERS[asked["model"]]
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Reply)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    models = provider(url, *NO_ANSWERS)
    for name in NO_ANSWERS:
        models += f'[[models]]\nid = "chat-{name}"\nupstream_id = "{name}"\nprovider = "chat"\n'
        models += "price = { input = 3.0, output = 15.0 }\n"
    models += f'[[providers]]\nname = "chat"\nkind = "openai"\nbase_url = "{url}/v1"\napi_key = "k"\n'
    with Gateway("[retries]\nattempts = 0\n" + models + ORG) as running:
        yield running
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", NO_ANSWERS)
def test_a_200_without_an_answer_is_the_provider_s_failure(gateway: Gateway, name: str) -> None:
    before = len(gateway.rows())
    clinical = ask(gateway.port, message(name), path="/clinical/v1/messages")
    assert (clinical.status, clinical.json["error"]["code"]) == (502, "INFERENCE_UPSTREAM_FAILURE")
    emotion = ask(gateway.port, message(f"chat-{name}"), path="/v2/chat/completions")
    assert (emotion.status, emotion.json["error"]["code"]) == (503, "service_unavailable")
    rows = gateway.settled_rows(before + 2)[before:]
    assert [(row["ending"], row["failure_kind"], row["cost_nusd"]) for row in rows] == [
        ("failed", "upstream_invalid_response", 0)
    ] * 2
