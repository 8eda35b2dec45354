"""Monthly bills, each worked out by hand from the rows of prices.toml."""

from dataclasses import replace

import pytest
from tier_planner.cost import MONTH_S, Line, Use, at_rest, month, rows_of, total
from tier_planner.hosting import read_hostings
from tier_planner.prices import read_prices

from tests.conftest import PROJECT

CONFIG = PROJECT / "shared" / "config"
PRICES = read_prices(CONFIG / "prices.toml")
HOSTINGS = {one.name: one for one in read_hostings(CONFIG / "hosting.toml", PRICES)}


def usd(name: str, use: Use, *, vnet: bool = False) -> dict[str, float]:
    return {line.what: line.usd for line in month(HOSTINGS[name], use, PRICES, vnet=vnet)}


def test_lone_function_calls_pay_a_second_each_above_the_grant() -> None:
    calls = 0.1 * MONTH_S  # far apart: each alone, on many instances
    bill = usd("function-2048", Use(0.1, 0.005, 1, 1000, 1000, 0))
    assert bill["execution"] == pytest.approx((calls * 2 - 100_000) * 0.000026, rel=0.001)
    assert bill["requests"] == pytest.approx((calls / 1e6 - 0.25) * 0.40)


def test_a_function_busy_all_month_costs_as_azure_says() -> None:
    bill = usd("function-2048", Use(20.0, 0.045, 1, 1, 1, 0))
    assert bill["execution"] == pytest.approx(2 * 730 * 3600 * 0.000026 - 2.6, rel=0.001)  # 137 less the grant


def test_an_instance_that_is_always_ready_pays_its_rest_and_has_no_grant() -> None:
    bill = usd("function-2048", Use(0.0001, 0.005, 1, 1, 1, 1))
    assert bill["always ready"] == pytest.approx(21.02, abs=0.01)
    assert bill["its execution"] == pytest.approx(0.0001 * 2 * MONTH_S * 0.000016, rel=0.01)
    assert bill["requests"] == pytest.approx(0.0001 * MONTH_S / 1e6 * 0.40)


def test_a_replica_that_sleeps_is_paid_from_its_start_to_the_end_of_its_cool_down() -> None:
    rate, up_s = 1 / 3600, 301.0
    up = 1 - 2.718281828 ** (-rate * up_s)
    bill = usd("container-2", Use(rate, 1.0, 1, 1, 1, 0))
    assert bill["vCPU active"] == pytest.approx((up * 2 * MONTH_S - 180_000) * 0.000024, rel=1e-4)
    assert bill["memory"] == pytest.approx((up * 4 * MONTH_S - 360_000) * 0.000003, rel=1e-4)
    assert "vCPU idle" not in bill


def test_a_replica_that_is_kept_is_idle_between_answers() -> None:
    bill = usd("container-4", Use(0.5, 1.0, 1, 1, 1, 1))
    assert bill["vCPU active"] == pytest.approx((0.5 * 4 * MONTH_S - 180_000) * 0.000024)
    assert bill["vCPU idle"] == pytest.approx(0.5 * 4 * MONTH_S * 0.000003)


def test_the_grant_of_vcpu_seconds_covers_idle_ones_too() -> None:
    bill = usd("container-half", Use(1e-9, 1.0, 1, 1, 1, 1))
    assert bill["vCPU idle"] == pytest.approx((0.5 * MONTH_S - 180_000) * 0.000003)


def test_a_serverless_gpu_pays_its_vcpu_and_memory_too() -> None:
    bill = usd("serverless-t4", Use(0.9999, 1.0, 1, 1, 1, 1))
    hour = (bill["GPU"] + bill["vCPU active"] + bill["memory"] + (180_000 * 0.000024 + 360_000 * 0.000003)) / 730
    assert hour == pytest.approx(1.559, abs=0.001)


def test_nodes_and_machines_are_paid_for_the_busiest_hour_all_month() -> None:
    use = Use(1.0, 1.0, 1, 1, 3, 1)
    node = 4 * 0.057077 + 16 * 0.004978
    assert total(month(HOSTINGS["dedicated-d4"], use, PRICES, vnet=False)) == pytest.approx(
        73 + 3 * 730 * node + 0.1666 * 730 / 24
    )
    assert usd("vm-nc4as-t4", use)["3 machines"] == pytest.approx(3 * 384, rel=0.001)


def test_a_private_network_has_a_price_at_rest() -> None:
    assert at_rest(["client"], PRICES, vnet=True) == []
    assert [line.what for line in at_rest(["container"], PRICES, vnet=True)] == [
        "registry, Premium",
        "3 private endpoints",
        "5 private DNS zones",
        "NAT gateway",
    ]
    assert at_rest(["function"], PRICES, vnet=False) == []


@pytest.mark.parametrize("name", list(HOSTINGS))
@pytest.mark.parametrize("vnet", [False, True])
def test_the_rows_of_a_bill_are_those_that_change_it(name: str, vnet: bool) -> None:
    hosting = HOSTINGS[name]
    uses = [Use(rate, 1.0, 1, 30, 30, kept) for kept in (0, 1) for rate in (0.5, 20.0)]

    def bills(prices: dict[str, object]) -> list[list[Line]]:
        return [month(hosting, use, prices, vnet=vnet) for use in uses]  # type: ignore[arg-type]

    before = bills(dict(PRICES))
    changed = {
        row for row, price in PRICES.items() if bills({**PRICES, row: replace(price, usd=2 * price.usd)}) != before
    }
    assert changed == set(rows_of(hosting, vnet=vnet))
