"""`tiers`: what a user types. Each command is one function that returns the exit status."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tiers.serve import TIERS, serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0 when it did what was asked, 1 when a target was missed, 2 when it could not run."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    return command(options)


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

    all_tiers = commands.add_parser("trial", help="start every tier, load each, say which met its target")
    all_tiers.add_argument("--short", action="store_true", help="fewer requests, about a minute in all")
    all_tiers.set_defaults(command=_trial)
    return parser


def _serve(options: argparse.Namespace) -> int:
    return serve(options.tier, options.host, options.port, options.models)


def _trial(options: argparse.Namespace) -> int:
    # Locust and matplotlib are loaded for this command only: `tiers serve` must not pay for them.
    from loadtest.trial import run_trial  # noqa: PLC0415

    return run_trial(short=options.short)


if __name__ == "__main__":
    sys.exit(main())
