"""Waiting: the simulation against what queueing theory knows, and its order under every change."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tier_planner.queueing import answer_ms, fewest, service_shape

EXPONENTIAL = [-1000 * math.log(1 - (step + 0.5) / 400) for step in range(400)]


def test_one_server_and_one_service_time_is_as_theory_says() -> None:
    for load in (0.3, 0.5, 0.7, 0.85):
        assert answer_ms([1000.0], load, 1, 95) == pytest.approx(1000 * _md1(load, 0.95), rel=0.07)


def _md1(load: float, share: float) -> float:
    """Quantile of wait and service of M/D/1, in services, by Erlang's sum."""

    def waits_at_most(time: float) -> float:
        terms = (
            (-load * (time - k)) ** k / math.factorial(k) * math.exp(load * (time - k)) for k in range(int(time) + 1)
        )
        return (1 - load) * sum(terms)

    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if waits_at_most(middle) < share else (low, middle)
    return 1 + high


@pytest.mark.parametrize("load", [0.3, 0.6, 0.85])
def test_one_server_with_exponential_times_is_as_theory_says(load: float) -> None:
    # M/M/1: the time of an answer is exponential with mean 1 / (1 - load).
    expected = 1000 / (1 - load) * math.log(20)
    assert answer_ms(EXPONENTIAL, load, 1, 95) == pytest.approx(expected, rel=0.07)


def test_without_load_an_answer_is_its_service() -> None:
    shape = service_shape([100.0] * 18 + [200.0] * 2)
    assert answer_ms(shape, 1e-9, 1, 50) == pytest.approx(100)
    assert answer_ms(shape, 1e-9, 1, 95) == pytest.approx(200)


def test_servers_that_cannot_keep_up_never_answer() -> None:
    assert answer_ms([1000.0], 1.0, 1, 95) == math.inf
    assert math.isfinite(answer_ms([1000.0], 0.99, 1, 95))


@given(
    rate=st.floats(0.01, 20),
    more=st.floats(1.0, 3.0),
    servers=st.integers(1, 40),
    added=st.integers(0, 20),
    slower=st.floats(1.0, 2.0),
)
def test_more_load_slower_answers_or_fewer_servers_never_shorten_an_answer(
    rate: float, more: float, servers: int, added: int, slower: float
) -> None:
    shape = [800.0, 1000.0, 1000.0, 1300.0]
    base = answer_ms(shape, rate, servers, 95)
    assert answer_ms(shape, rate * more, servers, 95) >= base * (1 - 1e-9)
    assert answer_ms([time * slower for time in shape], rate, servers, 95) >= base * (1 - 1e-9)
    assert answer_ms(shape, rate, servers + added, 95) <= base * (1 + 1e-9)


@given(needed=st.integers(1, 300), most=st.integers(1, 300))
def test_the_fewest_that_are_enough_are_found(needed: int, most: int) -> None:
    assert fewest(lambda number: number >= needed, most) == (needed if needed <= most else None)
