"""When a circuit opens, lets through and closes; the clock is ours."""

import pytest

from triptych.core.breaker import MOST_REST_S, BreakerRule, Circuit, CircuitState

RULE = BreakerRule(window_s=30.0, min_calls=20, failure_ratio=0.5, open_s=5.0)
AT_S = 1_000.0


def circuit(*, sole: bool = False, rule: BreakerRule = RULE) -> Circuit:
    return Circuit(rule, sole=sole)


def opened(now_s: float = AT_S) -> Circuit:
    made = circuit()
    assert [made.faulted(now_s, bodied=False) for _ in range(20)] == [False] * 19 + [True]
    return made


def test_it_opens_at_the_twentieth_call_and_not_before() -> None:
    made = opened()
    assert (made.closed, made.state, made.opened, made.until_s) == (False, CircuitState.OPEN, 1, AT_S + 5)


@pytest.mark.parametrize(("faults", "opens"), [(9, False), (10, True)])
def test_half_of_the_calls_is_what_it_takes(faults: int, opens: bool) -> None:
    made = circuit()
    for _ in range(20 - faults):
        made.answered(AT_S)
    for _ in range(faults):
        made.faulted(AT_S, bodied=False)
    assert made.closed is not opens


def test_faults_without_end_among_more_answers_open_nothing() -> None:
    made = circuit()
    for _ in range(500):
        made.answered(AT_S)
        made.answered(AT_S)
        made.faulted(AT_S, bodied=False)
    assert made.closed


def test_what_is_older_than_the_window_is_forgotten() -> None:
    made = circuit()
    for _ in range(19):
        made.faulted(AT_S, bodied=False)
    assert not made.faulted(AT_S + 31, bodied=False)
    for _ in range(18):
        made.faulted(AT_S + 31, bodied=False)
    assert made.closed
    assert made.faulted(AT_S + 31, bodied=False)


def test_faults_older_than_the_window_are_forgotten_beside_newer_answers() -> None:
    made = circuit()
    for _ in range(10):
        made.answered(AT_S)
    for _ in range(9):
        made.faulted(AT_S, bodied=False)
    for _ in range(19):
        made.answered(AT_S + 40)
    assert not made.faulted(AT_S + 40, bodied=False), "one of twenty, not ten of twenty"
    assert made.closed


def test_what_is_within_the_window_is_not() -> None:
    made = circuit()
    for second in range(19):
        made.faulted(AT_S + second, bodied=False)
    assert made.faulted(AT_S + 26, bodied=False)


def test_nothing_is_let_through_until_it_is_time() -> None:
    made = opened()
    assert not made.available(AT_S + 4.9) and not made.permits(AT_S + 4.9)
    assert made.state is CircuitState.OPEN


def test_one_call_at_a_time_is_let_through() -> None:
    made = opened()
    assert made.available(AT_S + 5) and made.permits(AT_S + 5)
    assert made.state is CircuitState.HALF_OPEN
    assert not made.permits(AT_S + 5) and not made.permits(AT_S + 9.9)
    assert made.permits(AT_S + 10), "a probe without an answer does not keep the next one back"


def test_an_answer_to_the_probe_closes_it_with_a_clean_slate() -> None:
    made = opened()
    made.permits(AT_S + 5)
    made.answered(AT_S + 5)
    assert (made.closed, made.state) == (True, CircuitState.CLOSED)
    assert not any(made.faulted(AT_S + 5, bodied=False) for _ in range(19))
    assert made.opened == 1


def test_a_failed_probe_opens_it_again_at_once() -> None:
    made = opened()
    made.permits(AT_S + 5)
    made.faulted(AT_S + 6, bodied=False)
    assert (made.state, made.until_s) == (CircuitState.OPEN, AT_S + 11)


def test_late_answers_of_calls_made_before_neither_close_nor_prolong_it() -> None:
    made = opened()
    made.answered(AT_S + 1)
    made.faulted(AT_S + 2, bodied=False)
    assert (made.state, made.until_s) == (CircuitState.OPEN, AT_S + 5)


def test_an_only_target_that_answers_with_a_body_never_opens() -> None:
    made = circuit(sole=True)
    assert not any(made.faulted(AT_S, bodied=True) for _ in range(100))
    assert made.closed
    for _ in range(200):
        made.faulted(AT_S, bodied=False)
    assert not made.closed
    made.permits(AT_S + 5)
    made.faulted(AT_S + 5, bodied=True)
    assert made.closed, "it talks again"


def test_one_of_several_opens_by_answers_with_a_body_too() -> None:
    made = circuit()
    assert any(made.faulted(AT_S, bodied=True) for _ in range(20))


def test_a_stream_that_breaks_later_is_one_call_and_one_fault() -> None:
    made = circuit()
    for _ in range(19):
        made.answered(AT_S)
        made.faulted(AT_S, bodied=True, begun=True)
    assert made.closed, "19 calls are not enough"
    made.answered(AT_S)
    assert made.faulted(AT_S, bodied=True, begun=True)


def test_a_long_silence_costs_no_time() -> None:
    made = circuit()
    made.answered(0.0)
    made.answered(1e9)
    assert made.closed


def test_the_time_a_provider_asks_for_is_bounded_and_the_longest_holds() -> None:
    made = circuit()
    made.asked_to_wait(30, AT_S)
    made.asked_to_wait(2, AT_S)
    assert made.rests_until_s == AT_S + 30
    made.asked_to_wait(float("inf"), AT_S)
    assert made.rests_until_s == AT_S + MOST_REST_S


def test_a_pace_is_known_after_ten_calls_and_forgotten_after_the_window() -> None:
    made = circuit()
    for _ in range(9):
        made.paced(2.0, AT_S, stream=True)
    assert made.pace_s(AT_S, stream=True) is None
    made.paced(2.0, AT_S, stream=True)
    assert made.pace_s(AT_S, stream=True) == 2.0
    assert made.pace_s(AT_S, stream=False) is None
    assert made.pace_s(AT_S + 31, stream=True) is None
    made.paced(1.0, AT_S + 31, stream=True)
    assert made.pace_s(AT_S + 31, stream=True) is None


def test_the_newest_calls_count_most() -> None:
    made = circuit()
    for _ in range(50):
        made.paced(1.0, AT_S, stream=True)
    for _ in range(10):
        made.paced(5.0, AT_S, stream=True)
    pace_s = made.pace_s(AT_S, stream=True)
    assert pace_s is not None and 4.0 < pace_s < 5.0
