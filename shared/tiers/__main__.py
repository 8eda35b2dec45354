"""`tiers`: what a user types. Each command is one function that returns the exit status."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tiers import jobs
from tiers.serve import TIERS, serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0 when it did what was asked, 1 when a target was missed, 2 when it could not run."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command not in (_trial, _measure, _chart):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    command: Callable[[argparse.Namespace, list[str]], int] = options.command
    return command(options, rest)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tiers", description="Serve ONNX models, each from the smallest tier that suffices."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    one = commands.add_parser("serve", help="start one tier on this machine")
    one.add_argument("tier", choices=TIERS)
    one.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    one.add_argument("--port", type=int, default=8000)
    one.add_argument(
        "--models", type=Path, metavar="DIR", help="folder of model folders (default: INFERENCE_MODELS_DIR, else ours)"
    )
    one.set_defaults(command=_serve)

    trial = commands.add_parser("trial", help="start every tier, load each, say which met its target", add_help=False)
    trial.set_defaults(command=_trial)

    measure = commands.add_parser(
        "measure", help="how long each variant, scale and thread count takes here, how good it is", add_help=False
    )
    measure.set_defaults(command=_measure)

    chart = commands.add_parser("chart", help="accuracy over response time, drawn from records", add_help=False)
    chart.set_defaults(command=_chart)

    jobs.add_parser(commands)
    commands.choices["jobs"].set_defaults(command=_jobs)
    return parser


def _serve(options: argparse.Namespace, _: list[str]) -> int:
    return serve(options.tier, options.host, options.port, options.models)


def _jobs(options: argparse.Namespace, _: list[str]) -> int:
    return jobs.run(options, os.environ)


def _trial(_: argparse.Namespace, rest: list[str]) -> int:
    # Locust and matplotlib are loaded for this command only: `tiers serve` must not pay for them.
    from loadtest.trial import main as trial  # noqa: PLC0415

    return trial(rest, os.environ)


def _measure(_: argparse.Namespace, rest: list[str]) -> int:
    from tier_measure.measure import main as measure  # noqa: PLC0415 - as above

    return measure(rest)


def _chart(_: argparse.Namespace, rest: list[str]) -> int:
    from tier_measure.chart import main as chart  # noqa: PLC0415 - as above

    return chart(rest)


if __name__ == "__main__":
    sys.exit(main())
