"""What ``triptych doctor`` says of a provider whose certificate is not trusted."""

import ssl
from pathlib import Path

import pytest

from tests.devices.authority import LAX, make_authority
from tests.devices.faulty_upstream import FaultyUpstream
from tests.unit.cli.conftest import Run

CONFIG = """
[server]
port = 0
[[providers]]
name = "inner"
kind = "openai"
base_url = "https://localhost:{port}/v1"
api_key = "key"
"""


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """As from Python 3.13 on."""
    make = ssl.create_default_context

    def make_strictly(*arguments: object) -> ssl.SSLContext:
        context = make(*arguments)  # type: ignore[arg-type]
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", make_strictly)


def told(run: Run, port: int) -> str:
    Path("t.toml").write_text(CONFIG.format(port=port), encoding="utf-8")
    _, out, _ = run("doctor", "--config", "t.toml")
    (line,) = [line for line in out.splitlines() if "provider inner" in line]
    return line


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("missing", LAX)
def test_a_lax_authority_is_told_with_what_it_lacks_and_what_to_do(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    lax = make_authority(tmp_path, without=[missing])
    monkeypatch.setenv("SSL_CERT_FILE", str(lax.root))
    with FaultyUpstream(tls=lax.serving) as device:
        line = told(run, device.port)
    assert line.startswith("WRONG")
    assert "its certificate is not trusted: " in line
    assert "does not keep to RFC 5280" in line
    assert "issued anew" in line


@pytest.mark.usefixtures("strict")
def test_an_authority_in_the_file_of_roots_is_trusted_and_another_is_told_where_to_add(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = make_authority(tmp_path)
    with FaultyUpstream(tls=authority.serving) as device:
        assert "SSL_CERT_FILE" in told(run, device.port)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))
        assert told(run, device.port).startswith("ok")
