"""The Gemini upstream: where it calls, and how it says who calls."""

import asyncio

import openai
import pytest

from tests.devices.faulty_upstream import FaultyUpstream
from tests.upstreams.conftest import KEY, call_of, read_all
from triptych.core.call import Headers
from triptych.upstreams.gemini import GeminiUpstream
from triptych.upstreams.transport import HttpTransport

CHAT = "/v1/chat/completions"


@pytest.fixture
def client_kind() -> str:
    return "triptych-uvloop"


@pytest.fixture
def transport() -> HttpTransport:
    return HttpTransport(connect_timeout_s=2, first_byte_timeout_s=5, idle_timeout_s=5)


@pytest.mark.parametrize(
    ("base_path", "target"),
    [
        ("", "/v1beta/openai/chat/completions"),
        ("/", "/v1beta/openai/chat/completions"),
        ("/v1beta/openai", "/v1beta/openai/chat/completions"),
        ("/v1beta/openai/", "/v1beta/openai/chat/completions"),
        ("/proxy/v1", "/proxy/v1/chat/completions"),
    ],
)
@pytest.mark.anyio
async def test_a_base_url_without_a_path_stands_for_the_compatible_endpoint(
    device: FaultyUpstream, transport: HttpTransport, base_path: str, target: str
) -> None:
    upstream = GeminiUpstream(transport, base_url=device.base_url + base_path, api_key=KEY)
    await read_all(await upstream.call(call_of(path=CHAT)))
    assert device.requests[0].target == target
    transport.close()


@pytest.mark.anyio
async def test_what_is_said_is_what_the_stock_client_says(
    device: FaultyUpstream, transport: HttpTransport
) -> None:
    client = openai.OpenAI(api_key=KEY, base_url=f"{device.base_url}/v1beta/openai/", max_retries=0)
    await asyncio.to_thread(
        lambda: client.chat.completions.create(
            model="gemini-2.5-flash", messages=[{"role": "user", "content": "x"}]
        )
    )
    theirs = device.requests[0]
    headers: Headers = [(b"authorization", b"Bearer client"), (b"x-goog-api-key", b"client")]
    upstream = GeminiUpstream(transport, base_url=device.base_url, api_key=KEY)
    await read_all(await upstream.call(call_of(path=CHAT, headers=headers, body=theirs.body)))
    ours = device.requests[1]
    assert (ours.target, ours.body) == (theirs.target, theirs.body)
    for name in ("authorization", "content-type", "accept"):
        assert ours.header(name) == theirs.header(name)
    assert ours.header("x-goog-api-key") is None
    client.close()
    transport.close()


def test_only_chat_completions_are_spoken(transport: HttpTransport) -> None:
    assert GeminiUpstream(transport, base_url="https://a.example", api_key=KEY).wires == {"openai-chat"}


def test_the_key_is_in_no_repr(transport: HttpTransport) -> None:
    upstream = GeminiUpstream(transport, base_url="https://a.example/v1beta/openai", api_key=KEY)
    assert repr(upstream) == "GeminiUpstream(base_url='https://a.example/v1beta/openai')"


@pytest.mark.parametrize("key", ["", "kéy-hunter2", "key\r\nx: hunter2", "hunter2\0"])
def test_a_key_that_cannot_stand_in_a_header_is_refused_and_not_repeated(
    transport: HttpTransport, key: str
) -> None:
    with pytest.raises(ValueError, match=r"api_key|authorization") as caught:
        GeminiUpstream(transport, base_url="https://a.example", api_key=key)
    assert "hunter2" not in str(caught.value)
