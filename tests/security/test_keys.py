"""Keys and limits on the real program: who is let in, who is not, how soon, and how much of it."""

import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path

import pytest

from tests.devices.faulty_upstream import FaultyUpstream
from tests.devices.gateway import LIVE_KEY, ORG, Gateway, message, provider
from tests.devices.speaker import Answer, ask
from triptych.storage.database import open_database
from triptych.storage.keys import create_key, revoke_key
from triptych.storage.secrets import KeyHasher, derive_key

# Every statement of every connection goes to the file that TRACE names, as it is executed.
TRACED = """
import os, sys
from sqlalchemy import Engine, event

trace = open(os.environ["TRACE"], "a", buffering=1)

@event.listens_for(Engine, "connect")
def follow(raw, record):
    raw.set_trace_callback(lambda statement: trace.write(" ".join(statement.split()) + "\\n"))

from triptych.cli import main
sys.exit(main())
"""
UNSEEN_MODEL = "not-granted"
GRANTED = ("m", "fault-rate_limited:9", "fault-error:400", "fault-empty:500")
CLEAN_401 = {"type": "error", "error": {"type": "authentication_error", "message": "Unauthorized"}}


def key_toml(name: str, user: str, **fields: object) -> str:
    more = "".join(f"  {field} = {json.dumps(value)}\n" for field, value in fields.items())
    return (
        f'  [[orgs.keys]]\n  name = "{name}"\n  user = "{user}"\n  secret = "secret-of-{name}-0000"\n{more}'
    )


def org_toml(slug: str, *keys: str, limits: str = "", users: tuple[str, ...] = ('name = "u"',)) -> str:
    granted = json.dumps(GRANTED)
    group = f'  [[orgs.groups]]\n  name = "g"\n  models = {granted}\n  api_key_access = true\n'
    people = "".join(f'  [[orgs.users]]\n  {user}\n  groups = ["g"]\n' for user in users)
    return f'[[orgs]]\nslug = "{slug}"\nplan = "enterprise"\n{limits}\n{group}{people}{"".join(keys)}'


LIMITED = "".join(
    (
        org_toml("of-key", key_toml("key3", "u", rpm=3), key_toml("keyfree", "u")),
        org_toml(
            "of-user", key_toml("user3a", "u"), key_toml("user3b", "u"), users=('name = "u"\n  rpm = 3',)
        ),
        org_toml(
            "of-org",
            key_toml("org3a", "u"),
            key_toml("org3b", "v"),
            limits="rpm = 3",
            users=('name = "u"', 'name = "v"'),
        ),
        org_toml("daily", key_toml("day2", "u", rpd=2)),
        org_toml("many", key_toml("many20", "u", rpm=20)),
        org_toml("shown", key_toml("shown", "u", rpm=1000)),
        org_toml("scoped", key_toml("unscoped", "u", rpm=1000, scopes=["control:read"])),
        org_toml("waiting", key_toml("wait1", "u", rpm=1)),
    )
)


@dataclass
class Scene:
    gateway: Gateway
    upstream: FaultyUpstream
    trace: Path
    revoked: str
    expired: str

    @property
    def port(self) -> int:
        return self.gateway.port


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("keys")
    trace = folder / "trace"
    with FaultyUpstream() as upstream:
        models = provider(upstream.base_url, UNSEEN_MODEL, *GRANTED)
        toml = ORG + LIMITED + models + "[retries]\nattempts = 0\n"
        with Gateway(toml, folder=folder, preload=TRACED, environment={"TRACE": str(trace)}) as gateway:
            database = open_database(f"sqlite:///{gateway.database}", durability="process")
            master = bytes.fromhex((folder / "triptych.key").read_text())
            hasher = KeyHasher(derive_key(master, "api-keys"))
            revoked = create_key(database, hasher, "acme", "ana", "revoked")
            revoke_key(database, revoked.id)
            past_us = time.time_ns() // 1000 - 1
            expired = create_key(database, hasher, "acme", "ana", "expired", expires_us=past_us)
            database.close()
            yield Scene(gateway, upstream, trace, revoked.plaintext, expired.plaintext)


