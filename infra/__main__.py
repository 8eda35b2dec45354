"""`python -m infra COMMAND`: preflight, deploy, what-if, loadtest, destroy, costs, check."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tier_planner.objectives import read_objectives
from tier_planner.prices import read_prices

from infra.checks.report import check
from infra.scripts.azure_load_test import write_azure_load_test
from infra.scripts.costs import tables
from infra.scripts.deploy import deploy, what_if
from infra.scripts.destroy import destroy
from infra.scripts.loadtest import function_key, loadtest
from infra.scripts.preflight import preflight
from infra.scripts.steps import Runner, StepError, UsageError
from infra.scripts.target import TIERS, URLS, Target, environment_values, tiers_of, value

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "shared" / "config"
TIER_HELP = f"{', '.join(TIERS)}, or all (function, container and gpu)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 1 failed, 2 wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    if options.command == "costs":
        print(tables(read_prices(CONFIG / "prices.toml"), read_objectives(CONFIG / "slo.toml")))
        return 0
    if options.command == "check":
        return check(ROOT, dict(os.environ))
    again = _without_from(given)
    line = f"python -m infra {shlex.join(again)}"
    runner = Runner(dict(os.environ), line, ROOT, dry=options.dry_run, start=options.start)
    try:
        return _run(runner, options)
    except StepError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(runner: Runner, options: argparse.Namespace) -> int:
    target = Target(options.environment, options.location, options.subscription)
    if options.command == "destroy":
        return destroy(runner, target, sure=options.yes)
    if options.command == "loadtest":
        return _loadtest(runner, target, options)
    tiers = tiers_of(options.tier)
    if options.command == "what-if":
        return what_if(runner, target, tiers)
    if options.command == "preflight" or not (options.skip_preflight or options.start):
        status = preflight(runner, target, tiers, read_prices(CONFIG / "prices.toml"))
        if status or options.command == "preflight":
            return status
    return deploy(runner, target, tiers)


def _loadtest(runner: Runner, target: Target, options: argparse.Namespace) -> int:
    if options.azure_load_testing:
        url = value(environment_values(runner, target), URLS[options.tier])
        objectives = read_objectives(CONFIG / "slo.toml")
        return write_azure_load_test(ROOT, options.azure_load_testing, options.tier, objectives, url)
    if options.tier == "function":
        key = function_key(runner, target)
        runner = replace(runner, variables={**runner.variables, "LOADTEST_KEY": key})
    return loadtest(runner, target, options.tier, objective=options.objective, records=options.records)


def _parser() -> argparse.ArgumentParser:
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument("--environment", default=os.environ.get("AZURE_ENV_NAME") or "inference", help="azd environment")
    place.add_argument("--location", default=os.environ.get("AZURE_LOCATION") or "eastus", help="Azure region")
    place.add_argument("--subscription", default="", help="name or id; default: the one az is set to")
    place.add_argument("--dry-run", action="store_true", help="print every command, run none")
    place.add_argument("--from", dest="start", metavar="STEP", default="", help="skip the steps before this one")
    parser = argparse.ArgumentParser(prog="python -m infra", description="Deploy the tiers to Azure.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("preflight", "what can be known before: programs, login, providers, quota, price"),
        ("deploy", "preflight, provision, bring the code there, ask whether it is ready"),
        ("what-if", "what a deployment would change"),
    ):
        command = commands.add_parser(name, parents=[place], help=text)
        command.add_argument("tier", nargs="?", default="all", choices=(*TIERS, "all"), help=TIER_HELP)
        if name == "deploy":
            command.add_argument("--skip-preflight", action="store_true")
    load = commands.add_parser("loadtest", parents=[place], help="hold a deployed tier to its objective")
    load.add_argument("tier", choices=TIERS)
    load.add_argument("--objective", default="", help="objective in slo.toml; default: the one of the tier")
    load.add_argument("--records", type=Path, default=ROOT / "build" / "records", help="folder for the record")
    load.add_argument("--azure-load-testing", type=Path, metavar="FOLDER", help="write a test for Azure Load Testing")
    remove = commands.add_parser("destroy", parents=[place], help="remove everything")
    remove.add_argument("--yes", action="store_true", help="this is meant")
    commands.add_parser("costs", help="the cost tables of infra/README.md")
    commands.add_parser("check", help="everything that can be checked without Azure")
    return parser


def _without_from(arguments: Sequence[str]) -> list[str]:
    """The command line less `--from STEP`, to which a failed step adds its own."""
    kept = [text for text in arguments if not text.startswith("--from=")]
    while "--from" in kept:
        at = kept.index("--from")
        del kept[at : at + 2]
    return kept


if __name__ == "__main__":
    sys.exit(main())
