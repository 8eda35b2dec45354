"""The example requirements, judged by what shared/records holds: which option each names, and why not the others."""

from datetime import date

import pytest
from tier_planner.candidates import CLAIMED
from tier_planner.curves import break_evens, charted
from tier_planner.hosting import read_hostings
from tier_planner.options import Option
from tier_planner.prices import read_prices
from tier_planner.recommend import Recommendation, recommend
from tier_planner.requirement import read_requirement
from tiers.plan import read_evidence

from tests.conftest import PROJECT

CONFIG = PROJECT / "shared" / "config"
EXAMPLES = PROJECT / "shared" / "tier_planner" / "examples"
PRICES = read_prices(CONFIG / "prices.toml")
HOSTINGS = read_hostings(CONFIG / "hosting.toml", PRICES)
EVIDENCE = read_evidence(PROJECT / "shared" / "records")


def decided(example: str) -> Recommendation:
    requirement = read_requirement(EXAMPLES / f"{example}.toml", {})
    return recommend(requirement, HOSTINGS, EVIDENCE, PRICES, date(2026, 11, 26))


def named(found: Recommendation) -> dict[str, Option]:
    return {one.hosting.name: one for one in found.options}


def reasons(found: Recommendation) -> dict[str, str]:
    return {one.hosting.name: one.rejection.reason for one in found.options if one.rejection}


def words(found: Recommendation, name: str) -> str:
    rejection = named(found)[name].rejection
    assert rejection
    return rejection.words


def test_every_example_is_tested_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.toml")} == {
        "table-to-function",
        "picture-to-container",
        "picture-to-gpu",
        "serverless-or-machine",
        "nothing-fits",
    }


def test_a_small_table_goes_to_a_function() -> None:
    found = decided("table-to-function")
    assert found.chosen
    assert found.chosen.hosting.tier == "function"
    # A container would do as well, and is less managed; a browser would be more managed, and is outside the network.
    assert named(found)["container-2"].plan
    assert reasons(found)["client"] == "network"
    assert reasons(found)["vm-nc4as-t4"] == "unknown"


def test_a_picture_in_five_seconds_goes_to_a_container() -> None:
    found = decided("picture-to-container")
    assert found.chosen
    assert found.chosen.plan
    assert found.chosen.hosting.tier == "container"
    assert found.chosen.hosting.managed == 3
    assert found.chosen.plan.p95_ms <= 5000
    assert reasons(found)["function-2048"] == "wall"
    assert words(found, "function-2048") == "the function tier takes rows, not pictures"
    assert reasons(found)["serverless-t4"] == "unknown"
    assert "tiers measure board-defects" in words(found, "serverless-t4")


def test_more_than_that_goes_to_a_gpu() -> None:
    found = decided("picture-to-gpu")
    assert found.chosen
    assert found.chosen.hosting.gpu
    slow = {name for name, reason in reasons(found).items() if reason == "latency"}
    assert slow >= {"container-2", "container-4", "dedicated-d8"}
    assert "instead of 1 s" in words(found, "container-4")
    assert reasons(found)["function-2048"] == "wall"


def test_a_serverless_gpu_wins_while_it_sleeps_and_loses_above_the_break_even() -> None:
    found = decided("serverless-or-machine")
    assert found.chosen
    assert found.chosen.plan
    assert found.chosen.hosting.name == "serverless-t4"
    assert found.chosen.plan.candidate.evidence == CLAIMED
    assert any("was not measured here: an assumption" in caution for caution in found.cautions)
    turns = break_evens(charted(found.options), found.requirement, PRICES)
    turn = next(
        one for one in turns if {one.below.hosting.name, one.above.hosting.name} == {"serverless-t4", "vm-nc4as-t4"}
    )
    assert turn.below.hosting.name == "serverless-t4"
    assert turn.per_hour > found.requirement.rate_per_s * 3600
    machine = named(found)["vm-nc4as-t4"].plan
    assert machine
    assert machine.usd > found.chosen.plan.usd


def test_where_nothing_fits_the_nearest_miss_on_each_side_is_said() -> None:
    found = decided("nothing-fits")
    assert found.chosen is None
    sides = {miss.side: miss.words for miss in found.misses}
    assert sides.keys() == {"accuracy", "latency", "budget"}
    assert "instead of 0.94" in sides["accuracy"]
    assert sides["accuracy"].endswith("meets 5 s")
    assert "instead of 5 s" in sides["latency"]
    assert sides["latency"].endswith("keeps 0.94")
    assert "USD a month instead of 150" in sides["budget"]
    assert reasons(found)["container-2"] == "latency"
    assert "budget" in reasons(found).values()


@pytest.mark.parametrize("example", ["table-to-function", "picture-to-container", "picture-to-gpu", "nothing-fits"])
def test_no_option_is_without_plan_and_reason(example: str) -> None:
    assert all((one.plan is None) != (one.rejection is None) for one in decided(example).options)
