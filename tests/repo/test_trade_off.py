"""The trade-off in the README is that of the record it links to; a failure prints the table that it wants."""

import re
from itertools import pairwise

import pytest
from inference_core.registry import read_manifests
from tier_measure.accuracy import stated_accuracy
from tier_measure.curves import front
from tier_measure.tables import markdown_table
from tier_planner.measurements import Measurement, Point, read_measurement
from tier_planner.objectives import read_objectives

from tests.conftest import PROJECT

README = (PROJECT / "README.md").read_text()
LINKED = sorted(set(re.findall(r"\]\((shared/records/[\w.-]+\.json)\)", README)))
MEASUREMENTS = {name: read_measurement(PROJECT / name) for name in LINKED}
MANIFESTS = {manifest.name: manifest for manifest in read_manifests(PROJECT / "shared" / "models")}
SIZES = ("n", "s", "m", "l")


pytestmark = pytest.mark.skipif(not LINKED, reason="the README links to no record of `tiers measure`")


def of_cpus_alone(measurement: Measurement) -> bool:
    return all(point.device == "cpu" for point in measurement.points)


def is_whole_family(measurement: Measurement) -> bool:
    """Every size at full scale on a CPU: the record that the README's trade-off is about."""
    return of_cpus_alone(measurement) and {p.variant for p in measurement.points if p.scale == 1.0} >= set(SIZES)


def each(names: list[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("measurement", [MEASUREMENTS[name] for name in names], ids=names)


every = each(LINKED)
every_cpu = each([name for name in LINKED if of_cpus_alone(MEASUREMENTS[name])])
every_family = each([name for name in LINKED if is_whole_family(MEASUREMENTS[name])])


def with_most_threads(measurement: Measurement) -> list[Point]:
    most = max(point.threads for point in measurement.points)
    return [point for point in measurement.points if point.threads == most]


def at(measurement: Measurement, scale: float) -> list[Point]:
    """n, s, m, l at `scale` with the most threads."""
    points = {point.variant: point for point in with_most_threads(measurement) if point.scale == scale}
    return [points[variant] for variant in SIZES]


def accuracy(point: Point) -> float:
    assert point.accuracy is not None
    return point.accuracy.value


@every_cpu
def test_the_table_says_what_the_record_says(measurement: Measurement) -> None:
    assert markdown_table(measurement) in README


@every
def test_the_record_states_the_accuracy_of_the_models_as_they_are(measurement: Measurement) -> None:
    for point in measurement.points:
        stated = stated_accuracy(MANIFESTS[point.model], point.scale)
        assert point.accuracy is not None
        assert stated is not None
        assert point.accuracy.value == pytest.approx(stated.value, abs=5e-5)


@every_family
def test_a_larger_variant_is_more_accurate_and_a_quarter_of_the_scale_less(measurement: Measurement) -> None:
    full, quarter = at(measurement, 1.0), at(measurement, 0.25)
    for smaller, larger in pairwise(full):
        assert accuracy(smaller) < accuracy(larger)
    for coarse, fine in zip(quarter, full, strict=True):
        assert accuracy(coarse) < accuracy(fine)


@every_family
def test_time_buys_accuracy_through_the_variant_and_through_the_scale(measurement: Measurement) -> None:
    best = front(with_most_threads(measurement))
    for faster, slower in pairwise(best):
        assert faster.p50_ms < slower.p50_ms
        assert accuracy(faster) < accuracy(slower)
    assert len({point.variant for point in best}) >= 3
    assert len({point.scale for point in best}) >= 2


@every_family
def test_the_family_spans_the_decision_between_tiers(measurement: Measurement) -> None:
    bound_ms = read_objectives(PROJECT / "shared" / "config" / "slo.toml").of_tier("container").bound_ms
    sizes = at(measurement, 1.0)
    assert sizes[0].p50_ms < bound_ms < sizes[-1].p50_ms
