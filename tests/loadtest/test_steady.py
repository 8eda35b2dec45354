"""A tier under several times its capacity, and under a steady load: what must hold, as ratios."""

from pathlib import Path

import pytest

from loadtest.overload import overload
from loadtest.steady import Shot, percentile, slope_mib_per_hour, tier_of_our_own
from tests.models import detection_model, squares_picture
from tests.tiers import free_port

SERVICE_S = 0.1
DEADLINE_MS = 1000


@pytest.mark.slow
def test_at_four_times_its_capacity_a_tier_still_does_nearly_all_it_can(tmp_path: Path) -> None:
    detection_model(tmp_path)
    settings = {
        "INFERENCE_MODELS_DIR": str(tmp_path),
        "INFERENCE_FAULT_DELAY_S": str(SERVICE_S),
        "INFERENCE_DEADLINE_MS": str(DEADLINE_MS),
        "INFERENCE_QUEUE_MAX": "50",  # the deadline must bound the wait: fifty would take five times as long
    }
    port, shots = free_port(), [Shot("/v1/models/squares-n/predict", squares_picture(64, 64, []))]
    with tier_of_our_own("container", port, settings) as tier:
        found = overload(port, tier.process.pid, shots, times=4, seconds=6, deadline_ms=DEADLINE_MS)
    assert found.goodput_share >= 0.85
    assert found.wrong == 0
    assert found.refused > 0.5 * 4 * found.capacity_per_s * 6 * 0.75
    assert found.refused_p95_ms < SERVICE_S * 1e3
    assert found.memory_after_mib < found.memory_before_mib * 1.2 + 10


def test_a_slope_is_that_of_the_later_half() -> None:
    rises = [(float(second), 100.0) for second in range(100)]
    assert slope_mib_per_hour(rises) == 0
    warmed = [(at_s, 100 + min(at_s, 40.0)) for at_s, _ in rises]
    assert slope_mib_per_hour(warmed) == pytest.approx(0)
    leaks = [(at_s, 100 + at_s / 60) for at_s, _ in rises]
    assert slope_mib_per_hour(leaks) == pytest.approx(60)


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(number) for number in range(100)]
    assert (percentile(values, 0.5), percentile(values, 0.95), percentile([], 0.5)) == (50, 95, 0)
