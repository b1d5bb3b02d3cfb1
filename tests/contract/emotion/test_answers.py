"""What the emotion surface answers when all is well, and to which odd texts and ids it does."""

import asyncio
import json
import re
import statistics
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.contract.emotion.world import (
    FLEETING,
    KEEPING,
    LIVE_KEY,
    OTHER,
    REDACTING,
    TEST_KEY,
    World,
    analysis,
    completion,
    world,
)
from tests.contract.inference.world import fault_model
from triptych.client import AsyncTriptych, ConflictError, StreamFailed, Triptych
from triptych.core.emotion import COMPLEXITIES, DISCOVERY_LEVELS, INTENSITY_LEVELS, LABELS

pytestmark = pytest.mark.timeout(180)  # several gateways or processes, on a busy machine too
ANALYSIS = "/v2/emotions/analysis"
BATCH = "/v2/emotions/batch-analysis"
CHAT = "/v2/chat/completions"
EMOTION_KEYS = [
    "category",
    "raw",
    "intensity",
    "intensityLevel",
    "valence",
    "arousal",
    "complexity",
    "wonderIndex",
    "discoveryLevel",
    "language",
]


@pytest.fixture(scope="module")
def sides() -> Iterator[World]:
    with world() as made:
        yield made


def check_emotion(told: dict[str, Any], text: str | None = None) -> None:
    assert list(told) == ([] if text is None else ["text"]) + EMOTION_KEYS
    assert told.get("text") == text
    assert list(told["raw"]) == list(LABELS)
    numbers = [*told["raw"].values(), told["intensity"], told["arousal"], told["wonderIndex"]]
    assert all(0 <= number <= 1 and round(number, 4) == number for number in numbers)
    assert -1 <= told["valence"] <= 1 and round(told["valence"], 4) == told["valence"]
    assert told["intensity"] == max(told["raw"].values()) == told["raw"][told["category"]]
    assert told["intensityLevel"] in {name for _, name in INTENSITY_LEVELS}
    assert told["discoveryLevel"] in {name for _, name in DISCOVERY_LEVELS}
    assert told["complexity"] in COMPLEXITIES


def test_an_analysis_tells_of_every_message_and_of_the_last_of_each_role(sides: World) -> None:
    body = analysis(
        "I won!",
        {"role": "assistant", "content": "Well done.", "messageId": "m2"},
        {
            "role": "user",
            "content": {"text": "And now it is lost."},
            "timestamp": "2026-11-29T12:00:00+01:00",
        },
        anything="is ignored",
    )
    answer = sides.ask(ANALYSIS, body)
    told = json.loads(answer.body)
    assert list(told) == ["object", "model", "emotions", "messages", "usage"]
    assert (told["object"], told["model"]) == ("emotions.analysis", "emotion-v2")
    assert [(m["index"], m["externalId"], m["role"]) for m in told["messages"]] == [
        (0, None, "user"),
        (1, "m2", "assistant"),
        (2, None, "user"),
    ]
    for message, text in zip(told["messages"], ("I won!", "Well done.", "And now it is lost."), strict=True):
        check_emotion(message["emotions"], text)
    assert told["emotions"] == {
        "user": told["messages"][2]["emotions"],
        "assistant": told["messages"][1]["emotions"],
    }
    tokens = told["usage"]["analyse_tokens"]
    row = sides.row(answer)
    assert tokens > 8
    assert (row["model"], row["input_tokens"], row["usage_source"]) == ("emotion-v2", tokens, "counted")
    assert (row["endpoint"], row["ending"], row["cost_nusd"], row["provider"]) == (
        "analysis",
        "completed",
        0,
        None,
    )


