"""Bodies nobody should send, each with its exact answer; and what is lawful but odd, relayed as it is."""

import json
import random
from collections.abc import Iterator

import pytest

from tests.contract.inference.world import TwoSides, world
from tests.contract.raw_client import LIVE
from tests.devices.gateway import LIVE_KEY, message

INVALID = "The request body is not valid JSON: "
GOOD = b'{"model":"mapped-model","max_tokens":8,"messages":[{"role":"user","content":"hello there"}]}'
MAX_TOKENS = "max_tokens must be an integer between 1 and 9223372036854775807"
TARGETS = ("/v1/messages", "/v1/messages/count_tokens")


@pytest.fixture(scope="module")
def sides() -> Iterator[TwoSides]:
    with world() as both:
        yield both


def with_field(name: str, literal: str) -> bytes:
    """A good body in which one field reads as given."""
    fields = {"model": '"mapped-model"', "max_tokens": "8", "messages": '[{"role":"user","content":"x"}]'}
    return "{{{}}}".format(
        ",".join(f'"{key}":{text}' for key, text in {**fields, name: literal}.items())
    ).encode()


def nested(depth: int) -> bytes:
    """A body of this depth as a whole: the object itself is one level."""
    return with_field("extra", "[" * (depth - 1) + "]" * (depth - 1))


AT = GOOD.index(b"hello")
VALUE_AT = with_field("temperature", "?").index(b"?")
NOT_JSON = {
    "nothing": (b"", "it is empty"),
    "white space": (b" \r\n\t ", "it is empty"),
    "a form": (b"model=m&max_tokens=1", "invalid character (byte 0)"),
    "half an object": (GOOD[:30], "it ends too early (byte 30)"),
    "all but the last brace": (GOOD[:-1], f"it ends too early (byte {len(GOOD) - 1})"),
    "a byte order mark": (b"\xef\xbb\xbf" + GOOD, "it starts with a byte order mark"),
    "UTF-16": (GOOD.decode().encode("utf-16"), "it is not UTF-8 (byte 0)"),
    "NaN": (with_field("temperature", "NaN"), f"NaN and Infinity are not JSON (byte {VALUE_AT})"),
    "Infinity": (with_field("temperature", "Infinity"), f"NaN and Infinity are not JSON (byte {VALUE_AT})"),
    "-Infinity": (
        with_field("temperature", "-Infinity"),
        f"NaN and Infinity are not JSON (byte {VALUE_AT + 1})",
    ),
    "an invalid byte": (GOOD.replace(b"hello", b"h\xffllo"), f"it is not UTF-8 (byte {AT + 1})"),
    "an overlong encoding": (GOOD.replace(b"hello", b"h\xc0\xafllo"), f"it is not UTF-8 (byte {AT + 1})"),
    "an encoded surrogate": (GOOD.replace(b"hello", b"\xed\xa0\x80"), f"it is not UTF-8 (byte {AT})"),
    "half of a character at the end": (GOOD + b"\xe2\x82", f"it is not UTF-8 (byte {len(GOOD)})"),
    "a lone high surrogate": (GOOD.replace(b"hello", b"\\ud83d x"), f"lone surrogate escape (byte {AT})"),
    "a lone low surrogate": (GOOD.replace(b"hello", b"\\ude00"), f"lone surrogate escape (byte {AT})"),
    "surrogates in the wrong order": (
        GOOD.replace(b"hello", b"\\ude00\\ud83d"),
        f"lone surrogate escape (byte {AT})",
    ),
    "a lone surrogate in a key": (
        GOOD[:-1] + b',"\\ud800":1}',
        f"lone surrogate escape (byte {len(GOOD) + 1})",
    ),
    "trailing text": (GOOD + b"x", f"trailing characters (byte {len(GOOD)})"),
    "a second object": (GOOD + b" {}", f"trailing characters (byte {len(GOOD) + 1})"),
    "a NUL behind it": (GOOD + b"\x00", f"trailing characters (byte {len(GOOD)})"),
}


