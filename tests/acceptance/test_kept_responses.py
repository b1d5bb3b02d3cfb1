"""Stored responses beyond one request: two nodes, a drain, a killed node."""

import json
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.inference.state_world import (
    ANA,
    RESPONSES,
    StateSides,
    events_of,
    leave,
    read_events,
    state_world,
)
from tests.contract.raw_client import RawClient, request


@pytest.fixture
def limits() -> str:
    """What two nodes count in together."""
    url = os.environ.get("TRIPTYCH_TEST_REDIS_URL")
    if not url:
        pytest.skip("two nodes are NOT tested: TRIPTYCH_TEST_REDIS_URL is not set")
    return f'[limits]\nurl = "{url}"\n'


@pytest.fixture
def shared_url() -> Iterator[str]:
    """A PostgreSQL schema of its own."""
    base = os.environ.get("TRIPTYCH_TEST_POSTGRES_URL")
    if not base:
        pytest.skip("two nodes on PostgreSQL are NOT tested: TRIPTYCH_TEST_POSTGRES_URL is not set")
    psycopg = pytest.importorskip("psycopg")
    schema = f"triptych_{uuid.uuid4().hex}"
    with psycopg.connect(base, autocommit=True) as admin:
        admin.execute(f"CREATE SCHEMA {schema}")
        separator = "&" if "?" in base else "?"
        try:
            yield f"{base}{separator}options=-csearch_path%3D{schema}"
        finally:
            admin.execute(f"DROP SCHEMA {schema} CASCADE")


def running_stream(sides: StateSides, words: int) -> tuple[RawClient, str]:
    client = sides.begin(f"{words} words", model="sandbox-lorem")
    seen = read_events(client, b"output_text.delta")
    return client, json.loads(seen.split(b"data: ")[1].split(b"\n")[0])["response"]["id"]


def failed_frames(body: bytes) -> bool:
    names = [name for name, _ in events_of(body)]
    return names[-2:] == ["error", "response.failed"]


@pytest.mark.postgres
def test_another_node_reads_a_running_stream_and_can_stop_it(shared_url: str, limits: str) -> None:
    key = {"TRIPTYCH_MASTER_KEY": "a" * 64}
    with (
        state_world(limits, storage_url=shared_url, environment=key) as one,
        state_world(limits, storage_url=shared_url, environment=key) as other,
    ):
        client, response_id = running_stream(one, 60)
        leave(client)
        assert other.stored(response_id)["status"] == "in_progress"
        resumed = other.get(f"{RESPONSES}/{response_id}?stream=true&starting_after=3")
        names = [name for name, _ in events_of(resumed.body)]
        assert names.count("response.output_text.delta") == 60 and names[-1] == "response.completed"
        assert other.stored(response_id) == one.stored(response_id)
        continued = other.created("next", previous_response_id=response_id)
        assert len(one.items(continued["conversation"]["id"])["data"]) == 4

        client, response_id = running_stream(one, 5000)
        assert other.ask("DELETE", f"{RESPONSES}/{response_id}").status == 200
        assert one.get(f"{RESPONSES}/{response_id}").status == 404
        client.socket.settimeout(3.0)
        rest = read_events(client, b"\r\n0\r\n\r\n")
        assert b"event: response.failed" in rest
        leave(client)


@pytest.mark.postgres
@pytest.mark.slow
def test_a_stream_whose_node_was_killed_ends_with_a_failure_for_who_reads_it_elsewhere(
    shared_url: str, limits: str
) -> None:
    key = {"TRIPTYCH_MASTER_KEY": "a" * 64}
    with (
        state_world(limits, storage_url=shared_url, environment=key) as one,
        state_world(limits, storage_url=shared_url, environment=key) as other,
    ):
        client, response_id = running_stream(one, 5000)
        time.sleep(0.5)
        one.gateway.kill()
        with RawClient(other.gateway.port, timeout_s=40.0) as reader:
            target = f"{RESPONSES}/{response_id}?stream=true"
            reader.send(request("GET", target, f"authorization: Bearer {ANA}"))
            assert failed_frames(reader.answer("GET").body)
        assert other.stored(response_id)["status"] == "failed"
        leave(client)


def test_a_killed_gateways_responses_failed_and_say_so(tmp_path: Path) -> None:
    with state_world(folder=tmp_path) as sides:
        client, response_id = running_stream(sides, 5000)
        time.sleep(0.5)
        sides.gateway.kill()
        leave(client)
        sides.gateway.start()
        found = sides.stored(response_id)
        assert (found["status"], found["error"]["code"]) == ("failed", "server_error")
        again = sides.get(f"{RESPONSES}/{response_id}?stream=true")
        assert b"output_text.delta" in again.body and failed_frames(again.body)


def test_a_response_whose_caller_left_is_finished_before_the_gateway_stops() -> None:
    with state_world() as sides:
        client, response_id = running_stream(sides, 80)
        leave(client)
        assert sides.gateway.stop() == 0
        [row] = sides.gateway.rows("endpoint = 'responses'")
        assert (row["ending"], row["status"]) == ("completed", 200)
        sides.gateway.start()
        assert len(sides.stored(response_id)["output_text"].split()) == 80


def test_what_the_drain_cuts_off_is_stored_as_failed() -> None:
    with state_world(server="drain_timeout_s = 0.5") as sides:
        client, response_id = running_stream(sides, 5000)
        leave(client)
        started_s = time.monotonic()
        assert sides.gateway.stop() == 0
        assert time.monotonic() - started_s < 20
        [row] = sides.gateway.rows("endpoint = 'responses'")
        assert row["ending"] == "interrupted"
        sides.gateway.start()
        assert sides.stored(response_id)["status"] == "failed"


def test_an_open_reading_does_not_hold_up_the_drain_for_ever() -> None:
    with state_world(server="drain_timeout_s = 0.5") as sides:
        client, response_id = running_stream(sides, 5000)
        reading = threading.Thread(
            target=lambda: sides.get(f"{RESPONSES}/{response_id}?stream=true"), daemon=True
        )
        reading.start()
        time.sleep(0.3)
        assert sides.gateway.stop(signal.SIGTERM) == 0
        reading.join(5.0)
        assert not reading.is_alive()
        leave(client)


def test_many_readers_and_writers_of_one_conversation_see_every_turn_once() -> None:
    with state_world() as sides:
        conversation = sides.created("root")["conversation"]["id"]
        failures: list[BaseException] = []

        def talk(name: int) -> None:
            try:
                for turn in range(5):
                    sides.created(f"{name}-{turn}", conversation=conversation, stream=False)
                    sides.items(conversation)
            except BaseException as error:  # noqa: BLE001 - shown by the main thread
                failures.append(error)

        threads = [threading.Thread(target=talk, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30.0)
        assert not failures
        listed = sides.items(conversation, "?order=asc&limit=100")["data"]
        asked = [item["content"][0]["text"] for item in listed if item["role"] == "user"]
        assert sorted(asked) == sorted(["root", *(f"{n}-{t}" for n in range(4) for t in range(5))])
