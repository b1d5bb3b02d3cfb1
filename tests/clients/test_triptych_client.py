"""Our own client: what it sends, when it tries again, what it raises, and what it reads."""

import asyncio
import inspect
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.scripted_gateway import CUT, ScriptedGateway, answer, stream
from triptych import client as package
from triptych.client import (
    ApiError,
    AsyncTriptych,
    AuthenticationError,
    ConflictError,
    ConnectionFailed,
    InvalidRequestError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    StreamFailed,
    Triptych,
    asynchronous,
    synchronous,
)
from triptych.client.retrying import Attempts, ClinicalRule, EmotionRule, Rule

EMOTION = {
    "category": "joy",
    "raw": {"joy": 0.9, "love": 0.1, "sadness": 0.0, "anger": 0.0, "fear": 0.0, "surprise": 0.1},
    "intensity": 0.9,
    "intensityLevel": "critical",
    "valence": 0.8,
    "arousal": 0.5,
    "complexity": "simple",
    "wonderIndex": 0.2,
    "discoveryLevel": "normal",
    "text": "What a lovely day!",
    "a_member_of_tomorrow": 1,
}
ANALYSIS = {
    "object": "emotions.analysis",
    "model": "emotion-v2",
    "emotions": {"user": EMOTION},
    "messages": [{"index": 0, "externalId": "m1", "role": "user", "emotions": EMOTION}],
    "usage": {"analyse_tokens": 5},
}
CHAT = {
    "success": True,
    "data": {
        "message": {"id": "msg_1", "role": "assistant", "content": [{"type": "text", "text": "Hello!"}]},
        "conversation_id": "conv_1",
    },
    "meta": {
        "request_id": "req_1",
        "usage": {"model": "m", "input_tokens": 1, "output_tokens": 2, "sonnet_equivalent_tokens": 3},
    },
}


def emotion_error(code: str) -> dict[str, object]:
    return {
        "error": {"type": "t", "code": code, "message": "said", "param": "p", "request_id": "req-0123456789"}
    }