@pytest.mark.parametrize(("body", "reason"), NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_not_strict_json_is_refused_with_its_place(sides: TwoSides, body: bytes, reason: str) -> None:
    refused(sides, body, f"{INVALID}{reason}.")


MALFORMED = {
    "a trailing comma": GOOD[:-1] + b",}",
    "single quotes": GOOD.replace(b'"', b"'"),
    "a comment": b"/* hello */" + GOOD,
    "a raw line feed in a string": GOOD.replace(b"hello", b"he\nllo"),
    "a raw NUL in a string": GOOD.replace(b"hello", b"he\x00llo"),
    "an unknown escape": GOOD.replace(b"hello", b"he\\xllo"),
    "a leading zero": with_field("temperature", "01"),
    "a plus sign": with_field("temperature", "+1"),
    "a bare point": with_field("temperature", "1."),
    "True": with_field("stream", "True"),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_nearly_json_is_not_json(sides: TwoSides, body: bytes) -> None:
    sentence = refused(sides, body)
    assert sentence.startswith(INVALID) and "(byte " in sentence


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"5", b"true"])
def test_json_that_is_no_object_is_refused(sides: TwoSides, body: bytes) -> None:
    refused(sides, body, "The request body must be a JSON object.")


WRONG = (
    [
        ("model", literal, "model must be a non-empty string")
        for literal in ('""', "null", "5", "[]", "{}", "true")
    ]
    + [
        ("messages", literal, "messages must be a non-empty array")
        for literal in ("[]", "{}", "null", '"hi"', "5")
    ]
    + [
        ("max_tokens", literal, MAX_TOKENS)
        for literal in (
            "0",
            "-1",
            "1.5",
            '"5"',
            "true",
            "null",
            "[]",
            "{}",
            str(2**63),
            "1e999",
            "1e3",
            "-0",
            "9" * 4000,
        )
    ]
    + [("stream", literal, "stream must be true or false") for literal in ("null", "0", "1", '"true"', "[]")]
    + [
        ("messages", "[5]", "messages[0] must be an object"),
        ("messages", '[{"content":"x"}]', "messages[0].role is required"),
        ("messages", '[{"role":"user"}]', "messages[0].content is required"),
        ("messages", '[{"role":"tool","content":"x"}]', 'messages[0].role must be "user" or "assistant"'),
        (
            "messages",
            '[{"role":"user","content":5}]',
            "messages[0].content must be a string or an array of content blocks",
        ),
        (
            "messages",
            '[{"role":"user","content":null}]',
            "messages[0].content must be a string or an array of content blocks",
        ),
        ("messages", '[{"role":"user","content":["x"]}]', "messages[0].content[0] must be an object"),
    ]
)


@pytest.mark.parametrize(("name", "literal", "sentence"), WRONG)
@pytest.mark.parametrize("target", TARGETS)
def test_a_core_field_of_a_wrong_type_is_named(
    sides: TwoSides, target: str, name: str, literal: str, sentence: str
) -> None:
    refused(sides, with_field(name, literal), sentence, target=target)


@pytest.mark.parametrize("name", ["model", "messages", "max_tokens"])
def test_a_missing_field_is_required(sides: TwoSides, name: str) -> None:
    body = json.loads(GOOD)
    del body[name]
    refused(sides, json.dumps(body).encode(), f"{name} is required")
    if name != "max_tokens":
        refused(sides, json.dumps(body).encode(), f"{name} is required", target=TARGETS[1])


def test_counting_tokens_needs_no_max_tokens(sides: TwoSides) -> None:
    body = json.loads(GOOD)
    del body["max_tokens"]
    answer = sides.ask(LIVE, body=json.dumps(body).encode(), target=TARGETS[1])
    assert (answer.status, json.loads(answer.body)) == (200, {"input_tokens": 12})


def test_a_depth_of_128_is_relayed_and_129_is_not(sides: TwoSides) -> None:
    relayed(sides, nested(128))
    too_deep = "The request body nests arrays and objects deeper than 128 levels."
    refused(sides, nested(129), too_deep)
    for bomb in (nested(100_000), b"[" * 1_000_000, b'{"a":' * 200_000):
        sentence = refused(sides, bomb)
        assert sentence == too_deep or sentence.startswith(INVALID)


