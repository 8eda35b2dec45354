"""The schedule is a Poisson process of fixed count, and the same for the same seed."""

from itertools import pairwise
from statistics import fmean, pstdev

import pytest

from loadtest.arrivals import poisson_arrivals, schedule


def test_a_seed_gives_one_schedule() -> None:
    assert poisson_arrivals(20, 10, 7) == poisson_arrivals(20, 10, 7)
    assert poisson_arrivals(20, 10, 7) != poisson_arrivals(20, 10, 8)


@pytest.mark.parametrize("seed", range(5))
def test_every_seed_offers_the_stated_rate(seed: int) -> None:
    due_s = poisson_arrivals(0.4, 55, seed)
    assert len(due_s) == 22
    assert list(due_s) == sorted(due_s)
    assert 0 <= due_s[0] <= due_s[-1] <= 55


def test_gaps_are_exponential() -> None:
    gaps = [later - earlier for earlier, later in pairwise(poisson_arrivals(50, 200, 1))]
    # Of an exponential distribution the mean equals the deviation, and 1/e of all gaps exceed it.
    assert pstdev(gaps) / fmean(gaps) == pytest.approx(1, rel=0.05)
    assert sum(gap > fmean(gaps) for gap in gaps) / len(gaps) == pytest.approx(0.368, rel=0.05)


def test_the_warm_up_comes_before_zero() -> None:
    due_s = schedule(10, 2, 5, 3)
    assert sum(due < 0 for due in due_s) == 20
    assert tuple(due for due in due_s if due >= 0) == poisson_arrivals(10, 5, 3)
    assert due_s[0] >= -2
    assert list(due_s) == sorted(due_s)
