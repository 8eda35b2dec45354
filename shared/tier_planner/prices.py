"""What Azure charges: `prices.toml`, one row a meter. A row without source or date is refused, an old one marked."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from tier_planner.files import read_toml
from tier_planner.tables import Table

OLD_AFTER_DAYS = 180
UNITS = (
    *("GB-s", "vCPU-s", "GiB-s", "GPU-s", "million requests"),
    *("hour", "vCPU-h", "GiB-h", "day", "month"),
)


@dataclass(frozen=True)
class Meter:
    """Where the retail price API lists a row; names are case-sensitive there."""

    service: str
    product: str
    """Empty: any product but a Windows one."""
    sku: str
    """Name of the SKU that Azure Resource Manager uses, or of the price list; empty: any."""
    name: str
    """Of the meter; empty: any."""


@dataclass(frozen=True)
class Price:
    """One row."""

    name: str
    usd: float
    unit: str
    region: str
    seen: date
    """The day on which it was read."""
    source: str
    free: float = 0.0
    """Units that each subscription has free every month."""
    meter: Meter | None = None

    def age_days(self, today: date) -> int:
        """Days since it was seen."""
        return (today - self.seen).days

    def is_old(self, today: date) -> bool:
        """Whether it should be read again before anyone relies on it."""
        return self.age_days(today) > OLD_AFTER_DAYS


Prices = Mapping[str, Price]


def read_prices(path: Path) -> dict[str, Price]:
    """Every row by name. Raises TableError naming the row that lacks its price, unit, region, date or source."""
    top = Table(str(path), read_toml(path))
    return {name: _price(name, top.table(name)) for name in top.names()}


def _price(name: str, table: Table) -> Price:
    price = Price(
        name=name,
        usd=table.number("usd", above=0),
        unit=table.text("unit", choices=UNITS),
        region=_said(table, "region"),
        seen=_date(table),
        source=_said(table, "source"),
        free=table.number("free", above=0) if table.has("free") else 0.0,
        meter=_meter(table.table("meter")) if table.has("meter") else None,
    )
    table.finish()
    return price


def _said(table: Table, key: str) -> str:
    text = table.text(key)
    if not text.strip():
        raise table.error(key, text, "must say something")
    return text


def _date(table: Table) -> date:
    value = table.value("date")
    if not isinstance(value, date) or isinstance(value, datetime):
        raise table.error("date", value, "must be a date such as 2026-09-26")
    return value


def _meter(table: Table) -> Meter:
    meter = Meter(table.text("service"), table.text("product", ""), table.text("sku", ""), table.text("name", ""))
    table.finish()
    return meter
