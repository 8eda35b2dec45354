"""The decision, its reasons, and its order under every change of requirement and price."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tier_planner.candidates import Evidence
from tier_planner.cost import rows_of
from tier_planner.curves import break_evens, charted, usd_at
from tier_planner.hosting import read_hostings
from tier_planner.measurements import Accuracy
from tier_planner.options import Option, option
from tier_planner.page import page
from tier_planner.prices import Prices, read_prices
from tier_planner.recommend import Recommendation, rank, recommend
from tier_planner.requirement import Claim, Requirement
from tier_planner.tables import TableError

from tests.conftest import PROJECT
from tests.synthetic import ASKED, boards, boards_on_gpu, measurement, picture_point, row_point, rows

CONFIG = PROJECT / "shared" / "config"
PRICES = read_prices(CONFIG / "prices.toml")
HOSTINGS = read_hostings(CONFIG / "hosting.toml", PRICES)
EVIDENCE = Evidence((boards(), boards_on_gpu("Tesla T4, driver 1", 100), rows()))
TODAY = date(2026, 11, 26)


def decided(asked: Requirement, prices: Prices = PRICES, evidence: Evidence = EVIDENCE) -> Recommendation:
    return recommend(asked, HOSTINGS, evidence, prices, TODAY)


def by_name(found: Recommendation) -> dict[str, Option]:
    return {one.hosting.name: one for one in found.options}


def reason(found: Recommendation, name: str) -> tuple[str, str]:
    rejection = by_name(found)[name].rejection
    assert rejection is not None
    return rejection.reason, rejection.words


def test_the_most_managed_that_fits_is_recommended_and_the_cheapest_of_its_like() -> None:
    found = decided(ASKED)
    assert found.chosen
    assert found.chosen.hosting.managed == 3
    fitting = [one for one in found.options if one.plan]
    same = [one.plan.usd for one in fitting if one.plan and one.hosting.managed == 3]
    assert found.chosen.plan
    assert found.chosen.plan.usd == min(same)
    assert [one.hosting.managed for one in fitting] == sorted((one.hosting.managed for one in fitting), reverse=True)


def test_of_errors_less_is_better_and_no_least_is_taken() -> None:
    fine, coarse = (
        replace(
            row_point(), model=f"prices-{name}", family="prices", variant=name, accuracy=Accuracy("RMSE", rmse, "", 1)
        )
        for name, rmse in (("fine", 2.0), ("coarse", 3.0))
    )
    evidence = Evidence((measurement([coarse, fine]),))
    found = decided(replace(ASKED, model="prices", accuracy_min=None), evidence=evidence)
    assert found.chosen
    assert found.chosen.plan
    assert found.chosen.plan.candidate.variant == "fine"
    assert "fine: 2" in page(found, evidence, PRICES, [])
    with pytest.raises(TableError, match=r"min-accuracy: prices is judged by RMSE, of which less is better\."):
        decided(replace(ASKED, model="prices", accuracy_min=2.5), evidence=evidence)


def test_what_a_less_managed_option_would_save_is_said() -> None:
    found = decided(replace(ASKED, accuracy_min=0.9, bound_ms=1000))
    assert found.chosen
    assert found.cheaper
    assert (found.chosen.hosting.name, found.cheaper.hosting.name) == ("serverless-t4", "vm-nc4as-t4")


def test_each_check_gives_its_reason_and_its_number() -> None:
    found = decided(replace(ASKED, accuracy_min=0.9, vnet=True, budget_usd=400, body_mib=300))
    assert reason(found, "function-2048") == ("wall", "a request may have 210 MiB, not 300")
    assert reason(found, "client")[0] == "network"
    assert reason(found, "container-2") == ("latency", "l @ 0.5 takes 8.41 s instead of 5 s")
    assert reason(found, "vm-nc24ads-a100")[0] == "unknown"
    assert reason(found, "dedicated-d8")[0] == "budget"
    assert "USD a month instead of 400" in reason(found, "dedicated-d8")[1]
    assert reason(decided(ASKED), "function-2048") == ("wall", "the function tier takes rows, not pictures")
    assert reason(decided(replace(ASKED, accuracy_min=0.95)), "container-4") == (
        "accuracy",
        "l @ 1 reaches 0.92 instead of 0.95",
    )
    assert reason(decided(replace(ASKED, region="eastus2")), "serverless-t4") == ("region", "not offered in eastus2")
    assert reason(decided(replace(ASKED, background=True)), "function-512") == ("wall", "takes no background jobs")


def test_too_little_memory_is_a_reason() -> None:
    big = tuple(replace(point, memory_peak_mib=700.0) for point in rows().points)
    found = decided(replace(ASKED, model="rows"), evidence=Evidence((replace(rows(), points=big),)))
    assert reason(found, "function-512") == ("memory", "small needs 700 MiB, there are 512")


def test_a_model_larger_than_a_package_is_a_reason() -> None:
    found = decided(replace(ASKED, model="rows"), evidence=replace(EVIDENCE, weights_mib={"rows-small": 900.0}))
    assert reason(found, "function-2048") == ("wall", "the model has 900 MiB, a package at most 800")
    assert by_name(found)["container-2"].plan


def test_an_accuracy_that_was_not_measured_is_unknown_not_missed() -> None:
    bare = tuple(replace(point, accuracy=None) for point in rows().points)
    found = decided(replace(ASKED, model="rows"), evidence=Evidence((replace(rows(), points=bare),)))
    assert reason(found, "function-2048")[0] == "unknown"
    assert "was not measured" in reason(found, "function-2048")[1]


def test_the_platforms_wall_ends_what_a_person_would_still_wait_for() -> None:
    slow = Evidence((measurement([picture_point("l", 1.0, 1, faster=0.3)]),))
    patient = replace(ASKED, bound_ms=3600e3, accuracy_min=0.92, rate_per_s=1e-4)
    found = decided(patient, evidence=slow)
    assert reason(found, "container-half") == ("wall", "l @ 1 takes 6.8 min, the platform ends a request at 4 min")
    assert by_name(decided(replace(patient, background=True), evidence=slow))["container-half"].plan


def test_a_job_passes_the_wall_and_sleeps_between() -> None:
    rare = replace(ASKED, accuracy_min=0.92, bound_ms=900e3, background=True, rate_per_s=1 / 3600, peak_factor=1)
    plan = by_name(decided(rare))["container-2"].plan
    assert plan
    assert plan.replicas_min == 0
    assert plan.p95_ms > 60_000  # the look at the queue and the start are counted


def test_a_person_is_not_left_to_a_cold_start_unless_it_was_allowed() -> None:
    rare = replace(ASKED, rate_per_s=0.2 / 3600, peak_factor=1)
    kept, sleeping = (by_name(decided(one))["serverless-t4"].plan for one in (rare, replace(rare, cold_starts=True)))
    assert kept
    assert sleeping
    assert (kept.replicas_min, sleeping.replicas_min) == (1, 0)
    assert sleeping.usd < kept.usd / 10


def test_the_nearest_misses_say_what_would_have_to_be_given_up() -> None:
    found = decided(replace(ASKED, accuracy_min=0.92), evidence=Evidence((boards(),)))
    assert found.chosen is None
    assert {miss.side: miss.words for miss in found.misses} == {
        "accuracy": "at 0.9 instead of 0.92, Container Apps 4 vCPU with l @ 0.5 meets 5 s",
        "latency": found.misses[1].words,
    }
    assert found.misses[1].words.endswith("instead of 5 s, Container Apps dedicated D32 with l @ 1 keeps 0.92")


def test_a_budget_and_a_network_have_their_misses_too() -> None:
    found = decided(replace(ASKED, budget_usd=60, vnet=True), evidence=Evidence((boards(),)))
    sides = {miss.side: miss.words for miss in found.misses}
    assert "USD a month instead of 60" in sides["budget"]
    assert sides.keys() == {"budget"}  # even in public it costs more than 60


def test_cautions_name_what_the_answer_stands_on() -> None:
    words = " ".join(decided(replace(ASKED, region="swedencentral", vnet=True)).cautions)
    assert re.search(r"At the slow end of the interval it would take 9\.\d+ s, 5 s were asked for", words)
    assert "Container Apps serverless T4 keeps it even there" in words
    assert "Old prices: registry-premium (2026-01-01), nat-gateway (2026-01-01)" in words
    assert "Prices are of eastus" in words


def test_an_unknown_model_or_hosting_is_named() -> None:
    with pytest.raises(TableError, match=r"No measurement knows 'cats' \(known: boards, rows\)"):
        decided(replace(ASKED, model="cats"))
    with pytest.raises(TableError, match=r"measured.hosting = 'moon': must be one of client"):
        decided(replace(ASKED, claims=(Claim("moon", "n", 1.0, 1.0, 1.0, "me"),)))


def test_serverless_wins_below_the_break_even_and_the_machine_above() -> None:
    asked = replace(ASKED, accuracy_min=0.9, bound_ms=1000, cold_starts=True, rate_per_s=5 / 3600, peak_factor=1)
    options = by_name(decided(asked))
    serverless, machine = options["serverless-t4"], options["vm-nc4as-t4"]
    (turn,) = [
        one
        for one in break_evens([serverless, machine], asked, PRICES)
        if (one.below.hosting.name, one.above.hosting.name) == ("serverless-t4", "vm-nc4as-t4")
    ]
    for factor, is_cheaper in ((0.9, True), (1.1, False)):
        rate = turn.per_hour * factor / 3600
        mine, other = (usd_at(one, asked, PRICES, rate) for one in (serverless, machine))
        assert mine
        assert other
        assert (mine < other) == is_cheaper


def test_the_chart_shows_the_recommended_one_first_and_one_of_each_kind() -> None:
    found = decided(ASKED)
    shown = charted(found.options)
    assert shown[0] is found.chosen
    assert {(one.hosting.managed, one.hosting.gpu) for one in shown} >= {(3, None), (3, "T4"), (2, None), (1, "T4")}


FEW = [
    one
    for one in HOSTINGS
    if one.name
    in ("function-512", "function-2048", "container-2", "container-4", "serverless-t4", "dedicated-d8", "vm-nc4as-t4")
]
FEW_POINTS = [picture_point(v, scale, threads) for v in ("n", "l") for scale in (0.25, 1.0) for threads in (1, 2)]
FEW_EVIDENCE = Evidence((measurement(FEW_POINTS), boards_on_gpu("Tesla T4, driver 1", 100), rows()))


def judged(asked: Requirement, prices: Prices = PRICES) -> dict[str, Option]:
    """One hosting of each kind, in the order of the ranks."""
    options = [option(one, asked, FEW_EVIDENCE, prices) for one in FEW]
    return {one.hosting.name: one for one in sorted(options, key=rank)}


REQUIREMENTS = st.builds(
    Requirement,
    model=st.sampled_from(["boards", "rows"]),
    accuracy_min=st.sampled_from([None, 0.6, 0.8, 0.86, 0.9, 0.92, 0.99]),
    bound_ms=st.sampled_from([50.0, 300.0, 1000.0, 5000.0, 60e3, 240e3, 3600e3]),
    percentile=st.sampled_from([50.0, 95.0, 99.0]),
    background=st.booleans(),
    rate_per_s=st.sampled_from([1e-4, 0.01, 0.1, 1.0, 8.0]),
    peak_factor=st.sampled_from([1.0, 3.0]),
    cold_starts=st.booleans(),
    vnet=st.booleans(),
    region=st.sampled_from([None, "eastus", "eastus2", "westeurope"]),
    budget_usd=st.sampled_from([None, 20.0, 200.0, 2000.0]),
    body_mib=st.sampled_from([None, 3.0, 300.0]),
)
LOOSER = [
    lambda asked: replace(asked, accuracy_min=None if asked.accuracy_min is None else asked.accuracy_min - 0.05),
    lambda asked: replace(asked, accuracy_min=None),
    lambda asked: replace(asked, bound_ms=asked.bound_ms * 2),
    lambda asked: replace(asked, percentile=max(10.0, asked.percentile - 20)),
    lambda asked: replace(asked, rate_per_s=asked.rate_per_s / 3),
    lambda asked: replace(asked, peak_factor=1.0),
    lambda asked: replace(asked, cold_starts=True),
    lambda asked: replace(asked, vnet=False),
    lambda asked: replace(asked, region=None),
    lambda asked: replace(asked, budget_usd=None if asked.budget_usd is None else asked.budget_usd * 2),
    lambda asked: replace(asked, body_mib=None),
]
many = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def fitting(options: dict[str, Option]) -> list[str]:
    return [name for name, one in options.items() if one.plan]


@many
@given(asked=REQUIREMENTS, loosened=st.sampled_from(LOOSER))
def test_loosening_a_requirement_never_removes_an_option(
    asked: Requirement, loosened: Callable[[Requirement], Requirement]
) -> None:
    assert set(fitting(judged(asked))) <= set(fitting(judged(loosened(asked))))


@many
@given(asked=REQUIREMENTS, more=st.floats(1.0, 50.0), is_peak=st.booleans())
def test_more_load_never_lowers_the_cost_of_an_option(asked: Requirement, more: float, is_peak: bool) -> None:
    asked = replace(asked, budget_usd=None)
    busier = (
        replace(asked, peak_factor=asked.peak_factor * more)
        if is_peak
        else replace(asked, rate_per_s=asked.rate_per_s * more)
    )
    before, after = judged(asked), judged(busier)
    for name in fitting(after):
        then, now = before[name].plan, after[name].plan
        assert then
        assert now
        assert now.usd >= then.usd - 0.011  # plans within a cent of each other are taken for equal


@many
@given(asked=REQUIREMENTS, row=st.sampled_from(sorted(PRICES)), dearer=st.floats(1.0, 20.0))
def test_a_dearer_price_never_improves_a_rank(asked: Requirement, row: str, dearer: float) -> None:
    raised = {**PRICES, row: replace(PRICES[row], usd=PRICES[row].usd * dearer)}
    before, after = judged(asked), judged(asked, raised)
    order = [fitting(before), fitting(after)]
    assert set(order[1]) <= set(order[0])
    untouched = {name for name in before if row not in rows_of(before[name].hosting, vnet=asked.vnet)}
    for name in set(order[1]) - untouched:  # whom it passes now, it passed before
        passed = [set(names[names.index(name) + 1 :]) & untouched for names in order]
        assert passed[1] <= passed[0]