TEXTS = {
    "one letter": "x",
    "10,000 characters": "I love it. " * 909 + "y",
    "10,000 emoji": "\U0001f600" * 10_000,
    "a NUL": "a\x00b",
    "only a NUL": "\x00",
    "only emoji": "\U0001f62d\U0001f62d\U0001f494",
    "a family": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "right to left": "\u0623\u0646\u0627 \u0633\u0639\u064a\u062f \u062c\u062f\u0627",
    "mixed directions": "\u202eevil\u202c text \u05e9\u05dc\u05d5\u05dd",
    "another language": "Ich bin heute sehr traurig und weiß nicht weiter.",
    "only marks": "!!! ??? ...",
    "controls": "a\u0007\u001b[31mb",
    "an escaped quote": 'say "hi" \\ now',
    "separators": "a\u2028b\u2029c",
    "letters that combine": "e\u0301" * 100,
    "one long word": "a" * 10_000,
    "half of JSON": '{"role":"system"}',
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_text_has_an_emotion_and_comes_back_as_it_was(sides: World, text: str) -> None:
    told = sides.json(ANALYSIS, analysis(text))
    check_emotion(told["messages"][0]["emotions"], text)
    assert sides.json(BATCH, analysis(text))["results"][0]["status"] == "ok"


def test_a_batch_of_a_hundred_keeps_its_order_and_a_bad_one_fails_alone(sides: World) -> None:
    texts: list[Any] = [f"Message {n}: what a day!" for n in range(97)]
    bad = [
        {"externalId": "b1", "content": {"text": " "}},
        {"external_id": "b2", "role": "robot", "content": "x"},
        7,
    ]
    told = sides.json(
        BATCH,
        json.dumps(
            {
                "model": "emotion-v2",
                "messages": [bad[0], *({"externalId": "same", "content": text} for text in texts), *bad[1:]],
            }
        ).encode(),
    )
    results = told["results"]
    assert told["object"] == "emotions.batch_analysis"
    assert [result["index"] for result in results] == list(range(100))
    assert [r["emotions"]["text"] for r in results if r["status"] == "ok"] == texts
    assert [
        (r["index"], r["externalId"], r["error"]["code"], r["error"]["param"])
        for r in results
        if "error" in r
    ] == [
        (0, "b1", "invalid_value", "messages[0].content.text"),
        (98, "b2", "invalid_role", "messages[98].role"),
        (99, None, "invalid_value", "messages[99]"),
    ]
    shown = {r["error"]["request_id"] for r in results if "error" in r}
    assert len(shown) == 1 and re.fullmatch(r"req-[0-9a-f]{10}", shown.pop())
    one_by_one = [sides.json(ANALYSIS, analysis(text))["messages"][0]["emotions"] for text in texts[:3]]
    for alone, together in zip(one_by_one, (r["emotions"] for r in results[1:4]), strict=True):
        # Padded together or alone: the same to the last place shown, or one off.
        assert alone["raw"] == pytest.approx(together["raw"], abs=2e-4)


IDS = {
    "slashes": "a/b//c",
    "dots": "..",
    "a dot": ".",
    "percent signs": "100%25",
    "an encoded slash as text": "a%2Fb",
    "spaces and a question": "what now? #1",
    "unicode": "Grüße-\U0001f600",
    "128 bytes of two": "ü" * 64,
    "128 bytes of four": "\U0001f600" * 32,
    "128 bytes": "x" * 128,
    "a NUL": "a\x00b",
    "a word of paths": "message",
    "a line end": "a\r\nb",
}


@pytest.mark.parametrize("context_id", IDS.values(), ids=IDS)
def test_a_context_may_be_called_anything_of_up_to_128_bytes(sides: World, context_id: str) -> None:
    place = "/v2/emotions/" + quote(context_id, safe="")
    if place.endswith("/message"):
        place = "/v2/emotions/%6dessage"
    told = sides.json(place + "/analysis", analysis({"externalId": context_id, "content": "Hello there."}))
    assert told["metadata"] == {"context_id": context_id}
    state = sides.json(place)
    assert (state["object"], state["metadata"]["context_id"]) == ("emotions.state", context_id)
    message = sides.json(f"{place}/message/{quote(context_id, safe='')}")
    assert message["metadata"] == {"context_id": context_id, "message_id": context_id}
    assert sides.ask(place, method="DELETE").status == 204
    assert sides.ask(place).status == 404


@pytest.mark.parametrize("context_id", ["x" * 129, "ü" * 64 + "x", "\U0001f600" * 32 + "x"])
def test_129_bytes_are_too_many(sides: World, context_id: str) -> None:
    answer = sides.ask(f"/v2/emotions/{quote(context_id, safe='')}")
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (422, "invalid_context_id")
    assert sides.ask("/v2/emotions/%ff%fe").status == 422


def test_a_context_remembers_scores_and_ids_and_no_text(sides: World) -> None:
    texts = ["I am so sad.", "Still very sad.", "A bit better now.", "This is wonderful, I love it!"]
    for number, text in enumerate(texts):
        told = sides.json(
            "/v2/emotions/course/analysis", analysis({"externalId": f"m{number}", "content": text})
        )
        check_emotion(told["emotions"]["user"], text)
        assert told["trajectory"]["n"] == number + 1
        assert ("trend" in told["trajectory"]) == (number >= 2)
    sides.json("/v2/emotions/course/analysis", analysis({"role": "assistant", "content": "Good."}))
    state = sides.json("/v2/emotions/course")
    assert list(state) == ["object", "metadata", "emotions", "trajectory"]
    assert state["metadata"]["message_count"] == 5
    check_emotion(state["emotions"]["system"])
    assert state["trajectory"] == told["trajectory"]
    assert list(told["trajectory"]) == ["baseline", "trend", "velocity", "inertia", "breakthroughs", "n"]
    message = sides.json("/v2/emotions/course/message/m3")
    check_emotion(message["emotions"]["user"])
    for file in sides.gateway.folder.glob("triptych.db*"):
        assert b"wonderful, I love" not in file.read_bytes()


def test_an_org_that_keeps_texts_gets_them_back(sides: World) -> None:
    text = "Nobody but me may read that."
    body = analysis({"externalId": "m1", "content": text})
    sides.json("/v2/emotions/diary/analysis", body, key=KEEPING)
    told = sides.json("/v2/emotions/diary/message/m1", key=KEEPING)
    check_emotion(told["emotions"]["user"], text)
    for file in sides.gateway.folder.glob("triptych.db*"):
        assert text.encode() not in file.read_bytes()


def test_orgs_and_environments_never_see_each_others_contexts(sides: World) -> None:
    for key, count in ((LIVE_KEY, 1), (OTHER, 2), (TEST_KEY, 3)):
        for number in range(count):
            body = analysis({"externalId": f"m{number}", "content": "Hello."})
            sides.json("/v2/emotions/chat-123/analysis", body, key=key)
    for key, count in ((LIVE_KEY, 1), (OTHER, 2), (TEST_KEY, 3)):
        assert sides.json("/v2/emotions/chat-123", key=key)["metadata"]["message_count"] == count
    assert sides.ask("/v2/emotions/chat-123/message/m1").status == 404
    assert sides.ask("/v2/emotions/chat-123", method="DELETE", key=OTHER).status == 204
    assert sides.json("/v2/emotions/chat-123")["metadata"]["message_count"] == 1


def test_guessing_the_ids_of_others_takes_as_long_as_guessing_wrong(sides: World) -> None:
    for number in range(20):
        sides.json(f"/v2/emotions/guess-{number}/analysis", analysis("Hello."), key=OTHER)
    taken_s: dict[str, list[float]] = {"there": [], "nowhere": []}
    for number in range(60):
        for name, context_id in (("there", f"guess-{number % 20}"), ("nowhere", f"wrong-{number % 20}")):
            began_s = time.perf_counter()
            answer = sides.ask(f"/v2/emotions/{context_id}")
            taken_s[name].append(time.perf_counter() - began_s)
            assert answer.status == 404
    there, nowhere = (statistics.median(taken_s[name]) for name in ("there", "nowhere"))
    assert abs(there - nowhere) < 0.5 * max(there, nowhere)


def test_expired_means_gone(sides: World) -> None:
    canary = "expired-canary-2718281828"
    told = sides.json(f"/v2/emotions/{canary}/analysis", analysis("Hello."), key=FLEETING)
    assert told["trajectory"]["n"] == 1
    deadline_s = time.monotonic() + 15
    while sides.ask(f"/v2/emotions/{canary}", key=FLEETING).status == 200:
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    assert sides.ask(f"/v2/emotions/{canary}/message/m1", key=FLEETING).status == 404

    def left() -> bool:
        return any(canary.encode() in file.read_bytes() for file in sides.gateway.folder.glob("triptych.db*"))

    while left():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    again = sides.json(f"/v2/emotions/{canary}/analysis", analysis("Hello again."), key=FLEETING)
    assert again["trajectory"]["n"] == 1


def test_the_models_are_the_emotion_model_and_those_one_may_chat_with(sides: World) -> None:
    listed = {model["id"]: model for model in sides.json("/v2/models")["data"]}
    assert listed["emotion-v2"] == {"id": "emotion-v2", "object": "model", "type": "emotion"}
    assert listed["mapped-model"]["type"] == "chat"
    assert not {"retired-model", "premium-model"} & set(listed)


def test_anybody_may_ask_how_the_parts_are(sides: World) -> None:
    told = sides.json("/v2/status", key=None)
    assert (told["object"], told["status"]) == ("status", "operational")
    assert set(told["components"].values()) <= {"operational", "idle"}
    assert {"database", "ledger", "emotion_engine"} <= set(told["components"])


def test_every_answer_says_what_is_left_of_the_limit(sides: World) -> None:
    first, second = (sides.ask(ANALYSIS, analysis("x"), key=OTHER) for _ in range(2))
    assert first.header("x-ratelimit-limit") == "1000"
    remaining = [int(answer.header("x-ratelimit-remaining") or 0) for answer in (first, second)]
    assert remaining[0] - remaining[1] == 1
    assert abs(int(second.header("x-ratelimit-reset") or 0) - time.time() - 60) <= 3


def chunks_of(body: bytes) -> list[Any]:
    # Comments of a provider are passed on.
    frames = [frame for frame in body.decode().strip().split("\n\n") if not frame.startswith(":")]
    assert frames[-1] == "data: [DONE]"
    return [json.loads(frame.removeprefix("data: ")) for frame in frames[:-1]]


@pytest.mark.parametrize("model", ["sandbox-echo", "mapped-model"])
def test_a_chat_brings_the_answer_and_the_emotions_of_both_sides(sides: World, model: str) -> None:
    answer = sides.ask(CHAT, completion(model))
    told = json.loads(answer.body)
    text = told["choices"][0]["message"]["content"]
    assert told["object"] == "chat.completion" and text
    check_emotion(told["emotions"]["user"], "I am so happy today")
    check_emotion(told["emotions"]["assistant"], text)
    assert told["emotion_model"] == "emotion-v2"
    assert list(told["conversationMode"]) == ["mode", "confidence", "strategy"]
    assert told["trajectory"] == {"n": 1}
    usage, row = told["usage"], sides.row(answer)
    assert usage["analyse_tokens"] > 5
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (row["input_tokens"], row["output_tokens"])
    assert (row["model"], row["ending"], row["stream"]) == (model, "completed", 0)


@pytest.mark.parametrize("model", ["sandbox-echo", "mapped-model"])
def test_a_streamed_chat_brings_them_where_they_are_known(sides: World, model: str) -> None:
    plain = sides.json(CHAT, completion(model))
    answer = sides.ask(CHAT, completion(model, stream=True))
    assert (answer.header("content-type") or "").startswith("text/event-stream")
    chunks = chunks_of(answer.body)
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert [("emotions" in chunk, bool(chunk["choices"])) for chunk in chunks] == [
        (True, True),
        *[(False, True)] * (len(chunks) - 2),
        (True, False),
    ]
    first, last = chunks[0], chunks[-1]
    assert first["emotions"] == {"user": plain["emotions"]["user"]}
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks[:-1])
    assert last["emotions"]["assistant"]["text"] == text
    for name in ("conversationMode", "trajectory", "emotion_model"):
        assert last[name] == plain[name]
    assert last["usage"]["analyse_tokens"] > 5 and last["usage"]["completion_tokens"] > 0
    assert sides.row(answer)["stream"] == 1


