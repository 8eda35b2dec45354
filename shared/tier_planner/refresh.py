"""Reads the rows of `prices.toml` again from the Azure Retail Prices API (no login needed) and rewrites the file.

The API answers in pages (`NextPageLink`), compares names by case, lists Spot, Low Priority and Windows beside what is
meant, and gives a free grant as a first tier whose price is zero.
"""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

from tier_planner.files import write_text
from tier_planner.prices import Meter, Price, Prices
from tier_planner.tables import Table

API = "https://prices.azure.com/api/retail/prices"
VERSION = "2023-01-01-preview"
TIMEOUT_S = 30.0
PAGES_MAX = 100
"""More for one meter means that the filter was not understood."""
_NOT_MEANT = ("Spot", "Low Priority")
_COUNT = re.compile(r"([\d.]+)\s*([KM]?)\b")
_TIMES = {"K": 1e3, "M": 1e6, "": 1.0}
_WORDS = {"-s": "Second", "-h": "Hour", "hour": "Hour", "day": "Day", "month": "Month"}
"""What the API's unit must contain for a row whose unit ends so: an hour's price is not a second's."""


class RefreshError(RuntimeError):
    """The price list cannot be read; the message says why."""


class RowError(RefreshError):
    """The price list has not what a row asks for; the message says which row, and what to do."""


def refreshed(prices: Prices, region: str, today: date, api: str = API) -> tuple[dict[str, Price], list[str]]:
    """Every row that names its meter, read again for `region`, and what kept a row from it.

    A row that cannot be read stays as it was, with its old date. Raises RefreshError where the list cannot be reached.
    """
    rows, failures = dict(prices), []
    for name, price in prices.items():
        if price.meter:
            try:
                rows[name] = _again(price, price.meter, region, today, api)
            except RowError as error:
                failures.append(str(error))
    return rows, failures


def write_prices(path: Path, prices: Prices) -> None:
    """Write the rows under the comment that the file began with, whole or not at all."""
    old = path.read_text(encoding="utf-8") if path.is_file() else ""
    head = "".join(line for line in old.splitlines(keepends=True)[: _comment_lines(old)])
    write_text(path, head + "\n" + "\n".join(_row(price) for price in prices.values()))


def _comment_lines(text: str) -> int:
    return next((number for number, line in enumerate(text.splitlines()) if not line.startswith("#")), 0)


def _row(price: Price) -> str:
    meter = price.meter
    lines = [
        f"[{price.name}]",
        f"usd = {_number(price.usd)}",
        f"unit = {json.dumps(price.unit)}",
        *([f"free = {_number(price.free)}"] if price.free else []),
        f"region = {json.dumps(price.region)}",
        f"date = {price.seen.isoformat()}",
        f"source = {json.dumps(price.source, ensure_ascii=False)}",
    ]
    if meter:
        keys = {"service": meter.service, "product": meter.product, "sku": meter.sku, "name": meter.name}
        lines.append(
            "meter = { " + ", ".join(f"{key} = {json.dumps(text)}" for key, text in keys.items() if text) + " }"
        )
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    """Without an exponent, which people misread: 0.000026, 0.4, 100000."""
    return f"{value:.10f}".rstrip("0").rstrip(".")


def _again(price: Price, meter: Meter, region: str, today: date, api: str) -> Price:
    where = f"[{price.name}] in {region}"
    tiers = _newest([item for item in _items(meter, region, api, where) if _is_meant(item, meter)], where)
    paid = next((tier for tier in tiers if tier.retail_usd > 0), None)
    if paid is None:
        raise RowError(f"{where}: the price list has only free tiers of it")
    once = 1e6 if price.unit == "million requests" else 1.0
    _check_unit(price.unit, paid.unit, where)
    count = _count(paid.unit, where)
    source = f"Azure retail prices: {paid.named}"
    usd, free = paid.retail_usd / count * once, paid.minimum * count / once
    return replace(price, usd=usd, free=free, region=region, seen=today, source=source)


