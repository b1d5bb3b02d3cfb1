"""Which targets are asked, and in which order: chance is handed in, so is the time."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import repeat
from random import Random
from typing import Any

import pytest

from tests.devices.script import principal
from triptych.core.breaker import BreakerRule
from triptych.core.failure import Failure, FailureKind
from triptych.core.policy import Policy
from triptych.core.principal import Group
from triptych.core.target import Model, Target
from triptych.core.usage import Price
from triptych.stages.resolve import SANDBOX
from triptych.stages.route import Detours, Leg, RouteCall

K = FailureKind
NOW_S = 500.0
RULE = BreakerRule(min_calls=1)


def model(id: str, *targets: Target, **more: Any) -> Model:
    return Model(id=id, targets=targets, **more)


ONE = Target("p", "one")
MODELS = {
    made.id: made
    for made in (
        model("sole", ONE),
        model("pair", Target("p", "a"), Target("q", "b", priority=1)),
        model("weighted", Target("p", "a", weight=1), Target("q", "b", weight=3)),
        model("falls", ONE, fallback=("pair", "gone", "premium", "other", "sole")),
        model("gone", ONE, retires_at_us=10),
        model("premium", ONE, tier="premium"),
        model("other", ONE, groups=frozenset({"elsewhere"})),
        model("mixed", Target("p", "a"), Target("q", "b", covered=True), fallback=("sole", "boxed")),
        model("boxed", Target(SANDBOX, "sandbox-echo")),
        model("boxes", Target(SANDBOX, "x"), Target(SANDBOX, "y")),
    )
}


class Clock:
    def __init__(self, now_s: float = NOW_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def route(chance: Iterator[float] | None = None) -> RouteCall:
    chances = repeat(0.5) if chance is None else chance
    return RouteCall(MODELS, RULE, lambda: next(chances), Clock())


def legs(made: RouteCall, id: str, now_s: float = NOW_S, *, stream: bool = False, **who: Any) -> list[Leg]:
    found = MODELS[id]
    made._clock = Clock(now_s)
    return list(made.legs(principal(**who), found, found.targets[0], stream, 20))


def names(asked: list[Leg]) -> list[str]:
    return [f"{leg.model.id}:{leg.target.upstream_model}" for leg in asked]


def circuits(made: RouteCall) -> Mapping[str, Any]:
    return {f"{leg.model.id}:{leg.target.upstream_model}": leg.circuit for leg in made.circuits()}


def test_one_target_is_one_leg_and_always_the_same_object() -> None:
    made, sole = route(), MODELS["sole"]
    first, second = (made.legs(principal(), sole, sole.targets[0], False, 0) for _ in range(2))
    assert first is second and names(list(first)) == ["sole:one"]


def test_priority_comes_first_then_the_fallbacks_the_caller_may_use() -> None:
    assert names(legs(route(), "pair")) == ["pair:a", "pair:b"]
    assert names(legs(route(), "falls")) == ["falls:one", "pair:a", "pair:b", "sole:one"]


def test_a_fallback_needs_what_the_caller_would_need_to_name_it() -> None:
    group = (Group("everyone", frozenset({"falls", "sole"}), api_key_access=True),)
    assert names(legs(route(), "falls", groups=group)) == ["falls:one", "sole:one"]
    both = (Group("elsewhere", frozenset({"*"}), api_key_access=True),)
    enabled = Policy(premium_enabled=True)
    assert names(legs(route(), "falls", groups=both, policy=enabled)) == [
        "falls:one",
        "pair:a",
        "pair:b",
        "premium:one",
        "other:one",
        "sole:one",
    ]


def test_weights_are_shares() -> None:
    random = Random(7)
    made = RouteCall(MODELS, RULE, random.random)
    first = Counter(names(legs(made, "weighted"))[0] for _ in range(4000))
    assert 2850 < first["weighted:b"] < 3150


def test_the_same_chance_is_the_same_order() -> None:
    orders = [
        [names(legs(RouteCall(MODELS, RULE, Random(seed).random), "weighted")) for seed in range(50)]
        for _ in range(2)
    ]
    assert orders[0] == orders[1] and len({tuple(order) for order in orders[0]}) == 2


def test_an_open_circuit_is_left_out_until_its_time() -> None:
    made = route()
    circuits(made)["pair:a"].faulted(NOW_S, bodied=True)
    assert names(legs(made, "pair", NOW_S + 1)) == ["pair:b"]
    assert names(legs(made, "pair", NOW_S + 5)) == ["pair:a", "pair:b"]


def test_every_circuit_open_is_unavailable_and_says_for_how_long() -> None:
    made = route()
    for circuit in circuits(made).values():
        circuit.faulted(NOW_S, bodied=False)
    for id in ("sole", "pair", "falls"):
        with pytest.raises(Failure) as caught:
            legs(made, id, NOW_S + 1.5)
        assert (caught.value.kind, caught.value.retry_after_s) == (K.SERVICE_UNAVAILABLE, 4)
    assert names(legs(made, "sole", NOW_S + 5)) == ["sole:one"]
    with pytest.raises(Failure):
        legs(made, "sole", NOW_S + 5.1)


def test_who_asked_for_time_comes_last_by_when_it_is_over() -> None:
    made = route()
    circuits(made)["falls:one"].asked_to_wait(60, NOW_S)
    circuits(made)["pair:a"].asked_to_wait(30, NOW_S)
    assert names(legs(made, "falls")) == ["pair:b", "sole:one", "pair:a", "falls:one"]
    assert names(legs(made, "falls", NOW_S + 61)) == ["falls:one", "pair:a", "pair:b", "sole:one"]


def test_a_target_far_slower_than_its_peers_comes_after_them() -> None:
    made = route(chance=iter([0.1, 0.9] * 100))
    slow, quick = circuits(made)["weighted:a"], circuits(made)["weighted:b"]
    for _ in range(10):
        slow.paced(4.0, NOW_S, stream=True)
        quick.paced(1.0, NOW_S, stream=True)
    assert names(legs(made, "weighted")) == ["weighted:a", "weighted:b"], "plain answers are another matter"
    assert names(legs(made, "weighted", stream=True)) == ["weighted:b", "weighted:a"]
    assert names(legs(made, "weighted", NOW_S + 31, stream=True))[0] == "weighted:a"


@pytest.mark.parametrize(("slow_s", "quick_s"), [(2.9, 1.0), (0.9, 0.05)])
def test_a_little_slower_is_not_slow(slow_s: float, quick_s: float) -> None:
    made = route(chance=iter([0.1, 0.9] * 10))
    for _ in range(10):
        circuits(made)["weighted:a"].paced(slow_s, NOW_S, stream=False)
        circuits(made)["weighted:b"].paced(quick_s, NOW_S, stream=False)
    assert names(legs(made, "weighted"))[0] == "weighted:a"


def test_priority_goes_before_pace() -> None:
    made = route()
    for _ in range(10):
        circuits(made)["pair:a"].paced(9.0, NOW_S, stream=False)
        circuits(made)["pair:b"].paced(0.1, NOW_S, stream=False)
    assert names(legs(made, "pair"))[0] == "pair:a"


def test_a_hipaa_org_is_answered_by_covered_providers_only() -> None:
    hipaa = Policy(compliance="hipaa", baa="active")
    assert names(legs(route(), "mixed", policy=hipaa)) == ["mixed:b", "boxed:sandbox-echo"]
    assert names(legs(route(), "boxed", policy=hipaa)) == ["boxed:sandbox-echo"]
    for id in ("sole", "pair", "falls"):
        with pytest.raises(Failure) as caught:
            legs(route(), id, policy=hipaa)
        assert (caught.value.kind, caught.value.param) == (K.BAA_REQUIRED, "model")


def test_an_open_circuit_does_not_let_a_hipaa_org_out_to_others() -> None:
    made = route()
    circuits(made)["mixed:b"].faulted(NOW_S, bodied=True)
    hipaa = Policy(compliance="hipaa", baa="active")
    assert names(legs(made, "mixed", policy=hipaa)) == ["boxed:sandbox-echo"]


def test_test_keys_and_the_sandboxes_own_models_have_one_leg_and_no_circuit() -> None:
    made = route()
    found = made.legs(principal(environment="test"), MODELS["falls"], Target(SANDBOX, "falls"), False, 0)
    assert [(leg.target, leg.circuit) for leg in found] == [(Target(SANDBOX, "falls"), None)]
    own = model("sandbox-tool", Target(SANDBOX, "sandbox-tool"))
    found = made.legs(principal(), own, own.targets[0], False, 0)
    assert [(leg.model, leg.circuit) for leg in found] == [(own, None)]
    assert "boxed:sandbox-echo" not in circuits(made) and "boxes:x" in circuits(made)


PRICED = Price(1, 1, 1, 1)
PRICES = {
    made.id: made
    for made in (
        model("known", ONE, price=PRICED, fallback=("unknown", "cheap")),
        model("unknown", ONE),
        model("cheap", ONE, price=PRICED),
    )
}


def test_a_model_without_a_price_is_no_fallback_where_those_are_refused() -> None:
    known, unknown = PRICES["known"], PRICES["unknown"]
    for refuse, asked in ((True, ["known", "cheap"]), (False, ["known", "unknown", "cheap"])):
        made = RouteCall(PRICES, RULE, lambda: 0.5, Clock(), refuse_unpriced=refuse)
        found = made.legs(principal(), known, ONE, False, 0)
        assert [leg.model.id for leg in found] == asked
        test_key = made.legs(principal(environment="test"), unknown, Target(SANDBOX, "unknown"), False, 0)
        assert len(test_key) == 1
    strict = RouteCall(PRICES, RULE, lambda: 0.5, Clock(), refuse_unpriced=True)
    with pytest.raises(Failure) as caught:
        strict.legs(principal(), unknown, ONE, False, 0)
    assert caught.value.kind is K.MODEL_ACCESS_DENIED


# -- a new configuration --------------------------------------------------------------------------


def test_what_is_known_of_a_target_stays_known_unless_its_provider_changed() -> None:
    made = route()
    before = circuits(made)
    made.replace(dict(MODELS), RULE, frozenset({"q"}))
    after = circuits(made)
    assert after["pair:a"] is before["pair:a"] and after["sole:one"] is before["sole:one"]
    assert after["pair:b"] is not before["pair:b"] and after["mixed:b"] is not before["mixed:b"]


def test_with_another_rule_all_circuits_begin_anew() -> None:
    made = route()
    before = circuits(made)
    made.replace(MODELS, BreakerRule(min_calls=2), frozenset())
    assert not any(circuit is before[name] for name, circuit in circuits(made).items())


def test_a_target_that_got_or_lost_its_stand_in_is_judged_as_one() -> None:
    made = route()
    changed = {"sole": model("sole", ONE, Target("q", "b")), "pair": model("pair", Target("p", "a"))}
    made.replace(changed, RULE, frozenset())
    now = circuits(made)
    assert now["sole:one"].faulted(NOW_S, bodied=True), "another target can answer: it opens"
    assert not now["pair:a"].faulted(NOW_S, bodied=True), "nobody else can answer: what it says is told"


# -- detours --------------------------------------------------------------------------------------


def detours(made: RouteCall, id: str, *, cannot: Mapping[str, FailureKind] | None = None) -> Detours[str]:
    def depart(leg: Leg) -> str:
        name = names([leg])[0]
        if name in (cannot or {}):
            raise Failure((cannot or {})[name], name)
        return name

    return Detours(legs(made, id), depart, NOW_S + 10)


def walk(found: Detours[str], now_s: float = NOW_S) -> list[str]:
    walked = [found.begin(now_s)]
    while found.prepare(now_s):
        walked.append(found.take())
    return walked


def test_each_target_is_taken_once_in_order() -> None:
    found = detours(route(), "falls")
    assert walk(found) == ["falls:one", "pair:a", "pair:b", "sole:one"]
    assert found.over


def test_it_is_known_when_the_model_has_no_other_target() -> None:
    found = detours(route(), "falls")
    seen = []
    found.begin(NOW_S)
    while True:
        seen.append((found.at.target.upstream_model, found.last_of_model, found.over))
        if not found.prepare(NOW_S):
            break
        found.take()
    assert seen == [("one", True, False), ("a", False, False), ("b", True, False), ("one", True, True)]


def test_being_ready_twice_is_one_target() -> None:
    found = detours(route(), "pair")
    found.begin(NOW_S)
    assert found.prepare(NOW_S) and found.prepare(NOW_S)
    assert found.take() == "pair:b" and not found.prepare(NOW_S)


def test_a_circuit_that_opened_meanwhile_is_passed_over() -> None:
    made = route()
    found = detours(made, "falls")
    found.begin(NOW_S)
    circuits(made)["pair:a"].faulted(NOW_S, bodied=True)
    assert found.prepare(NOW_S + 1) and found.take() == "pair:b"


def test_a_probe_is_used_up_only_by_the_call_that_is_made() -> None:
    made = route()
    circuit = circuits(made)["pair:b"]
    circuit.faulted(NOW_S - 6, bodied=True)
    found = detours(made, "pair", cannot={"pair:b": K.UNSUPPORTED_PARAMETER})
    assert walk(found) == ["pair:a"] and circuit.available(NOW_S)
    again = detours(made, "pair")
    assert walk(again) == ["pair:a", "pair:b"] and not circuit.available(NOW_S)


def test_a_target_that_cannot_be_called_is_passed_over() -> None:
    found = detours(route(), "pair", cannot={"pair:a": K.UNSUPPORTED_PARAMETER})
    assert walk(found) == ["pair:b"]
    found = detours(route(), "falls", cannot={"falls:one": K.SERVICE_UNAVAILABLE})
    assert walk(found)[0] == "pair:a"


def test_when_none_can_be_called_the_first_says_why() -> None:
    cannot = {"pair:a": K.UNSUPPORTED_PARAMETER, "pair:b": K.SERVICE_UNAVAILABLE}
    with pytest.raises(Failure) as caught:
        detours(route(), "pair", cannot=cannot).begin(NOW_S)
    assert (caught.value.kind, caught.value.message) == (K.UNSUPPORTED_PARAMETER, "pair:a")


def test_what_a_model_cannot_express_is_the_callers_to_know_not_another_models_to_answer() -> None:
    with pytest.raises(Failure) as caught:
        detours(route(), "falls", cannot={"falls:one": K.UNSUPPORTED_PARAMETER}).begin(NOW_S)
    assert caught.value.kind is K.UNSUPPORTED_PARAMETER


def test_when_the_time_is_up_there_is_nowhere_to_go() -> None:
    found = detours(route(), "pair")
    found.begin(NOW_S)
    assert not found.prepare(NOW_S + 10)
