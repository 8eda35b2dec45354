"""`tiers prices refresh` against a server that answers as the Azure Retail Prices API is documented to answer."""

import json
import threading
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tier_planner.prices import Meter, Price, read_prices
from tier_planner.refresh import PAGES_MAX, RefreshError, refreshed, write_prices

from tests.conftest import PROJECT

TODAY = date(2026, 11, 26)
PAGE = 2
"""Items on a page here; the real list has 1,000."""


def item(meter: str, usd: float, unit: str, **other: Any) -> dict[str, Any]:
    """One item with every field that the API has."""
    return {
        "currencyCode": "USD",
        "tierMinimumUnits": 0.0,
        "retailPrice": usd,
        "unitPrice": usd,
        "armRegionName": "eastus",
        "location": "US East",
        "effectiveStartDate": "2025-03-01T00:00:00Z",
        "meterId": "m",
        "meterName": meter,
        "productId": "p",
        "skuId": "s",
        "productName": "Azure Container Apps",
        "skuName": "Standard",
        "serviceName": "Azure Container Apps",
        "serviceId": "i",
        "serviceFamily": "Containers",
        "unitOfMeasure": unit,
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        "armSkuName": "",
    } | other


VM: dict[str, Any] = {
    "serviceName": "Virtual Machines",
    "productName": "Virtual Machines NCasT4_v3 Series",
    "armSkuName": "Standard_NC4as_T4_v3",
    "skuName": "Standard_NC4as_T4_v3",
}
LISTED = [
    item("Standard vCPU Active Usage", 0.0, "1 Second"),
    item("Standard vCPU Active Usage", 0.000031, "1 Second", tierMinimumUnits=180_000.0),
    item("Standard vCPU Active Usage", 0.9, "1 Second", effectiveStartDate="2024-01-01T00:00:00Z"),
    item("Standard vCPU Active Usage", 0.000099, "1 Second", armRegionName="westus2"),
    item("On Demand Total Executions", 0.0, "10", serviceName="Functions", skuName="On Demand"),
    item(
        "On Demand Total Executions",
        0.000004,
        "10",
        tierMinimumUnits=25_000.0,
        serviceName="Functions",
        skuName="On Demand",
    ),
    item("NC4as T4 v3 Spot", 0.06, "1 Hour", **{**VM, "skuName": "NC4as T4 v3 Spot"}),
    item("NC4as T4 v3 Low Priority", 0.1, "1 Hour", **{**VM, "skuName": "NC4as T4 v3 Low Priority"}),
    item("NC4as T4 v3", 0.71, "1 Hour", **{**VM, "productName": "Virtual Machines NCasT4_v3 Series Windows"}),
    item("NC4as T4 v3", 0.53, "1 Hour", **VM),
    # More pages of other sizes than are read for one price.
    *(item("another", 0.1, "1 Hour", **{**VM, "armSkuName": f"Standard_{n}"}) for n in range(PAGE * PAGES_MAX)),
    item("Dedicated Plan Management", 0.11, "1/Hour"),
    item("Standard Requests", 0.4, "1M"),
]


class Answers(BaseHTTPRequestHandler):
    """Filters by case, answers in pages of two, and says where the next one is."""

    def do_GET(self) -> None:
        """One page."""
        query = parse_qs(urlsplit(self.path).query)
        if self.path.startswith("/broken"):
            return self._reply(500, b"no")
        wanted = [condition.split(" eq ") for condition in query["$filter"][0].split(" and ")]
        names = {"priceType": "type"}
        found = [one for one in LISTED if all(one[names.get(key, key)] == value.strip("'") for key, value in wanted)]
        skip = int(query.get("$skip", ["0"])[0])
        more = skip + PAGE < len(found)
        base = self.path.split("&$skip")[0]
        document = {
            "BillingCurrency": "USD",
            "Items": found[skip : skip + PAGE],
            "NextPageLink": f"http://{self.headers['Host']}{base}&$skip={skip + PAGE}" if more else None,
            "Count": len(found),
        }
        return self._reply(200, json.dumps(document).encode())

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that the base class has
        """Says nothing."""


@pytest.fixture
def api() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/api"
        server.shutdown()
        thread.join()


def price(meter: Meter | None, unit: str) -> Price:
    return Price("row", 1.0, unit, "nowhere", date(2020, 1, 1), "a list", 0.0, meter)


def again(row: Price, api: str) -> Price:
    rows, failures = refreshed({"row": row}, "eastus", TODAY, api)
    assert failures == []
    return rows["row"]


def test_the_newest_paid_tier_counts_and_the_free_one_is_its_grant(api: str) -> None:
    row = again(price(Meter("Azure Container Apps", "", "", "Standard vCPU Active Usage"), "vCPU-s"), api)
    assert (row.usd, row.free) == (0.000031, 180_000)
    assert (row.region, row.seen) == ("eastus", TODAY)
    assert row.source == "Azure retail prices: Azure Container Apps, Azure Container Apps, Standard vCPU Active Usage"


def test_a_price_for_ten_becomes_one_for_a_million(api: str) -> None:
    row = again(price(Meter("Functions", "", "On Demand", "On Demand Total Executions"), "million requests"), api)
    assert row.usd == pytest.approx(0.40)
    assert row.free == pytest.approx(0.25)
    assert again(
        price(Meter("Azure Container Apps", "", "", "Standard Requests"), "million requests"), api
    ).usd == pytest.approx(0.4)


def test_spot_low_priority_and_windows_are_not_meant(api: str) -> None:
    assert again(price(Meter("Virtual Machines", "", "Standard_NC4as_T4_v3", ""), "hour"), api).usd == 0.53


def test_a_row_without_a_meter_stays_as_it_was(api: str) -> None:
    row = price(None, "month")
    assert again(row, api) == row


@pytest.mark.parametrize(
    ("meter", "unit", "said"),
    [
        (Meter("azure container apps", "", "", "Standard Requests"), "million requests", "case-sensitive"),
        (Meter("Azure Container Apps", "", "", "Dedicated Plan Management"), "vCPU-s", "is listed for '1/Hour'"),
        (Meter("Azure Container Apps", "", "", ""), "vCPU-s", "cannot be told apart"),
    ],
)
def test_a_row_that_cannot_be_read_keeps_its_date(api: str, meter: Meter, unit: str, said: str) -> None:
    row = price(meter, unit)
    rows, failures = refreshed({"row": row}, "eastus", TODAY, api)
    assert rows["row"] == row
    (failure,) = failures
    assert said in failure
    assert failure.startswith("[row] in eastus")


def test_a_list_that_cannot_be_read_is_named(api: str) -> None:
    rows = {"row": price(Meter("Functions", "", "", "x"), "hour")}
    with pytest.raises(RefreshError, match="answered 500"):
        refreshed(rows, "eastus", TODAY, api.replace("/api", "/broken"))
    with pytest.raises(RefreshError, match="cannot be reached"):
        refreshed(rows, "eastus", TODAY, "http://127.0.0.1:9/api")


def test_the_file_is_written_as_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    ours = PROJECT / "shared" / "config" / "prices.toml"
    file.write_text(ours.read_text())
    rows = read_prices(file)
    write_prices(file, rows)
    assert file.read_text() == ours.read_text()
    write_prices(file, {**rows, "registry-basic": replace(rows["registry-basic"], usd=0.2)})
    document: Mapping[str, Any] = tomllib.loads(file.read_text())
    assert document["registry-basic"]["usd"] == 0.2
    assert [path.name for path in tmp_path.iterdir()] == ["prices.toml"]
