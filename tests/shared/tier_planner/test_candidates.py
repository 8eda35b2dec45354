"""Of a model whose file is another than the one that was measured, times are an estimate and accuracy is unknown."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

import pytest
from tier_planner.candidates import Candidate, Evidence
from tier_planner.hosting import read_hostings
from tier_planner.measurements import Measurement
from tier_planner.predict import candidates
from tier_planner.prices import read_prices
from tier_planner.recommend import Recommendation, recommend
from tier_planner.requirement import Requirement

from tests.conftest import PROJECT
from tests.synthetic import ASKED, boards, boards_on_gpu, measurement, picture_point

CONFIG = PROJECT / "shared" / "config"
PRICES = read_prices(CONFIG / "prices.toml")
HOSTINGS = {hosting.name: hosting for hosting in read_hostings(CONFIG / "hosting.toml", PRICES)}
THIS, OTHER = "a" * 64, "b" * 64
ALL_OTHER = {f"boards-{variant}": OTHER for variant in "nsml"}


def measured(file: str) -> Measurement:
    """The family of which every model was measured as `file`."""
    return measurement([replace(point, sha256=file) for point in boards().points])


def decided(asked: Requirement, hashes: Mapping[str, str]) -> Recommendation:
    evidence = Evidence((measured(THIS),), hashes=hashes)
    return recommend(asked, list(HOSTINGS.values()), evidence, PRICES, date(2026, 11, 26))


def whole(evidence: Evidence) -> dict[int, Candidate]:
    """Variant n at full scale by threads."""
    found = candidates(HOSTINGS["container-2"], "boards-n", evidence)
    return {one.threads: one for one in found if one.scale == 1}


@pytest.mark.parametrize(("hashes", "is_known"), [({}, True), ({"boards-n": THIS}, True), ({"boards-n": OTHER}, False)])
def test_times_of_another_file_count_and_its_accuracy_does_not(hashes: Mapping[str, str], *, is_known: bool) -> None:
    now, then = (whole(Evidence((measured(THIS),), hashes=known))[2] for known in (hashes, {}))
    assert now.service_ms == then.service_ms
    assert now.accuracy == (then.accuracy if is_known else None)
    assert then.accuracy == 0.8


@pytest.mark.parametrize(
    ("hashes", "named"),
    [
        ({}, []),
        (dict.fromkeys(ALL_OTHER, THIS), []),
        ({"boards-l": OTHER, "boards-n": OTHER}, ["boards-l", "boards-n"]),
        (ALL_OTHER, sorted(ALL_OTHER)),
    ],
)
def test_the_answer_names_each_model_whose_times_are_an_estimate(hashes: Mapping[str, str], named: list[str]) -> None:
    found = decided(replace(ASKED, accuracy_min=None), hashes)
    unsure = "another file than the one that was measured: its times are an estimate, its accuracy is unknown until"
    sentences = [f"{model} is {unsure} `tiers measure {model}`." for model in named]
    assert [caution for caution in found.cautions if "another file" in caution] == sentences


def test_a_time_of_another_file_is_named_also_where_the_accuracy_is_of_this_one() -> None:
    again = measurement([replace(picture_point("n", 1.0, 1), sha256=OTHER)], gpu="a GPU")
    gpu = boards_on_gpu("Tesla T4, driver 1", 100)
    older = replace(gpu, points=tuple(replace(point, sha256=THIS) for point in gpu.points))
    evidence = Evidence((older, again), hashes=ALL_OTHER)
    asked = replace(ASKED, model="boards-n", accuracy_min=0.8)
    found = recommend(asked, [HOSTINGS["vm-nc4as-t4"]], evidence, PRICES, date(2026, 11, 26))
    said = "boards-n is another file than the one that was measured: its times are an estimate until"
    assert f"{said} `tiers measure boards-n`." in found.cautions


def test_an_accuracy_of_another_file_meets_no_demand() -> None:
    found = decided(ASKED, ALL_OTHER)
    assert found.chosen is None
    refused = {one.hosting.name: one.rejection for one in found.options}["container-2"]
    assert refused
    assert refused.reason == "unknown"
    again = "was measured with another file of the model: `tiers measure boards-n` again"
    assert refused.words == f"the accuracy of n @ 1 {again}"
    (miss,) = [miss for miss in found.misses if miss.side == "accuracy"]
    assert miss.words.startswith("at an unknown accuracy instead of 0.85")


def test_a_record_that_names_no_file_is_believed_until_another_names_another_one() -> None:
    older = boards_on_gpu("Tesla T4, driver 1", 100)
    for hashes, accuracy in ((dict.fromkeys(ALL_OTHER, THIS), 0.8), (ALL_OTHER, None)):
        evidence = Evidence((measured(THIS), older), hashes=hashes)
        (on_gpu,) = [one for one in candidates(HOSTINGS["vm-nc4as-t4"], "boards-n", evidence) if one.scale == 1]
        assert on_gpu.accuracy == accuracy
        assert evidence.is_stale(on_gpu) is (accuracy is None)
    assert not Evidence((older,), hashes=ALL_OTHER).is_stale(on_gpu)


def test_a_variant_that_is_as_it_was_measured_can_be_had() -> None:
    found = decided(ASKED, ALL_OTHER | {"boards-m": THIS})
    assert found.chosen
    assert found.chosen.plan
    assert found.chosen.plan.candidate.model == "boards-m"


@pytest.mark.parametrize(
    ("hashes", "is_again"), [({}, False), ({"boards-n": THIS}, False), ({"boards-n": OTHER}, True)]
)
def test_a_small_measurement_of_this_file_goes_before_a_large_one_of_another(
    hashes: Mapping[str, str], *, is_again: bool
) -> None:
    again = measurement([replace(picture_point("n", 1.0, threads, faster=2.0), sha256=OTHER) for threads in (1, 2)])
    found = whole(Evidence((measured(THIS), again), hashes=hashes))
    assert found[2].sha256 == (OTHER if is_again else THIS)
    assert found[2].service_quantile_ms(50) == pytest.approx(275 if is_again else 550)
