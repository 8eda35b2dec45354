"""The laws give back what the times were made by, and claim no more than the times can show."""

from collections.abc import Sequence

import pytest
from tier_planner.laws import fit_amdahl, fit_exponent, fit_resolution, hold_back
from tier_planner.measurements import Point


def times(serial: float, counts: Sequence[int], noise: float = 0.0) -> dict[int, list[float]]:
    """Latencies by Amdahl's law for 1000 ms of work, spread evenly by `noise` about the median."""
    steps = [1 - noise, 1 - noise / 2, 1.0, 1 + noise / 2, 1 + noise]
    return {n: [1000 * (serial + (1 - serial) / n) * step for step in steps] for n in counts}


def point(scale: float, stages_ms: dict[str, float], pixels: int | None = None) -> Point:
    return Point(
        *("m-n", "m", "n", scale, "cpu", "float32", 1, 4, pixels, (sum(stages_ms.values()),), stages_ms, 1.0, 1),
        memory_peak_mib=None,
        accuracy=None,
    )


@pytest.mark.parametrize("serial", [0.0, 0.07, 0.5, 1.0])
@pytest.mark.parametrize("counts", [(1, 2), (1, 2, 4), (2, 8, 16)])
def test_the_serial_share_that_made_the_times_is_found(serial: float, counts: tuple[int, ...]) -> None:
    fitted = fit_amdahl(times(serial, counts))
    assert fitted is not None
    assert fitted.serial_share == pytest.approx(serial, abs=1e-9)
    assert fitted.one_thread_ms == pytest.approx(1000)
    assert fitted.low == pytest.approx(fitted.high) == pytest.approx(serial)


def test_noise_widens_the_interval_about_the_share() -> None:
    calm, noisy = (fit_amdahl(times(0.3, (1, 2), noise)) for noise in (0.02, 0.2))
    assert calm is not None
    assert noisy is not None
    assert calm.low <= 0.3 <= calm.high
    assert noisy.high - noisy.low > 3 * (calm.high - calm.low)
    assert fit_amdahl(times(0.3, (1, 2), 0.2)) == noisy


def test_times_that_no_share_explains_give_the_nearest() -> None:
    slower, faster = fit_amdahl({1: [100.0], 2: [130.0]}), fit_amdahl({1: [100.0], 2: [40.0]})
    assert slower is not None
    assert faster is not None
    assert (slower.serial_share, faster.serial_share) == (1.0, 0.0)
    assert slower.predict_ms(2) == slower.predict_ms(16)


def test_one_thread_count_says_nothing_of_more() -> None:
    assert fit_amdahl(times(0.1, (2,))) is None


def test_a_check_needs_a_count_that_was_not_fitted() -> None:
    assert hold_back(times(0.1, (1, 2))) is None
    held = hold_back(times(0.1, (1, 2, 8)))
    assert held is not None
    assert held.threads == 8
    assert held.error == pytest.approx(0, abs=1e-9)
    # A machine whose last cores bring nothing: the prediction is too short, and says by how much.
    worse = hold_back(times(0.0, (1, 2)) | {4: [400.0]})
    assert worse is not None
    assert worse.predicted_ms == pytest.approx(250)
    assert worse.error == pytest.approx(-0.375)


def test_the_exponent_and_where_it_changes() -> None:
    straight = fit_exponent({1e4: 3.0, 4e4: 12.0, 16e4: 48.0})
    assert straight is not None
    assert (straight.value, straight.low, straight.high) == pytest.approx((1, 1, 1))
    bent = fit_exponent({1.0: 10.0, 4.0: 20.0, 16.0: 80.0})
    assert bent is not None
    assert (bent.low, bent.high) == pytest.approx((0.5, 1.0))
    assert bent.low < bent.value < bent.high
    assert fit_exponent({1.0: 10.0}) is None


def test_stages_that_do_not_follow_the_pixels_bend_the_total() -> None:
    law = fit_resolution(
        point(scale, {"decode": 50.0, "infer": 800 * scale**2, "postprocess": 0.001}, round(1e6 * scale**2))
        for scale in (1.0, 0.5, 0.25)
    )
    assert law is not None
    assert law.stages["infer"].value == pytest.approx(1)
    assert law.stages["decode"].value == pytest.approx(0)
    assert "postprocess" not in law.stages
    assert law.total.high < 1
    assert law.shares[1.0]["decode"] == pytest.approx(50 / 850, abs=0.001)
    assert law.shares[0.25]["decode"] == pytest.approx(0.5, abs=0.001)
    assert law.compute is not None
    assert law.compute.value == pytest.approx(1, abs=1e-4)


def test_overlapping_tiles_are_told_from_the_model() -> None:
    pixels = {1.0: 29, 0.5: 9, 0.25: 3}
    law = fit_resolution(point(scale, {"infer": 30.0 * tiles}, tiles * 640**2) for scale, tiles in pixels.items())
    assert law is not None
    assert law.total.value < 0.9
    assert law.seen is not None
    assert law.seen.value == pytest.approx(law.stages["infer"].value)
    assert law.compute is not None
    assert law.compute.value == pytest.approx(1)
    assert fit_resolution([point(1.0, {"infer": 30.0})]) is None
