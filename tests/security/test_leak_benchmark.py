"""``pii-leak-benchmark selfcheck`` (PyPI) against the running gateway with its own recogniser: nothing it
plants reaches the provider, and its client gets all of it back."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.devices.gateway import LIVE_KEY, ORG, Gateway, free_port, provider


@pytest.mark.slow
def test_the_leak_benchmark_finds_no_leak_and_full_restore(tmp_path: Path) -> None:
    port = free_port()
    toml = provider(f"http://127.0.0.1:{port}/v1", "m", kind="openai")
    toml = toml.replace('kind = "openai"', 'kind = "openai"\nwire = "chat"')
    toml += ORG.replace('plan = "enterprise"', 'plan = "enterprise"\nphi_mode = "redact"')
    report = tmp_path / "report.json"
    with Gateway(toml) as gateway:
        done = subprocess.run(
            [
                *(str(Path(sys.executable).with_name("pii-leak-benchmark")), "selfcheck"),
                *("--target-base-url", f"{gateway.url}/v1", "--target-api-key", LIVE_KEY),
                *("--target-model", "m", "--capture-port", str(port), "--json-out", str(report)),
            ],
            capture_output=True,
            text=True,
            timeout=180,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CLEAN" in done.stdout and "response_fidelity               pass" in done.stdout
    assert json.loads(report.read_text())
