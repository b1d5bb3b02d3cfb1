"""TLS: certificates are verified, names checked and indicated."""

import logging
from pathlib import Path

import pytest

from tests.devices import messages_wire as wire
from tests.devices.authority import LAX, Authority, make_authority
from tests.devices.faulty_upstream import FaultyUpstream
from tests.upstreams.conftest import OURS, Clients, call_of, failure_of, read_all, until
from triptych.core.failure import Failure, FailureKind

pytestmark = pytest.mark.anyio

only_ours = pytest.mark.parametrize("client_kind", OURS)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("tls"))


async def test_answers_come_over_verified_tls_and_the_connection_is_used_again(
    clients: Clients, authority: Authority
) -> None:
    with FaultyUpstream(tls=authority.serving) as device:
        authority.indicated.clear()
        upstream = clients.upstream(f"https://localhost:{device.port}", tls=authority.trusting())
        assert await read_all(await upstream.call(call_of())) == wire.message("m")
        streamed = await read_all(await upstream.call(call_of(stream=True)))
        assert streamed == wire.stream(4, "m")
        assert [request.connection for request in device.requests] == [0, 0]
    assert authority.indicated == ["localhost"]


async def test_a_certificate_of_another_name_is_unreachable(clients: Clients, authority: Authority) -> None:
    with FaultyUpstream(tls=authority.serving) as device:
        upstream = clients.upstream(device.base_url, tls=authority.trusting())
        assert await failure_of(upstream.call(call_of())) is FailureKind.UPSTREAM_UNREACHABLE
        assert not device.requests


async def test_a_certificate_the_system_does_not_trust_is_unreachable(
    clients: Clients, authority: Authority
) -> None:
    with FaultyUpstream(tls=authority.serving) as device:
        upstream = clients.upstream(f"https://localhost:{device.port}")
        assert await failure_of(upstream.call(call_of())) is FailureKind.UPSTREAM_UNREACHABLE
        assert not device.requests


async def test_a_server_that_speaks_no_tls_is_unreachable(clients: Clients, device: FaultyUpstream) -> None:
    upstream = clients.upstream(f"https://localhost:{device.port}", connect_timeout_s=0.3)
    assert await failure_of(upstream.call(call_of())) is FailureKind.UPSTREAM_UNREACHABLE
    assert not device.requests


async def test_a_cancelled_read_closes_a_tls_connection_at_once(
    clients: Clients, authority: Authority
) -> None:
    with FaultyUpstream(tls=authority.serving) as device:
        upstream = clients.upstream(f"https://localhost:{device.port}", tls=authority.trusting())
        answer = await upstream.call(call_of("fault-stream_stalls", stream=True))
        await answer.read()
        answer.close()
        assert await until(lambda: device.connections[0].closed_by == "peer")


async def test_an_unread_answer_stops_the_provider_over_tls(clients: Clients, authority: Authority) -> None:
    with FaultyUpstream(tls=authority.serving) as device:
        upstream = clients.upstream(f"https://localhost:{device.port}", tls=authority.trusting())
        answer = await upstream.call(call_of("fault-endless:40000000", stream=True))
        stopped_at = -1
        while device.connections[0].bytes_sent != stopped_at:
            stopped_at = device.connections[0].bytes_sent
            await until(lambda: False, 0.15)
        assert stopped_at < 16_000_000
        answer.close()


@only_ours
@pytest.mark.parametrize("missing", LAX)
async def test_why_a_lax_authority_is_not_trusted_is_logged_with_what_to_do_once_a_minute(
    clients: Clients, tmp_path: Path, caplog: pytest.LogCaptureFixture, missing: str
) -> None:
    lax = make_authority(tmp_path, without=[missing])
    with FaultyUpstream(tls=lax.serving) as device:
        base_url = f"https://localhost:{device.port}"
        upstream = clients.upstream(base_url, tls=lax.trusting(strictly=True))
        with caplog.at_level(logging.WARNING, "triptych.upstreams"):
            for _ in range(2):
                with pytest.raises(Failure) as raised:
                    await upstream.call(call_of())
                assert raised.value.kind is FailureKind.UPSTREAM_UNREACHABLE
                assert raised.value.message == (
                    "upstream could not be reached: its certificate is not trusted "
                    "(the gateway's log says why)"
                )
    (line,) = caplog.messages
    assert line.startswith(f"{base_url} cannot be reached: its certificate is not trusted: ")
    reasons = {
        "key usage": "CA cert does not include key usage extension",
        "basic constraints": "invalid CA certificate",
        "subject key identifier": "Missing Subject Key Identifier",
        "authority key identifier": "Missing Authority Key Identifier",
    }
    assert reasons[missing] in line
    assert "RFC 5280" in line
    assert "issued anew" in line


@only_ours
async def test_an_authority_that_is_not_known_here_is_told_with_where_to_add_it(
    clients: Clients, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with FaultyUpstream(tls=authority.serving) as device, caplog.at_level(logging.WARNING):
        await failure_of(clients.upstream(f"https://localhost:{device.port}").call(call_of()))
    (line,) = caplog.messages
    assert "SSL_CERT_FILE" in line


@only_ours
async def test_a_provider_that_refuses_connections_is_named_in_the_log(
    clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    with FaultyUpstream() as device:
        port = device.port
    with caplog.at_level(logging.WARNING, "triptych.upstreams"), pytest.raises(Failure) as raised:
        await clients.upstream(f"http://127.0.0.1:{port}").call(call_of())
    assert raised.value.message == "upstream could not be reached"
    (line,) = caplog.messages
    assert line.startswith(f"http://127.0.0.1:{port} cannot be reached: ")