def test_a_model_that_is_leaving_says_so(sides: World) -> None:
    for stream in (False, True):
        answer = sides.ask("/v2/chat/completions", completion("leaving-model", stream=stream))
        assert answer.status == 200
        assert answer.header("sunset") == "Fri, 01 Jan 2100 00:00:00 GMT"
        assert (answer.header("deprecation") or "").startswith("@")
        assert answer.header("x-triptych-replacement") == "mapped-model"
    assert sides.ask("/v2/chat/completions", completion("mapped-model")).header("sunset") is None


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_in_a_context_adds_what_is_new_of_both_sides(sides: World, stream: bool) -> None:
    place = f"chat-in-context-{stream}"
    for number in range(3):
        body = completion("sandbox-echo", f"Turn {number}: lovely!", context_id=place, stream=stream)
        answer = sides.ask(CHAT, body)
        told = chunks_of(answer.body)[-1] if stream else json.loads(answer.body)
        assert told["trajectory"]["n"] == number + 1
    state = sides.json(f"/v2/emotions/{place}")
    assert state["metadata"]["message_count"] == 6 and state["trajectory"]["n"] == 3


def test_a_chat_that_fails_adds_nothing(sides: World) -> None:
    body = completion(fault_model("error:529"), context_id="failed-chat")
    assert sides.ask(CHAT, body).status == 503
    assert sides.ask("/v2/emotions/failed-chat").status == 404


