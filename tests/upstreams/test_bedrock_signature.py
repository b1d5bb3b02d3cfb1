"""AWS Signature Version 4 against AWS's published test suite, and against what botocore 1.44.5 signed."""

from hashlib import sha256

import pytest

from triptych.upstreams.bedrock_signature import Signer

# "Signature Version 4 test suite" of the AWS General Reference; the cases that are a POST.
SUITE_KEYS = "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SUITE_TIME_S = 1440938160  # 20150830T123600Z
SUITE_TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoI"
    "YRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSX"
    "Dvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8f"
    "POLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)
PROFILE_PATH = (
    "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Ainference-profile%2F"
    "eu.anthropic.claude-3-7-sonnet-20250219-v1%3A0/invoke-with-response-stream"
)
FORM = b"application/x-www-form-urlencoded"
HOST = (b"host", b"example.amazonaws.com")


@pytest.mark.parametrize(
    ("token", "headers", "body", "names", "signature"),
    [
        ("", [], b"", "host", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "",
            [(b"my-header1", b"value1")],
            b"",
            "host;my-header1",
            "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
        ),
        (
            "",
            [(b"my-header1", b"VALUE1")],
            b"",
            "host;my-header1",
            "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
        ),
        (
            "",
            [(b"content-type", FORM)],
            b"Param1=value1",
            "content-type;host",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
        (
            "",
            [(b"content-type", FORM + b"; charset=utf8")],
            b"Param1=value1",
            "content-type;host",
            "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe",
        ),
        (
            ":" + SUITE_TOKEN,
            [],
            b"",
            "host",
            "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
        ),
    ],
    ids=[
        "post-vanilla",
        "post-header-key-sort",
        "post-header-value-case",
        "post-x-www-form-urlencoded",
        "post-x-www-form-urlencoded-parameters",
        "post-sts-header-before",
    ],
)
def test_awss_own_suite_is_signed_as_published(
    token: str, headers: list[tuple[bytes, bytes]], body: bytes, names: str, signature: str
) -> None:
    signer = Signer(SUITE_KEYS + token, region="us-east-1", service="service")
    fields = dict(signer.fields("/", [HOST, *headers], sha256(body).hexdigest(), SUITE_TIME_S))
    names += ";x-amz-date;x-amz-security-token" if token else ";x-amz-date"
    assert fields.pop(b"authorization").decode() == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    assert fields.pop(b"x-amz-date") == b"20150830T123600Z"
    assert fields == ({b"x-amz-security-token": SUITE_TOKEN.encode()} if token else {})


@pytest.mark.parametrize(
    ("path", "token", "signature"),
    [
        (
            "/model/anthropic.claude-sonnet-4-20250514-v1%3A0/invoke",
            "",
            "cfd0690b27c1e692c1fe1fba467579633eff286bf3fe4e6efe814b29d84c4c07",
        ),
        (
            PROFILE_PATH,
            ":AQoDYXdzEPT/wEXAMPLE==",
            "2122fb1be6e753f037c4942c7720c65358e8d4060bba50667a290022b73f93b8",
        ),
        (
            "/model/a~b%3Bc%3Dd%2Be%25f%26g%40h/count-tokens",
            "",
            "487067f212b5a8040b5a38f161270d0cfc0733da3637c8d5eedb333e25d3b3cc",
        ),
    ],
)
def test_bedrocks_paths_are_signed_as_botocore_signs_them(path: str, token: str, signature: str) -> None:
    signer = Signer(SUITE_KEYS + token, region="eu-west-1")
    headers = [
        (b"content-type", b"application/json"),
        (b"host", b"bedrock-runtime.eu-west-1.amazonaws.com"),
    ]
    fields = dict(signer.fields(path, headers, sha256(b'{"max_tokens":1}').hexdigest(), 1767323045))
    assert fields[b"x-amz-date"] == b"20260102T030405Z"
    assert fields[b"authorization"].endswith(f"Signature={signature}".encode())


def test_the_key_of_a_day_is_not_used_on_the_next() -> None:
    signer = Signer(SUITE_KEYS, region="us-east-1", service="service")
    empty = sha256(b"").hexdigest()
    first = signer.fields("/", [HOST], empty, SUITE_TIME_S)
    next_day = signer.fields("/", [HOST], empty, SUITE_TIME_S + 86_400)
    assert b"20150831" in dict(next_day)[b"authorization"]
    assert next_day == Signer(SUITE_KEYS, region="us-east-1", service="service").fields(
        "/", [HOST], empty, SUITE_TIME_S + 86_400
    )
    assert signer.fields("/", [HOST], empty, SUITE_TIME_S) == first


@pytest.mark.parametrize(
    "credentials",
    [
        "hunter2",
        "hunter2:",
        ":hunter2",
        "a:hunter2:",
        "a:b:c:hunter2",
        "a:hünter2",
        "a:hunter2\r\nx: y",
        "a: b",
    ],
)
def test_credentials_that_are_none_are_refused_and_not_repeated(credentials: str) -> None:
    with pytest.raises(ValueError, match="api_key must look like") as caught:
        Signer(credentials, region="us-east-1")
    assert "unter2" not in str(caught.value)


def test_the_keys_are_in_no_repr() -> None:
    signer = Signer("AKIDEXAMPLE:hunter2:token", region="us-east-1")
    assert repr(signer) == "Signer(region='us-east-1', service='bedrock')"
