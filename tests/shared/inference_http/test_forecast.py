"""Times are foretold by the tile, follow what is seen, and forget what nobody confirms."""

import pytest
from inference_http.forecast import Forecast

FULL, HALF, OTHER = ("m-n", 1.0), ("m-n", 0.5), ("m-s", 1.0)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_picture_of_twice_the_tiles_takes_twice_as_long() -> None:
    forecast = Forecast({FULL: 0.1})
    assert forecast.usual_s(FULL, 20) == pytest.approx(2 * forecast.usual_s(FULL, 10))
    assert forecast.usual_s(FULL, 10) == pytest.approx(1.0)
    assert forecast.most_s(FULL, 10) > forecast.usual_s(FULL, 10)


def test_a_steady_machine_is_foretold_after_some_answers_whatever_was_known_at_the_start() -> None:
    forecast = Forecast({FULL: 0.1, HALF: 0.1})
    for _ in range(30):
        forecast.learn(FULL, 10, 0.4)
        forecast.learn(HALF, 3, 0.15)
    assert forecast.usual_s(FULL, 20) == pytest.approx(0.8, rel=0.02)
    assert forecast.usual_s(HALF, 3) == pytest.approx(0.15, rel=0.02)


def test_answers_that_differ_more_need_a_wider_margin() -> None:
    steady, unsteady = Forecast({FULL: 0.1}), Forecast({FULL: 0.1})
    for number in range(60):
        steady.learn(FULL, 10, 1.0)
        unsteady.learn(FULL, 10, 2.0 if number % 5 == 0 else 0.9)
    assert unsteady.most_s(FULL, 10) / unsteady.usual_s(FULL, 10) > steady.most_s(FULL, 10) / steady.usual_s(FULL, 10)
    assert unsteady.most_s(FULL, 10) > 1.5


def test_the_less_often_a_kind_has_answered_the_wider_its_margin() -> None:
    forecast = Forecast({FULL: 0.1, OTHER: 0.1})
    for _ in range(30):
        forecast.learn(FULL, 10, 1.0)
    assert forecast.most_s(OTHER, 10) > forecast.most_s(FULL, 10)


def test_a_first_guess_that_was_wrong_says_nothing_of_the_other_models() -> None:
    forecast = Forecast({FULL: 0.1, OTHER: 0.4})
    forecast.learn(FULL, 10, 4.0)
    assert forecast.usual_s(FULL, 10) == pytest.approx(4.0)
    assert forecast.usual_s(OTHER, 10) == pytest.approx(4.0)


def test_a_slow_machine_is_slow_for_every_model_and_is_forgiven_with_time() -> None:
    clock = Clock()
    forecast = Forecast({FULL: 0.1, OTHER: 0.4}, clock)
    before_s = forecast.usual_s(OTHER, 10)
    for _ in range(30):
        forecast.learn(FULL, 10, 1.0)
    assert forecast.usual_s(OTHER, 10) == pytest.approx(before_s)
    for _ in range(5):
        forecast.learn(FULL, 10, 2.0)
    slow_s = forecast.usual_s(OTHER, 10)
    assert slow_s > 1.3 * before_s
    assert forecast.calm_s(OTHER, 10) < forecast.most_s(OTHER, 10)
    unsure_s = forecast.most_s(FULL, 10) / forecast.usual_s(FULL, 10)
    clock.now += 600
    assert forecast.usual_s(OTHER, 10) == pytest.approx(before_s)
    assert forecast.most_s(FULL, 10) / forecast.usual_s(FULL, 10) < unsure_s


def test_one_answer_of_a_process_that_stood_still_does_not_spoil_the_forecast() -> None:
    forecast = Forecast({FULL: 0.1})
    for _ in range(30):
        forecast.learn(FULL, 10, 1.0)
    forecast.learn(FULL, 10, 3600.0)
    assert forecast.usual_s(FULL, 10) < 1.5


def test_where_nothing_is_known_the_first_answer_tells_for_every_scale_of_its_model() -> None:
    forecast = Forecast({FULL: 0.0, HALF: 0.0, OTHER: 0.0})
    assert forecast.most_s(FULL, 10) == 0
    forecast.learn(HALF, 4, 0.4)
    assert forecast.usual_s(FULL, 10) == pytest.approx(1.0)
    assert forecast.usual_s(OTHER, 10) == 0


def test_a_scale_that_nobody_measured_is_foretold_by_the_nearest_and_never_remembered() -> None:
    forecast = Forecast({FULL: 0.1, HALF: 0.2})
    assert forecast.usual_s(("m-n", 0.6), 10) == pytest.approx(2.0)
    forecast.learn(("m-n", 0.6), 10, 50.0)
    assert not forecast.knows(("m-n", 0.6))
    assert forecast.usual_s(("m-n", 0.6), 10) == pytest.approx(2.0)