DUPLICATES = {
    "the model": GOOD.replace(b'"max_tokens":8', b'"max_tokens":8,"model":"premium-model"'),
    "an equal model": GOOD[:-1] + b',"model":"mapped-model"}',
    "an escaped model": GOOD[:-1] + b',"\\u006dodel":"premium-model"}',
    "the messages": GOOD[:-1] + b',"messages":[]}',
    "a field that is not looked at": GOOD[:-1] + b',"top_k":1,"top_k":2}',
    "the stream": GOOD[:-1] + b',"stream":false,"stream":true}',
}


@pytest.mark.parametrize("body", DUPLICATES.values(), ids=DUPLICATES)
def test_a_top_level_key_twice_is_refused(sides: TwoSides, body: bytes) -> None:
    assert "more than once at top level" in refused(sides, body)


CARRIED = {
    "huge numbers where nobody looks": with_field("temperature", "1e999"),
    "a huge integer where nobody looks": with_field("top_k", "9" * 4000),
    "numbers in every spelling": with_field(
        "numbers", "[1.0,1.00,1E+2,-0,-0.0,0.1e-7,1e999,123456789012345678901234567890]"
    ),
    "1e999 inside a message": with_field("messages", '[{"role":"user","content":"x","n":1e999}]'),
    "a nested key twice": with_field(
        "messages", '[{"role":"user","content":[{"type":"text","text":"a","text":"b"}]}]'
    ),
    "a pair of surrogates": GOOD.replace(b"hello", b"\\ud83d\\ude00"),
    "every escape": GOOD.replace(b"hello", b'\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\u2028'),
    "unicode": GOOD.replace(b"hello", "h\u00e9 \U0001f600 \u202e \u2028".encode()),
    "white space everywhere": GOOD.replace(b":", b" :\t").replace(b",", b"\r\n,  "),
    "white space around": b" \r\n\t" + GOOD + b"\n \r\n",
    "unknown fields": with_field("of_the_future", '{"a":[null,true,{}],"b":"\\u00e9"}'),
    "an empty key": with_field("", "1"),
    "the largest max_tokens": with_field("max_tokens", str(2**63 - 1)),
    "two user turns": with_field("messages", '[{"role":"user","content":"a"},{"role":"user","content":"b"}]'),
    "empty content": with_field(
        "messages", '[{"role":"user","content":[]},{"role":"assistant","content":""}]'
    ),
}


@pytest.mark.parametrize("body", CARRIED.values(), ids=CARRIED)
def test_what_is_odd_but_lawful_reaches_the_provider_byte_for_byte(sides: TwoSides, body: bytes) -> None:
    relayed(sides, body)


def test_what_callers_may_not_spoof_never_reaches_the_provider(sides: TwoSides) -> None:
    spoof = b'"metadata":{"user_id":"canary-user"}, "litellm_metadata":1,"proxy_server_request":[1],'
    answer = sides.ask(LIVE, body=b"{" + spoof + GOOD[1:])
    assert answer.status == 200
    # Whatever space stood there is not the point; nothing of the members is left.
    assert sides.upstream.requests[-1].json == {**json.loads(GOOD), "model": "fault-ok"}
    assert b"canary" not in sides.upstream.requests[-1].body
    row = sides.row(answer)
    assert row is not None and row["client_user_hash"] and "canary" not in repr(row)