def native_error(code: str, *, retryable: bool) -> dict[str, object]:
    error = {"code": code, "type": "t", "message": "said", "retryable": retryable, "request_id": "req_1"}
    return {"success": False, "error": error, "meta": {"request_id": "req_1"}}


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """How long the client would have slept."""
    slept: list[float] = []
    sleep = asyncio.sleep

    async def sleep_not(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(synchronous.time, "sleep", slept.append)
    monkeypatch.setattr(asynchronous.asyncio, "sleep", sleep_not)
    return slept


def analyse(gateway: ScriptedGateway, way: str, **options: Any) -> Any:
    """The same call by both clients."""
    if way == "sync":
        with Triptych(gateway.url, api_key="key", **options) as triptych:
            return triptych.emotion.analyse(["What a lovely day!"])

    async def call() -> Any:
        async with AsyncTriptych(gateway.url, api_key="key", **options) as triptych:
            return await triptych.emotion.analyse(["What a lovely day!"])

    return asyncio.run(call())


def chat(gateway: ScriptedGateway, way: str) -> Any:
    if way == "sync":
        with Triptych(gateway.url, api_key="key") as triptych:
            return triptych.clinical.chat("Hello")

    async def call() -> Any:
        async with AsyncTriptych(gateway.url, api_key="key") as triptych:
            return await triptych.clinical.chat("Hello")

    return asyncio.run(call())


def models(gateway: ScriptedGateway, way: str) -> Any:
    if way == "sync":
        with Triptych(gateway.url, api_key="key") as triptych:
            return triptych.clinical.models()

    async def call() -> Any:
        async with AsyncTriptych(gateway.url, api_key="key") as triptych:
            return await triptych.clinical.models()

    return asyncio.run(call())


WAYS = pytest.mark.parametrize("way", ["sync", "async"])


@WAYS
def test_an_analysis_is_asked_for_and_read(way: str) -> None:
    with ScriptedGateway([answer(200, ANALYSIS)]) as gateway:
        found = analyse(gateway, way)
    assert found.messages[0].emotions.intensity_level == "critical"
    assert found.messages[0].external_id == "m1"
    assert found.emotions["user"].raw.joy == 0.9
    assert (found.usage.analyse_tokens, found.trajectory) == (5, {})
    heard = gateway.heard[0]
    assert (heard.method, heard.target) == ("POST", "/v2/emotions/analysis")
    assert heard.headers["x-api-key"] == "key" and len(heard.headers["idempotency-key"]) == 36
    assert heard.json == {"model": "emotion-v2", "messages": [{"content": {"text": "What a lovely day!"}}]}


@WAYS
def test_models_are_read_to_the_last_page(way: str) -> None:
    pages = [
        answer(
            200, {"success": True, "data": [{"id": "a"}], "meta": {"next_cursor": "a/1", "has_more": True}}
        ),
        answer(
            200, {"success": True, "data": [{"id": "b"}], "meta": {"next_cursor": None, "has_more": False}}
        ),
    ]
    with ScriptedGateway(pages) as gateway:
        found = models(gateway, way)
    assert [model["id"] for model in found] == ["a", "b"]
    assert [heard.target for heard in gateway.heard] == [
        "/clinical/v1/ai/models?limit=200",
        "/clinical/v1/ai/models?limit=200&cursor=a%2F1",
    ]


@WAYS
@pytest.mark.parametrize("status", [429, 500, 503])
def test_emotion_calls_are_tried_three_times_a_second_doubled_apart(
    way: str, status: int, waits: list[float]
) -> None:
    refusal = answer(status, emotion_error("c"))
    with ScriptedGateway([refusal, refusal, answer(200, ANALYSIS)]) as gateway:
        analyse(gateway, way)
    assert [int(wait) for wait in waits] == [1, 2]
    assert all(0 <= wait - int(wait) <= 0.2 for wait in waits)
    assert len({heard.headers["idempotency-key"] for heard in gateway.heard}) == 1
    with ScriptedGateway([refusal] * 3) as gateway, pytest.raises(ApiError) as failed:
        analyse(gateway, way)
    assert (failed.value.status, len(gateway.heard)) == (status, 3)


@WAYS
def test_what_the_gateway_asks_to_wait_goes_first(way: str, waits: list[float]) -> None:
    refusal = answer(429, emotion_error("too_many_requests"), "retry-after: 7")
    with ScriptedGateway([refusal, answer(200, ANALYSIS)]) as gateway:
        analyse(gateway, way)
    assert waits == [7.0]


def test_nobody_is_made_to_wait_for_a_new_month(waits: list[float]) -> None:
    refusal = answer(429, emotion_error("quota_exceeded"), "retry-after: 1000000")
    with ScriptedGateway([refusal]) as gateway, pytest.raises(RateLimitError) as failed:
        analyse(gateway, "sync")
    assert (failed.value.code, failed.value.retry_after_s, waits) == ("quota_exceeded", 1_000_000.0, [])


@WAYS
def test_a_connection_that_fails_is_tried_again(way: str, waits: list[float]) -> None:
    with ScriptedGateway([CUT, answer(200, ANALYSIS)]) as gateway:
        analyse(gateway, way)
    assert len(waits) == 1
    with ScriptedGateway([CUT] * 3) as gateway, pytest.raises(ConnectionFailed) as failed:
        analyse(gateway, way)
    assert failed.value.__cause__ is not None and len(gateway.heard) == 3


ERRORS = {
    400: InvalidRequestError,
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    410: NotFoundError,
    413: InvalidRequestError,
    422: InvalidRequestError,
    502: ServerError,
}


@pytest.mark.parametrize(("status", "class_"), ERRORS.items())
def test_every_refusal_is_an_error_of_its_own_and_is_not_repeated(
    status: int, class_: type[ApiError], waits: list[float]
) -> None:
    refusal = answer(status, emotion_error("some_code"))
    with ScriptedGateway([refusal]) as gateway, pytest.raises(class_) as failed:
        analyse(gateway, "sync")
    error = failed.value
    assert type(error) is class_ and waits == []
    assert (error.status, error.code, error.param, error.request_id) == (
        status,
        "some_code",
        "p",
        "req-0123456789",
    )


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'"x"', b'{"error":"Unauthorized"}', b'{"message":"m"}']
)
def test_an_error_of_any_shape_is_an_error(body: bytes) -> None:
    scripted = ScriptedGateway([answer(401, body, "x-request-id: req_2")])
    with scripted as gateway, pytest.raises(AuthenticationError) as failed:
        analyse(gateway, "sync")
    assert failed.value.request_id == "req_2" and failed.value.message


NEVER_ENDING = b"[" * 100_000


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'{"model":1}', b'"\xff"', NEVER_ENDING])
def test_an_answer_that_is_none_is_no_success(body: bytes) -> None:
    with ScriptedGateway([answer(200, body)]) as gateway, pytest.raises(ConnectionFailed):
        analyse(gateway, "sync")