def triptych(scene: Scene, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "triptych", *arguments, "--config", str(scene.gateway.config)],
        cwd=scene.gateway.folder,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def until_status(scene: Scene, key: str, status: int) -> float:
    """Seconds until a call with this key is answered so."""
    started_s = time.monotonic()
    while ask(scene.port, message("m"), key=key).status != status:
        assert time.monotonic() - started_s < 20
        time.sleep(0.02)
    return time.monotonic() - started_s


# -- refused -------------------------------------------------------------------------------------


def bad_credentials(scene: Scene) -> dict[str, tuple[bytes, ...]]:
    """Header lines by what is wrong with them."""
    good = LIVE_KEY.encode()
    near = good[:-1] + b"1"
    keys = {
        "empty": b"",
        "one character": b"x",
        "unknown": b"trp_live_" + b"0" * 32,
        "one character off": near,
        "cut": good[:-1],
        "longer": good + b"0",
        "upper case": good.upper(),
        "revoked": scene.revoked.encode(),
        "expired": scene.expired.encode(),
        "quotes": b"'\"`; DROP TABLE api_keys; --",
        "percent": b"%s%n%x" + good,
        "non-ascii": "ключ-мой-тайный".encode(),
        "latin-1": "clé".encode("latin-1"),
        "not utf-8": b"\xff\xfe\xfd",
        "513 bytes": b"k" * 513,
        "60 kB": b"k" * 60_000,
    }
    lines: dict[str, tuple[bytes, ...]] = {"none": ()}
    for name, key in keys.items():
        lines[f"x-api-key {name}"] = (b"x-api-key: " + key,)
        lines[f"bearer {name}"] = (b"authorization: Bearer " + key,)
    beside = b"x-api-key: " + good
    return {
        **lines,
        "basic": (b"authorization: Basic " + good,),
        "basic beside a good key": (b"authorization: Basic eA==", beside),
        "empty bearer beside a good key": (b"authorization: Bearer ", beside),
        "bare bearer beside a good key": (b"authorization: Bearer", beside),
        "empty authorization beside a good key": (b"authorization: ", beside),
        "unknown bearer beside a good key": (b"authorization: Bearer nobody", beside),
        "scheme glued to the key": (b"authorization: Bearer" + good,),
        "key without scheme": (b"authorization: " + good,),
    }


def without_id(answer: Answer) -> bytes:
    body = dict(answer.json)
    assert body.pop("request_id") == answer.headers["request-id"] == answer.headers["x-request-id"]
    assert re.fullmatch(r"req_[0-9A-HJKMNP-TV-Z]{26}", answer.headers["request-id"])
    return json.dumps(body).encode()


def test_every_bad_credential_gets_the_same_answer_and_leaves_no_row(scene: Scene) -> None:
    rows = len(scene.gateway.rows())
    sent = len(scene.upstream.requests)
    answers = {
        name: ask(scene.port, message("m"), key=None, fields=lines)
        for name, lines in bad_credentials(scene).items()
    }
    assert {name: answer.status for name, answer in answers.items() if answer.status != 401} == {}
    assert {without_id(answer) for answer in answers.values()} == {json.dumps(CLEAN_401).encode()}
    assert len({frozenset(answer.headers) for answer in answers.values()}) == 1
    assert len({answer.headers["content-length"] for answer in answers.values()}) == 1
    assert len(scene.upstream.requests) == sent
    time.sleep(0.2)
    assert len(scene.gateway.rows()) == rows


def test_bad_credentials_never_reach_the_database(scene: Scene) -> None:
    """What is executed meanwhile is the look at the snapshot's version, a few times a second."""
    bad = list(bad_credentials(scene).values())
    for _ in range(2):
        started_s = time.monotonic()
        at = scene.trace.stat().st_size
        for _ in range(3):
            for lines in bad:
                assert ask(scene.port, message("m"), key=None, fields=lines).status == 401
        took_s = time.monotonic() - started_s
        statements = scene.trace.read_text()[at:].splitlines()
        # Once a minute what was stored is pruned, and what the tests before have changed is read with all
        # keys at once (no WHERE): the next moments are free of both.
        if not any("stored_" in line or line.endswith("FROM api_keys") for line in statements):
            break
    assert [line for line in statements if "api_keys" in line or "exchanges" in line] == []
    # A look is a transaction of three statements, a heartbeat of five, the first of a second apart.
    assert len(statements) <= 3 * (took_s / 0.4 + 2) + 5 * (took_s / 3 + 2)
    # The trace does see what a good key's call executes.
    assert ask(scene.port, message("m")).status == 200
    assert "INSERT INTO exchanges" in scene.trace.read_text()[at:]