def test_tools_and_parameters_reach_the_model(sides: World) -> None:
    before = len(sides.upstream.requests)
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    params = {"temperature": 0.5, "max_tokens": 99, "top_p": 0.9, "unknown": 1}
    sides.json(CHAT, completion("mapped-model", model_params=params, tools=[tool]))
    sent = json.loads(sides.upstream.requests[before].body)
    assert (sent["temperature"], sent["top_p"], sent["max_tokens"]) == (0.5, 0.9, 99)
    assert sent["tools"][0]["name"] == "weather" and "unknown" not in sent
    assert "context_id" not in sent and "emotion_model" not in sent


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_org_guards_never_reaches_the_model_and_comes_back(sides: World, stream: bool) -> None:
    before = len(sides.upstream.requests)
    text = "My SSN is 536-90-4399 and I am afraid."
    answer = sides.ask(CHAT, completion("mapped-model", text, stream=stream), key=REDACTING)
    assert answer.status == 200, answer.body
    sent = sides.upstream.requests[before].body
    assert b"536-90-4399" not in sent and b"US_SSN" in sent
    told = chunks_of(answer.body)[0] if stream else json.loads(answer.body)
    check_emotion(told["emotions"]["user"], text)
    echoed = sides.ask(CHAT, completion("sandbox-echo", text, stream=stream), key=REDACTING)
    last = chunks_of(echoed.body)[-1] if stream else json.loads(echoed.body)
    assert last["emotions"]["assistant"]["text"] == text