@WAYS
def test_an_answer_that_cannot_be_unpacked_is_a_connection_that_failed(way: str, waits: list[float]) -> None:
    broken = answer(200, b"no gzip", "content-encoding: gzip")
    with ScriptedGateway([broken, broken, answer(200, ANALYSIS)]) as gateway:
        assert analyse(gateway, way).model == "emotion-v2"


@pytest.mark.parametrize("status", [301, 304, 307])
def test_an_answer_from_elsewhere_is_no_success(status: int) -> None:
    elsewhere = answer(status, b"", "location: https://elsewhere.example/")
    with (
        ScriptedGateway([elsewhere]) as gateway,
        Triptych(gateway.url, api_key="key") as triptych,
        pytest.raises(ApiError) as failed,
    ):
        triptych.emotion.forget("c")
    assert failed.value.status == status


def test_a_page_of_somebody_between_forgets_nothing() -> None:
    with (
        ScriptedGateway([answer(200, b"<html>Please log in</html>")]) as gateway,
        Triptych(gateway.url, api_key="key") as triptych,
        pytest.raises(ConnectionFailed),
    ):
        triptych.emotion.forget("c")


@pytest.mark.parametrize("choices", ['"abc"', "[5]"])
def test_a_completion_whose_choices_are_none_is_no_success(choices: str) -> None:
    mode = '{"mode":"neutral","confidence":1,"strategy":"s"}'
    body = f'{{"emotions":{{}},"conversationMode":{mode},"choices":{choices}}}'
    with (
        ScriptedGateway([answer(200, body.encode())]) as gateway,
        Triptych(gateway.url, api_key="key") as triptych,
        pytest.raises(ConnectionFailed),
    ):
        triptych.emotion.chat("m", [])


@WAYS
def test_native_calls_are_repeated_as_the_gateway_says(way: str, waits: list[float]) -> None:
    busy = answer(503, native_error("INFERENCE_UNAVAILABLE", retryable=True))
    with ScriptedGateway([busy, busy, answer(200, CHAT)]) as gateway:
        found = chat(gateway, way)
    assert (found.text, found.conversation_id, found.meta.usage.output_tokens) == ("Hello!", "conv_1", 2)
    assert len(waits) == 2 and 0 <= waits[0] <= 0.5 and 0 <= waits[1] <= 1.0
    heard = gateway.heard[0]
    assert heard.target == "/clinical/v1/ai/chat"
    assert heard.json == {"message": "Hello", "stream": False}


def test_the_header_decides_where_both_speak(waits: list[float]) -> None:
    polled = answer(503, native_error("DOCUMENT_STILL_PROCESSING", retryable=True), "x-should-retry: false")
    with ScriptedGateway([polled]) as gateway, pytest.raises(ServerError) as failed:
        chat(gateway, "sync")
    assert failed.value.retryable is True and waits == []
    final = answer(429, native_error("BUDGET_EXCEEDED", retryable=False))
    with ScriptedGateway([final]) as gateway, pytest.raises(RateLimitError):
        chat(gateway, "sync")


@pytest.mark.parametrize(
    ("rule", "most"), [(ClinicalRule(), [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]), (EmotionRule(), [1.2, 2.2, 4.2])]
)
def test_waits_grow_up_to_a_bound(rule: Rule, most: list[float]) -> None:
    attempts = Attempts(rule, len(most) + 1, jitter=lambda least, greatest: greatest)
    assert [attempts.wait_s(ConnectionFailed()) for _ in most] == pytest.approx(most)
    with pytest.raises(ConnectionFailed):
        attempts.wait_s(ConnectionFailed())


def event(type_: str, **data: object) -> bytes:
    import json

    told = {"id": "evt_1", "object": "event", "type": type_, "created": 1, "data": data}
    return f"event: {type_}\nid: evt_1\ndata: {json.dumps(told)}\n\n".encode()


RUN = (
    event("run.created") + b": ping\n\n" + event("run.started") + event("message.delta", delta={"text": "Hi"})
)


def read_native(gateway: ScriptedGateway, way: str) -> list[tuple[str, str]]:
    if way == "sync":
        with Triptych(gateway.url, api_key="key") as triptych, triptych.clinical.stream("Hello") as events:
            return [(event.type, event.text) for event in events]

    async def call() -> list[tuple[str, str]]:
        triptych = AsyncTriptych(gateway.url, api_key="key")
        async with triptych, triptych.clinical.stream("Hello") as events:
            return [(event.type, event.text) async for event in events]

    return asyncio.run(call())


