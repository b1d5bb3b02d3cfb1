"""The OpenAI upstream: what it says, and what it never says."""

import pytest

from tests.devices.faulty_behaviours import Exchange
from tests.devices.faulty_upstream import FaultyUpstream
from tests.upstreams.conftest import KEY, call_of, read_all
from triptych import __version__
from triptych.core.call import Headers, header
from triptych.upstreams.openai import OpenAIUpstream
from triptych.upstreams.transport import HttpTransport

CHAT = "/v1/chat/completions"


@pytest.fixture
def client_kind() -> str:
    return "triptych-uvloop"


@pytest.fixture
def transport() -> HttpTransport:
    return HttpTransport(connect_timeout_s=2, first_byte_timeout_s=5, idle_timeout_s=5)


@pytest.mark.anyio
async def test_the_head_names_us_and_the_organization(
    device: FaultyUpstream, transport: HttpTransport
) -> None:
    upstream = OpenAIUpstream(transport, base_url=device.base_url, api_key=KEY, organization="org-1")
    await read_all(await upstream.call(call_of(path=CHAT)))
    (request,) = device.requests
    assert request.header("user-agent") == f"triptych/{__version__}"
    assert request.header("authorization") == f"Bearer {KEY}"
    assert request.header("openai-organization") == "org-1"
    assert request.header("accept") == "application/json"
    for name in ("x-api-key", "anthropic-version"):
        assert request.header(name) is None
    transport.close()


@pytest.mark.anyio
async def test_without_an_organization_none_is_named(
    device: FaultyUpstream, transport: HttpTransport
) -> None:
    upstream = OpenAIUpstream(transport, base_url=device.base_url, api_key=KEY)
    await read_all(await upstream.call(call_of(path=CHAT, stream=True)))
    assert device.requests[0].header("openai-organization") is None
    assert device.requests[0].header("accept") == "text/event-stream"
    transport.close()


@pytest.mark.parametrize(
    ("base_path", "target"),
    [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/openai/v1", "/openai/v1/chat/completions"),
        ("/v1beta/openai", "/v1beta/openai/chat/completions"),
    ],
)
@pytest.mark.anyio
async def test_a_base_url_means_what_it_means_to_the_stock_sdks(
    device: FaultyUpstream, transport: HttpTransport, base_path: str, target: str
) -> None:
    upstream = OpenAIUpstream(transport, base_url=f"http://127.0.0.1:{device.port}{base_path}", api_key=KEY)
    await read_all(await upstream.call(call_of(path=CHAT, query=b"a=b")))
    await read_all(await upstream.call(call_of(path="/v1/responses")))
    assert [request.target for request in device.requests] == [
        f"{target}?a=b",
        target.replace("chat/completions", "responses"),
    ]
    transport.close()


@pytest.mark.anyio
async def test_a_clients_credentials_and_framing_go_nowhere(
    device: FaultyUpstream, transport: HttpTransport
) -> None:
    upstream = OpenAIUpstream(transport, base_url=device.base_url, api_key=KEY)
    headers: Headers = [
        (b"authorization", b"Bearer client"),
        (b"x-api-key", b"client"),
        (b"openai-organization", b"org-client"),
        (b"openai-project", b"proj-client"),
        (b"cookie", b"a=b"),
        (b"host", b"elsewhere"),
        (b"content-length", b"0"),
        (b"transfer-encoding", b"chunked"),
        (b"accept-encoding", b"gzip"),
        (b"openai-beta", b"x=v1"),
        (b"traceparent", b"00-1-2-01"),
    ]
    await read_all(await upstream.call(call_of(path=CHAT, headers=headers)))
    (request,) = device.requests
    assert (request.header("traceparent"), request.header("openai-beta")) == ("00-1-2-01", "x=v1")
    assert [value for name, value in request.headers if name == "authorization"] == [f"Bearer {KEY}"]
    assert request.header("accept-encoding") == "identity"
    for name in ("x-api-key", "openai-organization", "openai-project", "cookie", "transfer-encoding"):
        assert request.header(name) is None
    transport.close()


@pytest.mark.anyio
async def test_a_forwarded_value_with_a_line_break_sends_nothing(
    device: FaultyUpstream, transport: HttpTransport
) -> None:
    upstream = OpenAIUpstream(transport, base_url=device.base_url, api_key=KEY)
    for value in (b"a\r\nx-evil: 1", b"a\nb", b"a\0b"):
        with pytest.raises(ValueError, match="openai-beta"):
            await upstream.call(call_of(path=CHAT, headers=[(b"openai-beta", value)]))
    assert not device.requests


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"x-request-id: req_openai\r\n", b"req_openai"),
        (b"x-request-id: req_openai\r\nrequest-id: req_own\r\n", b"req_own"),
        (b"", None),
    ],
)
@pytest.mark.anyio
async def test_the_providers_request_id_is_found_where_every_provider_has_it(
    device: FaultyUpstream, transport: HttpTransport, fields: bytes, expected: bytes | None
) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n" + fields + b"\r\n{}")

    device.enqueue(answer)
    upstream = OpenAIUpstream(transport, base_url=device.base_url, api_key=KEY)
    got = await upstream.call(call_of(path=CHAT))
    assert header(got.headers, b"request-id") == expected
    assert await read_all(got) == b"{}"
    transport.close()


def test_the_key_is_in_no_repr(transport: HttpTransport) -> None:
    upstream = OpenAIUpstream(transport, base_url="https://api.example.com/v1", api_key=KEY)
    assert repr(upstream) == "OpenAIUpstream(base_url='https://api.example.com/v1')"


@pytest.mark.parametrize("key", ["", "kéy-hunter2", "key\r\nx: hunter2", "hunter2\0"])
def test_a_key_that_cannot_stand_in_a_header_is_refused_and_not_repeated(
    transport: HttpTransport, key: str
) -> None:
    with pytest.raises(ValueError, match=r"api_key|authorization") as caught:
        OpenAIUpstream(transport, base_url="https://api.example.com/v1", api_key=key)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("organization", ["örg", "org\r\nx: y"])
def test_an_organization_that_cannot_stand_in_a_header_is_refused(
    transport: HttpTransport, organization: str
) -> None:
    with pytest.raises(ValueError, match="openai-organization"):
        OpenAIUpstream(transport, base_url="https://a.example/v1", api_key=KEY, organization=organization)
