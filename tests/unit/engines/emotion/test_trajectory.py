import pytest

from triptych.engines.emotion.trajectory import Moment, trajectory


def moments(*valences: float, intensity: float = 0.5) -> list[Moment]:
    return [Moment(v, intensity, "joy", f"m{i}") for i, v in enumerate(valences)]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_below_three_messages_only_their_number_is_told(n: int) -> None:
    assert trajectory(moments(*[0.1] * n)) == {"n": n}


@pytest.mark.parametrize(
    ("valences", "direction"),
    [
        ((-0.2, -0.1, 0.0, 0.1), "improving"),
        ((0.2, 0.1, 0.0, -0.1), "declining"),
        ((0.1, 0.11, 0.1, 0.11, 0.1), "stable"),
        ((0.5, -0.5, 0.5, -0.5, 0.5), "volatile"),
    ],
)
def test_the_direction_follows_slope_then_restlessness(valences: tuple[float, ...], direction: str) -> None:
    assert trajectory(moments(*valences))["trend"]["direction"] == direction


def test_the_bounds_of_the_slope_belong_to_improving_and_declining() -> None:
    assert trajectory(moments(0.0, 0.03, 0.06))["trend"] == {"direction": "improving", "valenceTrend": 0.03}
    assert trajectory(moments(0.06, 0.03, 0.0))["trend"] == {"direction": "declining", "valenceTrend": -0.03}


def test_one_odd_message_does_not_turn_the_trend() -> None:
    assert trajectory(moments(0.1, 0.1, 0.1, -0.9, 0.1, 0.1, 0.1))["trend"]["valenceTrend"] == 0.0


def test_only_the_last_ten_messages_make_the_trend() -> None:
    rising = [i / 10 for i in range(10)]
    assert trajectory(moments(*[0.9] * 20, *rising))["trend"]["valenceTrend"] == pytest.approx(0.1)


def test_the_baseline_is_over_all_messages() -> None:
    found = trajectory([Moment(v, i) for v, i in ((0.0, 0.2), (0.4, 0.4), (0.8, 0.9))])
    assert found["baseline"] == {"averageIntensity": 0.5, "baselineValence": 0.4}
    assert found["n"] == 3


def test_velocity_is_the_median_change_and_inertia_the_autocorrelation() -> None:
    found = trajectory(moments(0.0, 0.1, 0.3, 0.4))
    assert found["velocity"] == 0.1
    assert found["inertia"] == 0.3
    assert trajectory(moments(0.3, 0.3, 0.3))["inertia"] == 0.0
    assert trajectory(moments(*[0.5, -0.5] * 5))["inertia"] < -0.8


def test_a_breakthrough_is_a_leap_over_the_messages_before() -> None:
    found = trajectory(moments(-0.4, -0.3, -0.4, 0.3, 0.3))["breakthroughs"]
    assert [b["index"] for b in found] == [3, 4]
    assert found[0] == {"index": 3, "message_id": "m3", "category": "joy", "valenceChange": 0.7}