def test_a_key_with_nul_is_no_http(scene: Scene) -> None:
    """RFC 9110, 5.5: NUL, CR and LF in a value are dangerous; the message is refused as a whole."""
    for bad in (b"abc\x00def", LIVE_KEY.encode() + b"\x00"):
        answer = ask(scene.port, message("m"), key=bad)
        assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")
        assert b"abc" not in answer.body and LIVE_KEY.encode() not in answer.body


def test_a_megabyte_of_key_is_refused_by_size_and_where_that_is_allowed_as_unknown(scene: Scene) -> None:
    huge = b"k" * 1_000_000
    assert ask(scene.port, message("m"), key=huge).status == 431
    with Gateway(ORG, server="max_header_bytes = 1048576") as roomy:
        for lines in ((b"x-api-key: " + huge,), (b"authorization: Bearer " + huge,)):
            answer = ask(roomy.port, message(), key=None, fields=lines)
            assert answer.status == 401
            assert without_id(answer) == json.dumps(CLEAN_401).encode()
        assert b"kkkk" not in roomy.log.encode()


def test_the_same_credential_header_twice_is_refused(scene: Scene) -> None:
    good = b"x-api-key: " + LIVE_KEY.encode()
    bearer = b"authorization: Bearer " + LIVE_KEY.encode()
    for twice in ((good, good), (bearer, bearer), (good, b"X-Api-Key: other")):
        answer = ask(scene.port, message("m"), key=None, fields=twice)
        assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")
        assert LIVE_KEY.encode() not in answer.body


def test_bad_credentials_of_all_kinds_take_the_same_time(scene: Scene) -> None:
    """Loosely: 400 calls of each, interleaved, on one connection; the medians are compared. That
    the comparison itself is in constant time is not visible from here."""
    kinds = {
        "unknown": b"trp_live_" + b"0" * 32,
        "one character off": LIVE_KEY.encode()[:-1] + b"1",
        "revoked": scene.revoked.encode(),
        "expired": scene.expired.encode(),
        "empty": b"",
    }
    took_s: dict[str, list[float]] = {name: [] for name in kinds}
    connection = HTTPConnection("127.0.0.1", scene.port, timeout=10)
    for _ in range(400):
        for name, key in kinds.items():
            started_s = time.perf_counter()
            connection.request("POST", "/v1/messages", b"{}", {"x-api-key": key})
            answer = connection.getresponse()
            answer.read()
            took_s[name].append(time.perf_counter() - started_s)
            assert answer.status == 401
    connection.close()
    medians_s = {name: statistics.median(times) for name, times in took_s.items()}
    assert max(medians_s.values()) < 1.5 * min(medians_s.values()), medians_s


# -- revoked and expired while serving -----------------------------------------------------------


def test_a_key_issued_beside_the_running_gateway_works_and_stops_within_a_second_of_its_revocation(
    scene: Scene,
) -> None:
    key = triptych(scene, "keys", "create", "--org", "acme", "--user", "ana", "--name", "short-lived")
    assert until_status(scene, key, 200) < 1.5
    assert "short-lived" in triptych(scene, "keys", "list", "--org", "acme")
    assert key not in triptych(scene, "keys", "list", "--org", "acme")
    assert "short-lived" in triptych(scene, "keys", "revoke", "short-lived", "--org", "acme")
    assert until_status(scene, key, 401) < 1.0
    answer = ask(scene.port, message("m"), key=key)
    assert without_id(answer) == json.dumps(CLEAN_401).encode()
    # Nobody else was touched.
    assert ask(scene.port, message("m")).status == 200


