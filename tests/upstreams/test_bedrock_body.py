"""What a Messages body becomes on its way to Bedrock, and what of it does not change."""

import json
from base64 import b64decode

import pytest

from triptych.core.call import Headers
from triptych.core.failure import Failure, FailureKind
from triptych.upstreams.bedrock_body import count_body, invoke_body

VERSION = b'"anthropic_version":"bedrock-2023-05-31"'
REST = (
    b'"max_tokens" : 1.0e1 , "messages":[ {"role":"user","content":"n\\u00e9e \xe2\x98\x83"}],\n'
    b'"x":[1.50,{"model":1}]'
)


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (b'{"model":"m",' + REST + b"}", b"{" + VERSION + b"," + REST + b"}"),
        (b'{"model":"m","stream":true,' + REST + b"}", b"{" + VERSION + b"," + REST + b"}"),
        (b"{" + REST + b',"stream":false, "model" : "m"}', b"{" + VERSION + b"," + REST + b"}"),
        (b' { "stream":true ,' + REST + b"\t}\n", b" {" + VERSION + b", " + REST + b"\t}\n"),
        (b'{"mod\\u0065l":"m",' + REST + b"}", b"{" + VERSION + b"," + REST + b"}"),
        (b'{"model":"m"}', b"{" + VERSION + b"}"),
        (b"{}", b"{" + VERSION + b"}"),
        (b'{"anthropic_version":"other","model":"m"}', b'{"anthropic_version":"other"}'),
    ],
)
def test_two_members_leave_one_comes_and_every_other_byte_stays(body: bytes, sent: bytes) -> None:
    assert invoke_body(body, []) == sent
    json.loads(sent)


@pytest.mark.parametrize(
    ("headers", "betas"),
    [
        ([(b"anthropic-beta", b"a-1")], ["a-1"]),
        ([(b"anthropic-beta", b"a-1, b-2"), (b"anthropic-beta", b" c-3 ,")], ["a-1", "b-2", "c-3"]),
        ([(b"anthropic-beta", b'"\\,\xe9')], ['"\\', "é"]),
    ],
)
def test_the_betas_of_the_headers_go_into_the_body(headers: Headers, betas: list[str]) -> None:
    sent = json.loads(invoke_body(b'{"model":"m","max_tokens":1}', headers))
    assert sent == {"anthropic_version": "bedrock-2023-05-31", "anthropic_beta": betas, "max_tokens": 1}


@pytest.mark.parametrize("headers", [[], [(b"anthropic-beta", b" , ")], [(b"x-beta", b"a")]])
def test_without_betas_there_is_no_member_for_them(headers: Headers) -> None:
    assert b"beta" not in invoke_body(b'{"model":"m","max_tokens":1}', headers)


def test_betas_that_stand_in_the_body_already_are_left_alone() -> None:
    body = b'{"anthropic_beta":["mine"],"max_tokens":1}'
    assert invoke_body(body, [(b"anthropic-beta", b"a-1")]) == b"{" + VERSION + b"," + body[1:]


def counted(body: bytes, headers: Headers = ()) -> bytes:
    outer = json.loads(count_body(body, headers))
    assert list(outer) == ["input"] and list(outer["input"]) == ["invokeModel"]
    (inner,) = outer["input"]["invokeModel"].items()
    assert inner[0] == "body"
    return b64decode(inner[1], validate=True)


def test_a_count_wraps_the_body_and_gives_it_the_bound_the_model_needs() -> None:
    rest = b'"messages":[{"role":"user","content":"x"}]}'
    assert counted(b'{"model":"m",' + rest) == b"{" + VERSION + b',"max_tokens":1,' + rest
    assert counted(b'{"max_tokens":7,"model":"m",' + rest) == b"{" + VERSION + b',"max_tokens":7,' + rest


@pytest.mark.parametrize(
    ("thinking", "max_tokens"),
    [
        (b'{"type":"enabled","budget_tokens":2048}', 2049),
        (b'{"type":"disabled"}', 1),
        (b'{"type":"enabled","budget_tokens":-5}', 1),
        (b'"odd"', 1),
        (b'{"budget_tokens":"many"}', 1),
    ],
)
def test_the_bound_is_above_a_budget_for_thinking(thinking: bytes, max_tokens: int) -> None:
    assert json.loads(counted(b'{"model":"m","thinking":' + thinking + b"}"))["max_tokens"] == max_tokens


def test_the_beta_that_once_opened_counting_is_not_one_of_bedrocks() -> None:
    headers = [(b"anthropic-beta", b"token-counting-2024-11-01,other-1")]
    assert json.loads(counted(b'{"model":"m"}', headers))["anthropic_beta"] == ["other-1"]
    headers = [(b"anthropic-beta", b"token-counting-2024-11-01")]
    assert b"anthropic_beta" not in counted(b'{"model":"m"}', headers)


def test_a_body_that_is_no_object_is_a_failure() -> None:
    for make in (invoke_body, count_body):
        with pytest.raises(Failure) as caught:
            make(b"[]", [])
        assert caught.value.kind is FailureKind.INVALID_BODY
