"""The Anthropic upstream: what it says, and what it never says."""

import pytest

from tests.devices.faulty_upstream import FaultyUpstream
from tests.upstreams.conftest import KEY, call_of, read_all
from triptych import __version__
from triptych.core.call import Headers
from triptych.upstreams.anthropic import AnthropicUpstream
from triptych.upstreams.transport import HttpTransport


@pytest.fixture
def client_kind() -> str:
    return "triptych-uvloop"


@pytest.fixture
def transport() -> HttpTransport:
    return HttpTransport(connect_timeout_s=2, first_byte_timeout_s=5, idle_timeout_s=5)


@pytest.mark.anyio
async def test_the_head_names_us_and_the_default_version(
    device: FaultyUpstream, transport: HttpTransport
) -> None:
    upstream = AnthropicUpstream(transport, base_url=device.base_url, api_key=KEY)
    await read_all(await upstream.call(call_of()))
    assert device.requests[0].header("user-agent") == f"triptych/{__version__}"
    assert device.requests[0].header("anthropic-version") == "2023-06-01"
    transport.close()


@pytest.mark.anyio
async def test_a_clients_credentials_and_framing_go_nowhere(
    device: FaultyUpstream, transport: HttpTransport
) -> None:
    upstream = AnthropicUpstream(transport, base_url=device.base_url, api_key=KEY)
    headers: Headers = [
        (b"authorization", b"Bearer client"),
        (b"x-api-key", b"client"),
        (b"cookie", b"a=b"),
        (b"host", b"elsewhere"),
        (b"content-length", b"0"),
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"close"),
        (b"accept-encoding", b"gzip"),
        (b"expect", b"100-continue"),
        (b"traceparent", b"00-1-2-01"),
    ]
    await read_all(await upstream.call(call_of(headers=headers)))
    (request,) = device.requests
    assert request.header("traceparent") == "00-1-2-01"
    assert [value for name, value in request.headers if name == "x-api-key"] == [KEY]
    assert [value for name, value in request.headers if name == "host"] == [f"127.0.0.1:{device.port}"]
    for name in ("authorization", "cookie", "transfer-encoding", "connection", "expect"):
        assert request.header(name) is None
    transport.close()


@pytest.mark.anyio
async def test_a_forwarded_value_with_a_line_break_sends_nothing(
    device: FaultyUpstream, transport: HttpTransport
) -> None:
    upstream = AnthropicUpstream(transport, base_url=device.base_url, api_key=KEY)
    for value in (b"a\r\nx-evil: 1", b"a\nb", b"a\0b"):
        with pytest.raises(ValueError, match="anthropic-beta"):
            await upstream.call(call_of(headers=[(b"anthropic-beta", value)]))
    assert not device.requests


@pytest.mark.anyio
async def test_a_query_with_a_line_break_is_percent_encoded(
    device: FaultyUpstream, transport: HttpTransport
) -> None:
    upstream = AnthropicUpstream(transport, base_url=device.base_url, api_key=KEY)
    await read_all(await upstream.call(call_of(query=b"a= b\r\nx-evil: 1")))
    assert device.requests[0].target == "/v1/messages?a=%20b%0D%0Ax-evil:%201"
    assert device.requests[0].header("x-evil") is None
    transport.close()


def test_the_key_is_in_no_repr(transport: HttpTransport) -> None:
    upstream = AnthropicUpstream(transport, base_url="https://api.example.com", api_key=KEY)
    assert repr(upstream) == "AnthropicUpstream(base_url='https://api.example.com')"


@pytest.mark.parametrize("key", ["", "kéy-hunter2", "key\r\nx: hunter2", "hunter2\0"])
def test_a_key_that_cannot_stand_in_a_header_is_refused_and_not_repeated(
    transport: HttpTransport, key: str
) -> None:
    with pytest.raises(ValueError, match=r"api_key|x-api-key") as caught:
        AnthropicUpstream(transport, base_url="https://api.example.com", api_key=key)
    assert "hunter2" not in str(caught.value)