def test_a_key_stops_when_it_expires(scene: Scene) -> None:
    database = open_database(f"sqlite:///{scene.gateway.database}", durability="process")
    master = bytes.fromhex((scene.gateway.folder / "triptych.key").read_text())
    expires_us = time.time_ns() // 1000 + 2_500_000
    hasher = KeyHasher(derive_key(master, "api-keys"))
    key = create_key(database, hasher, "acme", "ana", "expiring", expires_us=expires_us).plaintext
    database.close()
    until_status(scene, key, 200)
    until_status(scene, key, 401)
    assert 0 <= time.time_ns() // 1000 - expires_us < 500_000


# -- limits --------------------------------------------------------------------------------------


def assert_limited(answer: Answer, limit: int, scope: str) -> int:
    """The 429 as the contract has it; returns Retry-After."""
    error = answer.json["error"]
    assert (answer.status, error["type"]) == (429, "rate_limit_error")
    assert f"{limit} requests per minute for this {scope}" in error["message"]
    headers = answer.headers
    assert headers["anthropic-ratelimit-requests-limit"] == str(limit)
    assert headers["anthropic-ratelimit-requests-remaining"] == "0"
    retry_after_s = int(headers["retry-after"])
    assert f"Retry after {retry_after_s} s" in error["message"]
    return retry_after_s


@pytest.mark.parametrize(
    ("scope", "names"), [("key", ("key3",)), ("user", ("user3a", "user3b")), ("org", ("org3a", "org3b"))]
)
def test_the_third_request_of_three_a_minute_passes_and_the_fourth_does_not(
    scene: Scene, scope: str, names: tuple[str, ...]
) -> None:
    keys = [f"secret-of-{name}-0000" for name in names]
    sent = len(scene.upstream.requests)
    started_s = time.monotonic()
    for left in (2, 1, 0):
        answer = ask(scene.port, message("m"), key=keys[left % len(keys)])
        assert answer.status == 200
        assert answer.headers["anthropic-ratelimit-requests-limit"] == "3"
        assert answer.headers["anthropic-ratelimit-requests-remaining"] == str(left)
    for key in keys * 2:
        retry_after_s = assert_limited(ask(scene.port, message("m"), key=key), 3, scope)
        # Until the first of the three is a minute old: rounded up, never down.
        exact_s = 60 - (time.monotonic() - started_s)
        assert exact_s <= retry_after_s <= exact_s + 4
    assert len(scene.upstream.requests) == sent + 3
    if scope == "key":
        assert ask(scene.port, message("m"), key="secret-of-keyfree-0000").status == 200


def test_of_sixty_requests_at_once_exactly_as_many_pass_as_the_limit_says(scene: Scene) -> None:
    with ThreadPoolExecutor(16) as pool:
        calls = [pool.submit(ask, scene.port, message("m"), key="secret-of-many20-0000") for _ in range(60)]
        answers = [call.result() for call in calls]
    statuses = [answer.status for answer in answers]
    assert (statuses.count(200), statuses.count(429)) == (20, 40)
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status == 429)
    key_id = next(
        row["key_id"]
        for row in scene.gateway.rows()
        if row["id"] == next(a for a in answers if a.status == 200).headers["request-id"][4:]
    )
    deadline_s = time.monotonic() + 30
    while True:  # they are gathered for a second
        refused = scene.gateway.rows(f"key_id = '{key_id}' AND failure_kind = 'rate_limited'")
        if sum(row["repeats"] for row in refused) == 40 or time.monotonic() > deadline_s:
            break
        time.sleep(0.05)
    assert sum(row["repeats"] for row in refused) == 40
    assert len(refused) <= 3  # one a second, not one each
    assert {(row["status"], row["ending"]) for row in refused} == {(429, "refused")}


