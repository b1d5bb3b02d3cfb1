"""The Azure OpenAI upstream: where it calls, and how it says who calls."""

import asyncio

import openai
import pytest

from tests.devices.faulty_behaviours import Exchange
from tests.devices.faulty_upstream import FaultyUpstream
from tests.upstreams.conftest import KEY, call_of, read_all
from triptych.core.call import Headers, header
from triptych.upstreams.azure_openai import AzureOpenAIUpstream
from triptych.upstreams.transport import HttpTransport

CHAT = "/v1/chat/completions"


@pytest.fixture
def client_kind() -> str:
    return "triptych-uvloop"


@pytest.fixture
def transport() -> HttpTransport:
    return HttpTransport(connect_timeout_s=2, first_byte_timeout_s=5, idle_timeout_s=5)


@pytest.mark.parametrize(
    ("base_path", "prefix"),
    [
        ("", "/openai/v1"),
        ("/", "/openai/v1"),
        ("/openai", "/openai/v1"),
        ("/openai/v1/", "/openai/v1"),
        ("/apim/azure/v1", "/apim/azure/v1"),
    ],
)
@pytest.mark.anyio
async def test_a_resources_endpoint_stands_for_its_v1_api(
    device: FaultyUpstream, transport: HttpTransport, base_path: str, prefix: str
) -> None:
    upstream = AzureOpenAIUpstream(transport, base_url=device.base_url + base_path, api_key=KEY)
    await read_all(await upstream.call(call_of(path=CHAT, query=b"a=b")))
    await read_all(await upstream.call(call_of(path="/v1/responses")))
    assert [request.target for request in device.requests] == [
        f"{prefix}/chat/completions?a=b",
        f"{prefix}/responses",
    ]
    transport.close()


@pytest.mark.anyio
async def test_the_key_goes_in_azures_own_header_and_the_body_as_it_is(
    device: FaultyUpstream, transport: HttpTransport
) -> None:
    upstream = AzureOpenAIUpstream(transport, base_url=device.base_url, api_key=KEY)
    headers: Headers = [
        (b"authorization", b"Bearer client"),
        (b"api-key", b"client"),
        (b"x-api-key", b"client"),
        (b"cookie", b"a=b"),
        (b"traceparent", b"00-1-2-01"),
    ]
    body = b'{ "model":"my-deployment","messages":[]}'
    await read_all(await upstream.call(call_of(path=CHAT, headers=headers, body=body)))
    (request,) = device.requests
    assert [value for name, value in request.headers if name == "api-key"] == [KEY]
    assert request.header("traceparent") == "00-1-2-01"
    for name in ("authorization", "x-api-key", "cookie", "anthropic-version"):
        assert request.header(name) is None
    assert request.body == body
    transport.close()


@pytest.mark.anyio
async def test_what_is_said_is_what_the_stock_client_says_on_azure(
    device: FaultyUpstream, transport: HttpTransport
) -> None:
    client = openai.AzureOpenAI(
        api_key=KEY, api_version="v1", base_url=f"{device.base_url}/openai/v1", max_retries=0
    )
    await asyncio.to_thread(
        lambda: client.chat.completions.create(model="d", messages=[{"role": "user", "content": "x"}])
    )
    upstream = AzureOpenAIUpstream(transport, base_url=device.base_url, api_key=KEY)
    theirs = device.requests[0]
    await read_all(await upstream.call(call_of(path=CHAT, body=theirs.body)))
    ours = device.requests[1]
    # Deployments are in the path of the older API only; the stock client still writes them there.
    assert ours.target == "/openai/v1/chat/completions"
    for name in ("api-key", "content-type"):
        assert ours.header(name) == theirs.header(name)
    client.close()
    transport.close()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"x-request-id: a\r\napim-request-id: b\r\n", b"a"),
        (b"apim-request-id: b\r\n", b"b"),
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
    upstream = AzureOpenAIUpstream(transport, base_url=device.base_url, api_key=KEY)
    got = await upstream.call(call_of(path=CHAT))
    assert header(got.headers, b"request-id") == expected
    assert await read_all(got) == b"{}"
    transport.close()


def test_one_wire_may_be_chosen(transport: HttpTransport) -> None:
    both = AzureOpenAIUpstream(transport, base_url="https://a.example", api_key=KEY)
    assert both.wires == {"openai-chat", "openai-responses"}
    one = AzureOpenAIUpstream(
        transport, base_url="https://a.example", api_key=KEY, wires=frozenset({"openai-chat"})
    )
    assert one.wires == {"openai-chat"}


def test_the_key_is_in_no_repr(transport: HttpTransport) -> None:
    upstream = AzureOpenAIUpstream(transport, base_url="https://a.openai.azure.com", api_key=KEY)
    assert repr(upstream) == "AzureOpenAIUpstream(base_url='https://a.openai.azure.com')"


@pytest.mark.parametrize("key", ["", "kéy-hunter2", "key\r\nx: hunter2", "hunter2\0"])
def test_a_key_that_cannot_stand_in_a_header_is_refused_and_not_repeated(
    transport: HttpTransport, key: str
) -> None:
    with pytest.raises(ValueError, match=r"api[-_]key") as caught:
        AzureOpenAIUpstream(transport, base_url="https://a.openai.azure.com", api_key=key)
    assert "hunter2" not in str(caught.value)
