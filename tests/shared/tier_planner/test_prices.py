"""prices.toml: a row without its source or its date is refused, an old one is marked."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from tier_planner.prices import OLD_AFTER_DAYS, read_prices
from tier_planner.tables import TableError

from tests.conftest import PROJECT

PRICES = PROJECT / "shared" / "config" / "prices.toml"
ROW = """[x]
usd = 1
unit = "hour"
region = "eastus"
date = 2026-01-01
source = "a list"
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('source = "a list"\n', "", "x.source is missing"),
        ('"a list"', '" "', "x.source = ' ': must say something"),
        ("date = 2026-01-01\n", "", "x.date is missing"),
        ("2026-01-01", '"January"', "x.date = 'January': must be a date"),
        ('region = "eastus"\n', "", "x.region is missing"),
        ("usd = 1", "usd = 0", "x.usd = 0: must be greater than 0"),
        ('"hour"', '"fortnight"', "x.unit = 'fortnight': must be one of GB-s"),
        ("usd = 1", "usd = 1\neur = 1", "x.eur = 1: is not a key"),
    ],
)
def test_a_row_that_does_not_say_where_it_is_from_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in ROW
    file = tmp_path / "prices.toml"
    file.write_text(ROW.replace(old, new))
    with pytest.raises(TableError) as error:
        read_prices(file)
    assert said in str(error.value)
    assert str(file) in str(error.value)


def test_a_row_grows_old(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(ROW)
    price = read_prices(file)["x"]
    last = date(2026, 1, 1) + timedelta(days=OLD_AFTER_DAYS)
    assert not price.is_old(last)
    assert price.is_old(last + timedelta(days=1))


def test_the_free_grants_stand_in_the_file() -> None:
    prices = read_prices(PRICES)
    assert {name: price.free for name, price in prices.items() if price.free} == {
        "functions-flex-execution": 100_000,
        "functions-flex-request": 0.25,
        "container-apps-vcpu": 180_000,
        "container-apps-memory": 360_000,
        "container-apps-request": 2,
    }
