"""`tiers plan`: from a requirement to the hosting that should carry it. `tiers prices refresh`: prices, read again."""

import json
import sys
from argparse import Namespace
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tier_planner.azd import azd_text
from tier_planner.candidates import Evidence
from tier_planner.curves import break_evens, charted
from tier_planner.files import read_toml
from tier_planner.hosting import read_hostings
from tier_planner.measurements import is_measurement, read_measurement
from tier_planner.page import page
from tier_planner.prices import read_prices
from tier_planner.recommend import Recommendation, recommend
from tier_planner.records import read_record
from tier_planner.refresh import API, RefreshError, changes, refreshed, write_prices
from tier_planner.report import document, text, verdict_lines
from tier_planner.requirement import FLAGS, NUMBERS, SWITCHES, read_requirement
from tier_planner.tables import TableError

_SHARED = Path(__file__).resolve().parents[1]
CONFIG = _SHARED / "config"
RECORDS = _SHARED / "records"
MODELS = _SHARED / "models"
DONE, NONE_FITS, CANNOT_RUN = 0, 1, 2


def add_parsers(commands: Any) -> None:
    """The commands and their flags, below `tiers`."""
    plan = commands.add_parser("plan", help="say where a model should run, what it costs, and why")
    plan.add_argument("file", nargs="?", type=Path, metavar="FILE.toml", help="a requirement; flags override its keys")
    for key, said in FLAGS.items():
        if key in SWITCHES:
            plan.add_argument(f"--{key}", action="store_true", default=None, help=said)
        else:
            plan.add_argument(f"--{key}", type=float if key in NUMBERS else str, help=said)
    plan.add_argument("--records", type=Path, default=RECORDS, metavar="DIR", help="what was measured")
    plan.add_argument("--models", type=Path, default=MODELS, metavar="DIR", help="whose files a package must hold")
    plan.add_argument("--config", type=Path, default=CONFIG, metavar="DIR", help="hosting.toml and prices.toml")
    shape = plan.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="the answer as JSON")
    shape.add_argument("--emit", choices=("azd",), help="the recommended option as values for `azd env set`")
    plan.add_argument("--html", type=Path, metavar="FILE", help="also write the answer as a page with charts")
    plan.set_defaults(command=_plan)

    prices = commands.add_parser("prices", help="the prices that plans stand on")
    actions = prices.add_subparsers(required=True, metavar="ACTION")
    again = actions.add_parser("refresh", help="read them again from the Azure Retail Prices API")
    again.add_argument("--region", default="eastus", help="default: %(default)s")
    again.add_argument("--file", type=Path, default=CONFIG / "prices.toml")
    again.add_argument("--url", default=API, help="default: %(default)s")
    again.set_defaults(command=_refresh)


def _plan(options: Namespace, _: list[str]) -> int:
    try:
        return _answer(options)
    except (TableError, OSError) as error:
        sys.stderr.write(f"tiers plan: {error}\n")
        return CANNOT_RUN


def _answer(options: Namespace) -> int:
    given = {key: getattr(options, key.replace("-", "_")) for key in FLAGS}
    requirement = read_requirement(options.file, given)
    prices = read_prices(options.config / "prices.toml")
    hostings = read_hostings(options.config / "hosting.toml", prices)
    weights_mib = {path.parent.name: path.stat().st_size / 2**20 for path in options.models.glob("*/*.onnx")}
    evidence = replace(
        read_evidence(options.records),
        claims=requirement.claims,
        weights_mib=weights_mib,
        hashes=_hashes(options.models),
    )
    found = recommend(requirement, hostings, evidence, prices, datetime.now(UTC).date())
    turns = break_evens(charted(found.options), requirement, prices)
    if options.html:
        options.html.write_text(page(found, evidence, prices, turns), encoding="utf-8")
    if options.emit:
        return _emit(found)
    sys.stdout.write(json.dumps(document(found, turns), indent=1) + "\n" if options.json else text(found, turns))
    return DONE if found.chosen else NONE_FITS


def _emit(found: Recommendation) -> int:
    """The values alone on standard output; where nothing fits, why on standard error."""
    if found.chosen is None:
        sys.stderr.write("\n".join(["tiers plan: there is nothing to deploy.", *verdict_lines(found)]) + "\n")
        return NONE_FITS
    sys.stdout.write(azd_text(found))
    return DONE


def read_evidence(folder: Path) -> Evidence:
    """Every measurement and load test record in a folder; other JSON files there are passed over. Raises TableError."""
    files = sorted(folder.glob("*.json"))
    measurements = tuple(read_measurement(path) for path in files if is_measurement(path))
    records = tuple(read_record(path) for path in files if _is_record(path))
    return Evidence(measurements, records)


def _hashes(models: Path) -> dict[str, str]:
    """What each model.toml states of its file, to which serving holds it. Raises TableError for one that is no TOML."""
    found = {}
    for path in sorted(models.glob("*/model.toml")):
        stated = read_toml(path)
        if "sha256" in stated:
            found[path.parent.name] = str(stated["sha256"])
    return found


def _is_record(path: Path) -> bool:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(document, dict) and {"ran", "objective", "samples"} <= set(document)


def _refresh(options: Namespace, _: list[str]) -> int:
    try:
        before = read_prices(options.file)
        after, failures = refreshed(before, options.region, datetime.now(UTC).date(), options.url)
        write_prices(options.file, after)
    except (TableError, RefreshError, OSError) as error:
        sys.stderr.write(f"tiers prices refresh: {error}\n")
        return CANNOT_RUN
    sys.stdout.write("\n".join(changes(before, after) or ["No price changed."]) + "\n")
    by_hand = [name for name, price in after.items() if price.meter is None]
    sys.stdout.write(f"Corrected by hand, not read: {', '.join(by_hand)}\n" if by_hand else "")
    for failure in failures:
        sys.stderr.write(f"kept as it was: {failure}\n")
    return NONE_FITS if failures else DONE
