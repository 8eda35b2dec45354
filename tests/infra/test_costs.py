import tomllib
from datetime import date

import pytest
from tier_planner.objectives import Objectives, read_objectives
from tier_planner.prices import Price, read_prices

from infra.scripts.costs import idle_month, tables, thousand_requests
from tests.conftest import PROJECT

PRICES = PROJECT / "shared" / "config" / "prices.toml"


@pytest.fixture
def prices() -> dict[str, Price]:
    return read_prices(PRICES)


@pytest.fixture
def objectives() -> Objectives:
    return read_objectives(PROJECT / "shared" / "config" / "slo.toml")


def test_the_readme_shows_what_the_tables_say(prices: dict[str, Price], objectives: Objectives) -> None:
    assert tables(prices, objectives) in (PROJECT / "infra" / "README.md").read_text()


def test_the_function_tier_costs_nothing_at_rest(prices: dict[str, Price]) -> None:
    assert idle_month(prices, ["function"], private=False) == []


def test_private_mode_pays_for_its_endpoints_names_and_way_out(prices: dict[str, Price]) -> None:
    lines = {line.what: line.usd for line in idle_month(prices, ["function"], private=True)}
    assert lines == pytest.approx({"2 private endpoints": 14.60, "4 private DNS zones": 2.0, "NAT gateway": 33.0})


def test_a_thousand_lone_function_calls_pay_a_second_each(prices: dict[str, Price], objectives: Objectives) -> None:
    lines = {line.what: line.usd for line in thousand_requests(prices, objectives)}
    assert lines["function, each alone"] == pytest.approx(1000 * 2 * 0.000026 + 0.0004)


def test_a_serverless_t4_costs_its_vcpu_and_memory_too(prices: dict[str, Price], objectives: Objectives) -> None:
    lines = {line.what: line.usd for line in thousand_requests(prices, objectives)}
    hour = 3600 * (0.000073 + 8 * 0.000024 + 56 * 0.000003)
    rate = objectives.of_tier("gpu").rate_per_s
    assert hour == pytest.approx(1.559, abs=0.001)
    assert lines[f"serverless T4, {rate:g} a second"] == pytest.approx(1000 / rate * hour / 3600 + 0.0004)


def test_no_price_is_from_the_future() -> None:
    rows = tomllib.loads(PRICES.read_text())
    assert all(isinstance(row["date"], date) and row["usd"] > 0 for row in rows.values())
