"""The trade-off in the README is that of the record it links to; a failure prints the table that it wants."""

import re
from itertools import pairwise

import pytest
from inference_core.registry import read_manifests
from tier_measure.accuracy import stated_accuracy
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
each = pytest.mark.parametrize("measurement", MEASUREMENTS.values(), ids=MEASUREMENTS.keys())


def at(measurement: Measurement, scale: float) -> list[Point]:
    """n, s, m, l at `scale` with the most threads, those there are."""
    most = max(point.threads for point in measurement.points)
    points = {p.variant: p for p in measurement.points if p.scale == scale and p.threads == most}
    return [points[variant] for variant in SIZES if variant in points]


def accuracy(point: Point) -> float:
    assert point.accuracy is not None
    return point.accuracy.value


@each
def test_the_table_says_what_the_record_says(measurement: Measurement) -> None:
    assert markdown_table(measurement) in README


@each
def test_the_record_states_the_accuracy_of_the_models_as_they_are(measurement: Measurement) -> None:
    for point in measurement.points:
        stated = stated_accuracy(MANIFESTS[point.model], point.scale)
        assert point.accuracy is not None
        assert stated is not None
        assert point.accuracy.value == pytest.approx(stated.value, abs=5e-5)


@each
def test_accuracy_rises_with_the_variant_and_with_the_scale(measurement: Measurement) -> None:
    scales = sorted({point.scale for point in measurement.points if point.scale is not None})
    for smaller, larger in pairwise(at(measurement, 1.0)):
        assert accuracy(smaller) < accuracy(larger)
    for low, high in pairwise(scales):
        for coarse, fine in zip(at(measurement, low), at(measurement, high), strict=True):
            assert accuracy(coarse) < accuracy(fine)


@each
def test_the_family_spans_the_decision_between_tiers(measurement: Measurement) -> None:
    bound_ms = read_objectives(PROJECT / "shared" / "config" / "slo.toml").of_tier("container").bound_ms
    sizes = at(measurement, 1.0)
    if len(sizes) == len(SIZES) and {point.device for point in sizes} == {"cpu"}:
        assert sizes[0].p50_ms < bound_ms < sizes[-1].p50_ms