def test_our_client_speaks_to_the_gateway(sides: World) -> None:
    with Triptych(sides.gateway.url, api_key=TEST_KEY) as triptych:
        emotion = triptych.emotion
        found = emotion.analyse([{"externalId": "m1", "content": "I am so happy!"}], context_id="of/a client")
        assert found.messages[0].external_id == "m1"
        assert (found.metadata, found.trajectory) == ({"context_id": "of/a client"}, {"n": 1})
        with pytest.raises(ConflictError) as failed:
            emotion.analyse([{"externalId": "m1", "content": "Again."}], context_id="of/a client")
        assert (failed.value.code, failed.value.param) == ("duplicate_id", "messages[0].externalId")
        assert emotion.context("of/a client").metadata.message_count == 1
        assert emotion.message("of/a client", "m1").emotions["user"].category in LABELS
        emotion.forget("of/a client")
        assert emotion.analyse(["One."], context_id="..").metadata == {"context_id": ".."}
        assert emotion.context("..").metadata.message_count == 1
        emotion.forget("..")
        assert emotion.analyse_batch(["One.", " "]).results[1].error is not None
        assert emotion.models()[0].type == "emotion"
        assert emotion.status()["status"] == "operational"
        messages = [{"role": "user", "content": "What a day!"}]
        told = emotion.chat("sandbox-echo", messages)
        assert told.text == "What a day!" and told.emotions.user is not None
        with emotion.stream("sandbox-echo", messages) as chunks:
            read = list(chunks)
        assert "".join(chunk.text for chunk in read) == told.text
        assert read[0].emotions is not None and read[-1].mode == told.mode
        broken = emotion.stream("sandbox-error-midstream_overloaded", messages)
        with broken as chunks, pytest.raises(StreamFailed):
            list(chunks)
        chat = triptych.clinical.chat("Hello there", model="sandbox-echo")
        assert chat.text == "Hello there" and chat.conversation_id
        assert triptych.clinical.record(chat.data.message.id)["message"]["role"] == "assistant"
        with triptych.clinical.stream(
            "Hello again", conversation_id=chat.conversation_id, model="sandbox-echo"
        ) as events:
            types = [(event.type, event.text) for event in events]
        assert types[0][0] == "run.created" and types[-1][0] == "run.completed"
        assert "".join(text for _, text in types) == "Hello again"
        assert triptych.clinical.models()


def test_our_client_speaks_to_it_asynchronously(sides: World) -> None:
    async def speak() -> None:
        async with AsyncTriptych(sides.gateway.url, api_key=TEST_KEY) as triptych:
            found = await asyncio.gather(*(triptych.emotion.analyse([f"Day {n}!"]) for n in range(5)))
            assert [one.messages[0].emotions.text for one in found] == [f"Day {n}!" for n in range(5)]
            async with triptych.clinical.stream("Hello", model="sandbox-echo") as events:
                assert "".join([event.text async for event in events]) == "Hello"

    asyncio.run(speak())
