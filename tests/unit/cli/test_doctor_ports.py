"""What ``triptych doctor`` says of the ports that a start would listen on."""

import socket
from pathlib import Path

from tests.unit.cli.conftest import Run

CONFIG = """
[server]
port = 0
metrics_port = {port}
[[providers]]
name = "sandbox"
kind = "sandbox"
"""


def told(run: Run, port: int) -> tuple[int, str]:
    Path("t.toml").write_text(CONFIG.format(port=port), encoding="utf-8")
    code, out, _ = run("doctor", "--config", "t.toml")
    (line,) = [line for line in out.splitlines() if "metrics port" in line]
    return code, line


def test_a_port_for_metrics_that_another_program_has_is_wrong(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken.settimeout(0)
        port = taken.getsockname()[1]
        code, line = told(run, port)
    assert code == 1
    assert line.startswith("WRONG")
    assert f"127.0.0.1:{port} cannot be used" in line
    code, line = told(run, port)
    assert (code, line.split()[0]) == (0, "ok")