class _Item:
    """One row of the API's answer."""

    def __init__(self, table: Table) -> None:
        self.retail_usd = table.number("retailPrice", low=0)
        self.minimum = table.number("tierMinimumUnits", low=0)
        self.unit = table.text("unitOfMeasure")
        self.since = table.text("effectiveStartDate")
        self.sku = table.text("skuName")
        self.arm_sku = table.text("armSkuName", "")
        self.product = table.text("productName")
        self.meter = table.text("meterName")
        self.currency = table.text("currencyCode")
        self.named = f"{table.text('serviceName')}, {self.product}, {self.meter}"


def _items(meter: Meter, region: str, api: str, where: str) -> Iterator[_Item]:
    names = {"serviceName": meter.service, "armRegionName": region, "priceType": "Consumption"}
    names |= {"productName": meter.product, "meterName": meter.name}
    # Without it every size of a service is answered: for virtual machines, page after page.
    names["armSkuName" if meter.sku.startswith("Standard_") else "skuName"] = meter.sku
    asked = " and ".join(f"{key} eq '{name}'" for key, name in names.items() if name)
    query = {"api-version": VERSION, "currencyCode": "'USD'", "$filter": asked}
    url: str | None = f"{api}?{urllib.parse.urlencode(query, quote_via=urllib.parse.quote)}"
    for _ in range(PAGES_MAX):
        if not url:
            return
        page = _page(url, api)
        yield from (_Item(table) for table in page.tables("Items"))
        url = page.text("NextPageLink") if page.has("NextPageLink") else None
    raise RowError(f"{where}: the price list did not end after {PAGES_MAX} pages of {asked}")


def _page(url: str, api: str) -> Table:
    asked, given = urllib.parse.urlsplit(url), urllib.parse.urlsplit(api)
    if (asked.scheme, asked.hostname) != (given.scheme, given.hostname):
        raise RefreshError(f"The price list at {api} goes on at {asked.hostname}, which is not asked")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as reply:  # noqa: S310 - scheme and host are those given
            return Table(url, json.loads(reply.read()))
    except urllib.error.HTTPError as error:
        raise RefreshError(f"The price list answered {error.code} to {url}") from error
    except OSError as error:
        raise RefreshError(f"The price list at {api} cannot be reached: {getattr(error, 'reason', error)}") from error
    except ValueError as error:
        raise RefreshError(f"The price list at {api} answered no JSON table: {error}") from error


def _is_meant(item: _Item, meter: Meter) -> bool:
    if any(word in item.sku for word in _NOT_MEANT) or "Windows" in item.product:
        return False
    return meter.sku in ("", item.sku, item.arm_sku) and item.currency == "USD"


def _newest(items: Sequence[_Item], where: str) -> list[_Item]:
    """The tiers of the newest price, from the first unit on."""
    if not items:
        raise RowError(f"{where}: the price list has no such meter; names there are case-sensitive")
    since = max(item.since for item in items)
    newest = sorted((item for item in items if item.since == since), key=lambda item: item.minimum)
    if len({item.minimum for item in newest}) != len(newest):
        raise RowError(f"{where}: {' and '.join(sorted(item.named for item in newest))} cannot be told apart")
    return newest


def _check_unit(ours: str, theirs: str, where: str) -> None:
    for ending, word in _WORDS.items():
        if ours.endswith(ending) and word not in theirs:
            raise RowError(f"{where}: is listed for {theirs!r}, the row is for {ours!r}: correct the row's unit")


def _count(unit: str, where: str) -> float:
    """Units in one priced unit: `10` has 10, `1M` a million, `1 GB Second` one."""
    if not (found := _COUNT.match(unit)) or not float(found[1]):
        raise RowError(f"{where}: the unit {unit!r} says no number")
    return float(found[1]) * _TIMES[found[2]]


def changes(before: Prices, after: Mapping[str, Price]) -> list[str]:
    """Each price that is another now, in words."""
    pairs = ((before[name], price) for name, price in after.items() if name in before)
    return [f"{new.name}: {_number(old.usd)} -> {_number(new.usd)}" for old, new in pairs if old.usd != new.usd]