def test_the_daily_limit_ends_at_midnight_utc(scene: Scene) -> None:
    def to_midnight_s() -> float:
        now = datetime.now(UTC)
        midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return (midnight - now).total_seconds()

    if to_midnight_s() < 10:
        time.sleep(11)
    key = "secret-of-day2-0000"
    for left in ("1", "0"):
        answer = ask(scene.port, message("m"), key=key)
        assert (answer.status, answer.headers["anthropic-ratelimit-requests-remaining"]) == (200, left)
    answer = ask(scene.port, message("m"), key=key)
    assert (answer.status, answer.json["error"]["type"]) == (429, "rate_limit_error")
    assert "2 requests per day (UTC)" in answer.json["error"]["message"]
    assert to_midnight_s() - 1 <= int(answer.headers["retry-after"]) <= to_midnight_s() + 3
    reset = datetime.fromisoformat(answer.headers["anthropic-ratelimit-requests-reset"])
    assert (reset.hour, reset.minute) in ((0, 0), (23, 59))


def test_every_answer_to_a_valid_key_tells_the_limit(scene: Scene) -> None:
    """Also those that refuse, and those of a provider that fails; each request counts as one."""
    gzip = (b"content-encoding: br",)
    calls = {
        "plain": (200, message("m"), "/v1/messages", ()),
        "stream": (200, message("m", stream=True), "/v1/messages", ()),
        "count": (200, message("m"), "/v1/messages/count_tokens", ()),
        "not json": (400, b"{", "/v1/messages", ()),
        "no body": (400, b"", "/v1/messages", ()),
        "missing field": (400, b'{"model":"m"}', "/v1/messages", ()),
        "unknown model": (400, message("nonesuch"), "/v1/messages", ()),
        "model not granted": (403, message(UNSEEN_MODEL), "/v1/messages", ()),
        "unknown encoding": (415, message("m"), "/v1/messages", gzip),
        "provider's 429": (429, message("fault-rate_limited:9"), "/v1/messages", ()),
        "provider's 400": (400, message("fault-error:400"), "/v1/messages", ()),
        "provider's silence": (502, message("fault-empty:500"), "/v1/messages", ()),
    }
    left = []
    for name, (status, body, path, fields) in calls.items():
        answer = ask(scene.port, body, path=path, key="secret-of-shown-0000", fields=fields)
        assert answer.status == status, (name, answer.body)
        assert answer.headers["anthropic-ratelimit-requests-limit"] == "1000", name
        left.append(int(answer.headers["anthropic-ratelimit-requests-remaining"]))
        reset = answer.headers["anthropic-ratelimit-requests-reset"]
        ahead = datetime.fromisoformat(reset) - datetime.now(UTC)
        assert timedelta(seconds=50) < ahead <= timedelta(seconds=61)
    assert all(before - after == 1 for before, after in pairwise(left))

    answer = ask(scene.port, message("m"), key="secret-of-unscoped-0000")
    assert (answer.status, answer.json["error"]["type"]) == (403, "permission_error")
    assert answer.headers["anthropic-ratelimit-requests-limit"] == "1000"


def test_a_stranger_learns_nothing_of_limits(scene: Scene) -> None:
    for _ in range(5):
        answer = ask(scene.port, message("m"), key="secret-of-key3-0001")
        assert answer.status == 401
        assert not any(name.startswith("anthropic-ratelimit") for name in answer.headers)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_retry_after_is_true_to_the_second(scene: Scene) -> None:
    key = "secret-of-wait1-0000"
    assert ask(scene.port, message("m"), key=key).status == 200
    retry_after_s = assert_limited(ask(scene.port, message("m"), key=key), 1, "key")
    time.sleep(retry_after_s - 2)
    refused = ask(scene.port, message("m"), key=key)
    assert assert_limited(refused, 1, "key") <= 2
    time.sleep(int(refused.headers["retry-after"]))
    assert ask(scene.port, message("m"), key=key).status == 200


def test_secrets_of_keys_are_nowhere_in_the_database(scene: Scene) -> None:
    files = b"".join(
        path.read_bytes() for path in scene.gateway.folder.iterdir() if path.name.startswith("triptych.db")
    )
    for secret in (LIVE_KEY, scene.revoked, scene.expired, "secret-of-key3-0000"):
        assert secret.encode() not in files
    assert oct(os.stat(scene.gateway.database).st_mode)[-3:] == "600"
    assert oct(os.stat(scene.gateway.folder / "triptych.key").st_mode)[-3:] == "600"