NAMES = {
    "a header line": "a\r\nx-evil: 1\r\n\r\nHTTP/1.1 200 OK",
    "quotes": "a'\"b",
    "a log line": 'a"}\n{"level":"error","event":"forged"}',
    "unicode": "\u202emod\u00e9l-\U0001f600\u2028\x85",
    "control characters": "\x00\x1b[2Jm\x7f",
    "a path": "../../etc/passwd",
    "a format": "%s {0} ${HOME}",
    "length": "m" * 100_000,
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_no_model_name_splits_a_header_or_a_log_line(sides: TwoSides, name: str) -> None:
    answer = sides.ask(LIVE, body=message(name))
    assert answer.status == 400
    assert json.loads(answer.body)["error"]["message"] == f"Model '{name}' not found."
    assert "x-evil" not in answer.names and answer.header("content-length") == str(len(answer.body))
    row = sides.row(answer)
    assert row is not None and row["model"] is None


def test_the_log_stays_one_json_object_a_line_and_quotes_nothing(sides: TwoSides) -> None:
    for name in NAMES.values():
        sides.ask(LIVE, body=message(name, messages=[{"role": "user", "content": "canary-prompt"}]))
        sides.ask(f"x-api-key: canary-key-{LIVE_KEY}", target=f"/canary/{name[:20].encode().hex()}")
    sides.upstream.wait_until(lambda: False, 0.4)
    for line in sides.gateway.log.splitlines():
        if line.startswith("{"):
            json.loads(line)
    assert "canary" not in sides.gateway.log and "forged" not in sides.gateway.log


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "image/png",
        "application/json; charset=utf-16",
        "\xff",
    ],
)
def test_any_content_type_is_read_as_json(sides: TwoSides, content_type: str | None) -> None:
    fields = () if content_type is None else (f"content-type: {content_type}",)
    relayed(sides, GOOD, *fields)
    assert sides.upstream.requests[-1].header("content-type") == "application/json"


# -- chance ------------------------------------------------------------------------------------


def test_bodies_broken_at_random_are_answered_and_counted_one_by_one(sides: TwoSides) -> None:
    chance = random.Random(20_261_122)
    asked = []
    for _ in range(150):
        body = bytearray(GOOD)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(body))
            match chance.randrange(3):
                case 0:
                    body[at] = chance.randrange(256)
                case 1:
                    del body[at : at + chance.randint(1, 20)]
                case _:
                    body[at:at] = chance.choice(
                        [b'"', b"{", b"]", b"\\", b"\x00", b"\xff", b"1e999", b"NaN", b",,"]
                    )
        answer = sides.ask(LIVE, body=bytes(body))
        assert answer.status in (200, 400), bytes(body)
        asked.append((answer, bytes(body)))
    sides.row(asked[-1][0])
    rows = {"req_" + row["id"]: row for row in sides.gateway.rows()}
    for answer, body in asked:
        row = rows[answer.header("request-id") or ""]
        assert (row["status"], row["bytes_in"]) == (answer.status, len(body))
    assert {answer.status for answer, _ in asked} == {200, 400}


def refused(
    sides: TwoSides, body: bytes, sentence: str | None = None, *fields: str, target: str = TARGETS[0]
) -> str:
    """Assert a 400 in the envelope of the messages wire, that nothing was sent to the provider, and
    that the row is there. Returns its sentence."""
    before = len(sides.upstream.requests)
    answer = sides.ask(LIVE, *fields, body=body, target=target)
    assert answer.status == 400, answer
    found = json.loads(answer.body)
    assert set(found) == {"type", "error", "request_id"} and found["type"] == "error"
    assert found["error"]["type"] == "invalid_request_error"
    if sentence is not None:
        assert found["error"]["message"] == sentence
    assert len(sides.upstream.requests) == before
    row = sides.row(answer)
    assert row is not None
    facts = (row["status"], row["failure_kind"], row["ending"], row["bytes_in"])
    assert facts == (400, "invalid_body", "refused", len(body))
    text: str = found["error"]["message"]
    return text


def relayed(sides: TwoSides, body: bytes, *fields: str) -> None:
    """Assert that the body reaches the provider as it is, but for the model's id."""
    answer = sides.ask(LIVE, *fields, body=body)
    assert answer.status == 200, answer
    assert sides.upstream.requests[-1].body == body.replace(b'"mapped-model"', b'"fault-ok"')
    row = sides.row(answer)
    assert row is not None and (row["status"], row["ending"], row["bytes_in"]) == (
        200,
        "completed",
        len(body),
    )