@WAYS
def test_a_native_stream_is_read_to_its_end(way: str) -> None:
    with ScriptedGateway([stream(RUN + event("run.completed") + b"data: never read\n\n")]) as gateway:
        found = read_native(gateway, way)
    assert found == [("run.created", ""), ("run.started", ""), ("message.delta", "Hi"), ("run.completed", "")]
    assert gateway.heard[0].json == {"message": "Hello", "stream": True}


@WAYS
def test_a_run_that_fails_raises_what_the_gateway_said(way: str) -> None:
    failed = event(
        "run.failed", error={"code": "INFERENCE_UPSTREAM_FAILURE", "message": "m", "retryable": True}
    )
    with ScriptedGateway([stream(RUN + failed)]) as gateway, pytest.raises(StreamFailed) as raised:
        read_native(gateway, way)
    assert (raised.value.code, raised.value.retryable) == ("INFERENCE_UPSTREAM_FAILURE", True)
    assert len(gateway.heard) == 1


@WAYS
def test_a_stream_that_is_cut_never_just_ends(way: str) -> None:
    with ScriptedGateway([stream(RUN)]) as gateway, pytest.raises(ConnectionFailed, match="before its last"):
        read_native(gateway, way)


@WAYS
@pytest.mark.parametrize("surface", ["emotion", "clinical"])
@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"5",
        b"null",
        b'"error"',
        b'{"error":"boom"}',
        b'{"error":null}',
        b'{"choices":[5]}',
        b'{"choices":{"a":1}}',
        b'{"type":"run.failed","data":{"error":"boom"}}',
        b'{"type":["a"]}',
        NEVER_ENDING,
    ],
    ids=lambda data: data[:30].decode(),
)
def test_an_event_of_any_shape_is_a_stream_that_broke_off(way: str, surface: str, data: bytes) -> None:
    async def read_awaited(url: str) -> None:
        async with AsyncTriptych(url, api_key="key") as triptych:
            if surface == "emotion":
                async with triptych.emotion.stream("m", []) as chunks:
                    [chunk async for chunk in chunks]
            else:
                async with triptych.clinical.stream("Hello") as events:
                    [event async for event in events]

    def read(url: str) -> None:
        with Triptych(url, api_key="key") as triptych:
            if surface == "emotion":
                with triptych.emotion.stream("m", []) as chunks:
                    list(chunks)
            else:
                with triptych.clinical.stream("Hello") as events:
                    list(events)

    with (
        ScriptedGateway([stream(b"data: " + data + b"\n\n")]) as gateway,
        pytest.raises((StreamFailed, ConnectionFailed)),
    ):
        read(gateway.url) if way == "sync" else asyncio.run(read_awaited(gateway.url))


@WAYS
def test_a_stream_that_does_not_open_is_tried_again(way: str, waits: list[float]) -> None:
    busy = answer(503, native_error("INFERENCE_UNAVAILABLE", retryable=True))
    with ScriptedGateway([busy, stream(RUN + event("run.completed"))]) as gateway:
        assert len(read_native(gateway, way)) == 4
    assert len(waits) == 1


@pytest.mark.parametrize(
    ("context_id", "spelled"),
    [
        ("a/b c?ü%2F", "a%2Fb%20c%3F%C3%BC%252F"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("../x", "..%2Fx"),
        ("a.b", "a.b"),
    ],
)
def test_a_path_takes_any_id(context_id: str, spelled: str) -> None:
    with ScriptedGateway([answer(204, b"")]) as gateway, Triptych(gateway.url, api_key="key") as triptych:
        triptych.emotion.forget(context_id)
    assert gateway.heard[0].target == f"/v2/emotions/{spelled}"


def test_both_clients_offer_the_same() -> None:
    for one, other in (
        (Triptych, AsyncTriptych),
        (synchronous.Emotion, asynchronous.AsyncEmotion),
        (synchronous.Clinical, asynchronous.AsyncClinical),
    ):
        names = {name for name in vars(one) if not name.startswith("_")}
        assert names == {name for name in vars(other) if not name.startswith("_")}
        for name in names:
            ours, theirs = inspect.signature(getattr(one, name)), inspect.signature(getattr(other, name))
            assert list(ours.parameters.values()) == list(theirs.parameters.values()), name


def test_the_client_brings_nothing_of_the_gateway() -> None:
    program = (
        "import sys, triptych.client; "
        "print([name for name in sys.modules if name.startswith('triptych.') and 'client' not in name])"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
    assert all(hasattr(package, name) for name in package.__all__)
