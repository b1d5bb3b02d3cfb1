"""The stages that decide: authenticate, throttle, authorize, resolve."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.devices.script import exchange, principal
from triptych.core.admission import Admission, RequestLimits, RequestScope
from triptych.core.clock import rfc3339
from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.core.policy import Policy
from triptych.core.principal import Group, Principal
from triptych.core.target import Model, Target
from triptych.stages.authenticate import MAX_KEY_BYTES, Authenticate, presented_key
from triptych.stages.authorize import authorize_call, authorize_model, grants
from triptych.stages.resolve import SANDBOX, Resolve
from triptych.stages.throttle import Throttle

K = FailureKind
NOW_US = 1_000_000


@dataclass
class Entry:
    hash: bytes
    principal: Principal
    revoked_us: int | None = None
    expires_us: int | None = None
    until_us: int | None = None
    afterwards: Principal | None = None


@dataclass
class Ring:
    entries: dict[bytes, Entry] = field(default_factory=dict)
    fresh: bool = True
    asked: list[bytes] = field(default_factory=list)

    def find(self, key_hash: bytes) -> Entry | None:
        self.asked.append(key_hash)
        return self.entries.get(key_hash)


class Hasher:
    def __init__(self) -> None:
        self.hashed: list[bytes] = []

    def hash(self, secret: bytes) -> bytes:
        self.hashed.append(secret)
        return b"#" + secret


def ring(**entry: Any) -> Ring:
    return Ring({b"#good": Entry(b"#good", principal(), **entry)})


def refusal(keys: Ring, *headers: tuple[bytes, bytes]) -> FailureKind:
    with pytest.raises(Failure) as caught:
        Authenticate(keys, Hasher())(headers, NOW_US)
    return caught.value.kind


def test_what_a_key_may_do_changes_at_its_moment() -> None:
    keys = ring(until_us=NOW_US, afterwards=principal(key_id="afterwards"))
    check, headers = Authenticate(keys, Hasher()), [(b"x-api-key", b"good")]
    assert (check(headers, NOW_US - 1).key_id, check(headers, NOW_US).key_id) == ("key", "afterwards")


def test_a_good_key_is_its_principal() -> None:
    keys = ring(expires_us=NOW_US + 1)
    assert Authenticate(keys, Hasher())([(b"x-api-key", b"good")], NOW_US).key_id == "key"
    assert Authenticate(keys, Hasher())([(b"authorization", b"Bearer good")], NOW_US).key_id == "key"


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((b"x-api-key", b""),),
        ((b"x-api-key", b"bad"),),
        ((b"authorization", b"Basic good"),),
        ((b"x-api-key", b"good" * 500),),
    ],
)
def test_a_stranger_costs_the_same_steps_as_anybody(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    keys, hasher = ring(), Hasher()
    authenticate = Authenticate(keys, hasher)
    hasher.hashed.clear()
    with pytest.raises(Failure) as caught:
        authenticate(headers, NOW_US)
    assert caught.value.kind is K.INVALID_API_KEY
    assert len(hasher.hashed) == 1 and len(keys.asked) == 1
    assert len(hasher.hashed[0]) <= MAX_KEY_BYTES


def test_a_key_that_hashes_to_the_empty_one_lets_nobody_in() -> None:
    keys = Ring({b"#": Entry(b"#", principal())})
    assert refusal(keys) is K.INVALID_API_KEY
    assert refusal(keys, (b"x-api-key", b"")) is K.INVALID_API_KEY


def test_a_ring_that_finds_another_key_is_not_believed() -> None:
    keys = Ring({b"#bad": Entry(b"#good", principal())})
    assert refusal(keys, (b"x-api-key", b"bad")) is K.INVALID_API_KEY


def test_revoked_and_expired_keys_are_refused_to_the_microsecond() -> None:
    good = (b"x-api-key", b"good")
    assert refusal(ring(revoked_us=NOW_US), good) is K.KEY_REVOKED
    assert refusal(ring(revoked_us=NOW_US + 10), good) is K.KEY_REVOKED
    assert refusal(ring(expires_us=NOW_US), good) is K.INVALID_API_KEY


def test_keys_that_could_not_be_confirmed_let_nobody_in() -> None:
    keys = ring()
    keys.fresh = False
    assert refusal(keys, (b"x-api-key", b"good")) is K.SERVICE_UNAVAILABLE
    assert refusal(keys, (b"x-api-key", b"bad")) is K.SERVICE_UNAVAILABLE


@pytest.mark.parametrize("name", [b"x-api-key", b"authorization"])
def test_a_credential_header_may_stand_there_once(name: bytes) -> None:
    with pytest.raises(Failure) as caught:
        presented_key([(name, b"Bearer a"), (name, b"Bearer a")])
    assert caught.value.kind is K.DUPLICATE_CREDENTIALS


# -- authorize ---------------------------------------------------------------------------------


@pytest.mark.parametrize("baa", ["none", "expired", "superseded"])
def test_a_hipaa_org_needs_an_active_agreement_before_all_else(baa: str) -> None:
    policy = Policy(compliance="hipaa", baa=baa, baa_url="/where")
    caller = principal(policy=policy, scopes=frozenset(), groups=())
    with pytest.raises(Failure) as caught:
        authorize_call(caller, "ai:chat")
    assert (caught.value.kind, caught.value.details) == (
        K.BAA_REQUIRED,
        {"baa_url": "/where", "baa_status": baa},
    )
    # Where agreements are signed and keys are made, none is needed.
    authorize_call(
        principal(policy=Policy(compliance="hipaa", baa=baa), scopes=frozenset({"control:read"})),
        "control:read",
    )
    authorize_call(principal(policy=Policy(compliance="hipaa", baa=baa, evaluation=True)), "ai:chat")


def test_the_scope_comes_before_the_groups() -> None:
    with pytest.raises(Failure) as caught:
        authorize_call(principal(scopes=frozenset({"control:read"}), groups=()), "ai:chat")
    assert caught.value.kind is K.INSUFFICIENT_SCOPE
    with pytest.raises(Failure) as caught:
        authorize_call(principal(groups=(Group("g", frozenset({"*"}), api_key_access=False),)), "ai:chat")
    assert caught.value.kind is K.API_KEY_ACCESS_DENIED


def test_one_group_with_api_access_is_enough() -> None:
    groups = (Group("a", frozenset(), api_key_access=False), Group("b", frozenset(), api_key_access=True))
    authorize_call(principal(groups=groups, policy=Policy(compliance="hipaa", baa="active")), "ai:chat")


@pytest.mark.parametrize(
    ("granted", "named_by_model", "allowed"),
    [
        ({"*"}, None, True),
        ({"m"}, None, True),
        ({"other"}, None, False),
        (set(), None, False),
        ({"*"}, {"g"}, True),
        ({"m"}, {"g", "h"}, True),
        ({"*"}, {"h"}, False),
        ({"m"}, set(), False),
        ({"M"}, None, False),
    ],
)
def test_the_group_must_name_the_model_and_the_model_the_group(
    granted: set[str], named_by_model: set[str] | None, allowed: bool
) -> None:
    caller = principal(groups=(Group("g", frozenset(granted), api_key_access=True),))
    groups = None if named_by_model is None else frozenset(named_by_model)
    model = Model(id="m", targets=(), groups=groups)
    assert grants(caller, model) is allowed
    if not allowed:
        with pytest.raises(Failure) as caught:
            authorize_model(caller, model)
        assert (caught.value.kind, caught.value.param) == (K.MODEL_ACCESS_DENIED, "model")


def test_two_groups_do_not_grant_half_each() -> None:
    groups = (Group("a", frozenset({"m"}), api_key_access=True), Group("b", frozenset(), api_key_access=True))
    assert not grants(principal(groups=groups), Model(id="m", targets=(), groups=frozenset({"b"})))


def test_a_premium_model_needs_the_org() -> None:
    model = Model(id="m", targets=(), tier="premium")
    with pytest.raises(Failure) as caught:
        authorize_model(principal(), model)
    assert caught.value.kind is K.PREMIUM_NOT_ENABLED
    authorize_model(principal(policy=Policy(premium_enabled=True)), model)


# -- resolve -----------------------------------------------------------------------------------


MODELS = {
    "m": Model(id="m", targets=(Target("p", "first"), Target("q", "second"))),
    "old": Model(id="old", targets=(Target("p", "old"),), retires_at_us=NOW_US, replacement="m"),
}
RESOLVE = Resolve(MODELS, frozenset({"sandbox-echo"}), "/models")


def test_a_live_key_gets_the_first_target_and_a_test_key_the_sandbox() -> None:
    assert RESOLVE(principal(), "m", NOW_US)[1] == Target("p", "first")
    assert RESOLVE(principal(environment="test"), "m", NOW_US)[1] == Target(SANDBOX, "m")


def test_sandbox_models_are_for_those_who_may_use_them() -> None:
    with pytest.raises(Failure) as caught:
        RESOLVE(principal(), "sandbox-echo", NOW_US)
    assert caught.value.kind is K.MODEL_NOT_FOUND
    model, target = RESOLVE(principal(sandbox_models=True), "sandbox-echo", NOW_US)
    assert (target, model.price is not None) == (Target(SANDBOX, "sandbox-echo"), True)


@pytest.mark.parametrize("model", ["", "M", "m ", "none", "sandbox-", "../m"])
def test_an_unknown_model_is_not_found_under_the_name_it_was_given(model: str) -> None:
    with pytest.raises(Failure) as caught:
        RESOLVE(principal(sandbox_models=True), model, NOW_US)
    failure = caught.value
    assert (failure.kind, failure.message, failure.param) == (
        K.MODEL_NOT_FOUND,
        f"Model '{model}' not found.",
        "model",
    )


def test_a_model_retires_at_its_moment_and_names_its_replacement_to_machines() -> None:
    assert RESOLVE(principal(), "old", NOW_US - 1)[0].id == "old"
    with pytest.raises(Failure) as caught:
        RESOLVE(principal(environment="test"), "old", NOW_US)
    failure = caught.value
    assert (failure.kind, failure.message) == (K.MODEL_RETIRED, "Model 'old' not found.")
    assert failure.details == {
        "retired_at": rfc3339(NOW_US // 1_000_000),
        "recommended_replacement": "m",
        "docs_url": "/models",
    }


# -- throttle ----------------------------------------------------------------------------------


def decision(**facts: object) -> Admission:
    said = {"admitted": True, "limit": 5, "remaining": 0, "reset_ms": 9_000, "retry_after_s": None}
    return Admission(**{**said, "scope": "org", "window": "minute", **facts})


class Windows:
    def __init__(self, decision: Admission) -> None:
        self.decision = decision
        self.scopes: tuple[RequestScope, ...] = ()
        self.exchange_id: str | None = "?"

    def admit_request(self, exchange_id: str | None, scopes: tuple[RequestScope, ...]) -> Admission:
        self.exchange_id, self.scopes = exchange_id, scopes
        return self.decision


class FarWindows(Windows):
    async def admit_request(self, exchange_id: str | None, scopes: tuple[RequestScope, ...]) -> Admission:
        return super().admit_request(exchange_id, scopes)


def asked(windows: Windows, **limits: RequestLimits) -> Exchange:
    """An exchange that has passed the stage, whether it had to wait or not."""
    made = exchange(b"{}", **limits)
    throttle(windows, made)
    return made


def throttle(windows: Windows, made: Exchange, **options: bool) -> None:
    waiting = Throttle(windows, **options)(made)
    if waiting is not None:

        async def wait() -> None:
            await waiting

        asyncio.run(wait())


@pytest.mark.parametrize("kind", [Windows, FarWindows])
def test_key_user_and_org_are_asked_together(kind: type[Windows]) -> None:
    windows = kind(decision())
    made = asked(
        windows, key_limits=RequestLimits(1), user_limits=RequestLimits(2), org_limits=RequestLimits(3, 4)
    )
    assert windows.scopes == (
        RequestScope("key", RequestLimits(1)),
        RequestScope("user", RequestLimits(2)),
        RequestScope("org", RequestLimits(3, 4)),
    )
    assert made.admission is windows.decision


def test_an_index_in_memory_is_not_waited_for() -> None:
    assert Throttle(Windows(decision()))(exchange(b"{}")) is None


def test_slots_are_taken_only_where_they_are_given_back() -> None:
    windows, limited = Windows(decision()), exchange(b"{}", key_limits=RequestLimits(concurrency=2))
    throttle(windows, limited)
    assert (windows.exchange_id, limited.occupies) == (None, False)
    throttle(windows, limited, slots=True)
    assert (windows.exchange_id, limited.occupies) == (limited.id, True)
    free = exchange(b"{}")
    throttle(windows, free, slots=True)
    assert (windows.exchange_id, free.occupies) == (None, False)


@pytest.mark.parametrize("kind", [Windows, FarWindows])
@pytest.mark.parametrize(("window", "unit"), [("minute", "minute"), ("day", "day (UTC)")])
def test_a_refusal_says_whose_limit_it_is_and_how_long_it_lasts(
    window: str, unit: str, kind: type[Windows]
) -> None:
    windows = kind(decision(admitted=False, retry_after_s=9, window=window))
    made = exchange(b"{}")
    with pytest.raises(Failure) as caught:
        throttle(windows, made)
    failure = caught.value
    assert (failure.kind, failure.retry_after_s) == (K.RATE_LIMITED, 9)
    assert failure.message == f"Rate limit exceeded: 5 requests per {unit} for this org. Retry after 9 s."
    assert failure.details == {"retry_after_seconds": 9, "limit": 5, "scope": "org"}
    # The limit headers of the answer come from here, on refusals too.
    assert made.admission is windows.decision


def test_too_many_at_the_same_time_is_a_failure_of_its_own() -> None:
    refusal = decision(admitted=False, retry_after_s=1, window="slots", scope="key", limit=2)
    with pytest.raises(Failure) as caught:
        throttle(Windows(refusal), exchange(b"{}"), slots=True)
    failure = caught.value
    assert (failure.kind, failure.retry_after_s) == (K.CONCURRENCY_EXCEEDED, 1)
    assert failure.message.startswith("Too many concurrent requests: 2 at the same time for this key.")
    assert failure.details == {"retry_after_seconds": 1, "limit": 2, "scope": "key"}
