"""Every mounted route, asked at random by what ``/openapi.json`` says of it: no 5xx, no answer that the
document does not describe, nothing accepted that it forbids."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.contract.clinical.world import clinic, secret

# Left out is only what the document cannot say: which models, keys and pages there are.
LEFT_OUT = "positive_data_acceptance"
# They would take the money, or the key, from all that is asked after them; they are asked last.
CHANGING = (("PUT", "/clinical/v1/usage/budget"), ("DELETE", "/clinical/v1/api_keys/{key_id}"))
SAME_EACH_TIME = "--generation-deterministic"
MODELS = ["mapped-model", "small-model", "leaving-model"]

# A wrong body may also be too large.
REFUSALS = """
[checks.negative_data_rejection]
expected-statuses = [
    "400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429", "5xx"
]
"""


def narrowed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the models that are served here: nothing else would ever reach a provider."""
    for schema in document["components"]["schemas"].values():
        properties = schema.get("properties", {})
        if "model" in properties and {"messages", "input"} & set(properties):
            properties["model"] = {"enum": MODELS}
    return document


def run(folder: Path, seconds: int, org: str, *arguments: str) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "run", str(folder / "openapi.json")]
    with clinic() as running:
        with urllib.request.urlopen(running.gateway.url + "/openapi.json") as answer:
            document = narrowed(json.load(answer))
        (folder / "openapi.json").write_text(json.dumps(document))
        (folder / "schemathesis.toml").write_text(REFUSALS)
        ended = subprocess.run(
            [
                *command,
                *("--url", running.gateway.url, "--header", f"x-api-key: {secret(org)}"),
                *("--checks", "all", "--exclude-checks", LEFT_OUT),
                *("--phases", "coverage,fuzzing", "--max-time", str(seconds)),
                *("--request-timeout", "30", "--continue-on-failure", "--warnings", "off"),
                *arguments,
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=seconds + 300,
        )
        assert ended.returncode == 0, ended.stdout[-20000:] + ended.stderr[-2000:]
        assert "unexpected" not in running.gateway.log


def paths(option: str) -> list[str]:
    return [argument for _, path in CHANGING for argument in (option, path)]


def test_nothing_breaks_and_nothing_is_undescribed(tmp_path: Path) -> None:
    run(tmp_path, 20, "acme", SAME_EACH_TIME, *paths("--exclude-path"))


def test_nothing_breaks_where_things_are_changed(tmp_path: Path) -> None:
    run(tmp_path, 5, "other", SAME_EACH_TIME, *paths("--include-path"))


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_nothing_breaks_in_half_an_hour(tmp_path: Path) -> None:
    run(tmp_path, 1800, "acme", "--generation-database=none", *paths("--exclude-path"))
