"""`tiers measure`: one measurement from the command line to the record."""

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from time import monotonic

from inference_core.cpu import usable_cores
from inference_core.errors import InferenceError, StartupError
from inference_core.manifest import TABULAR_TASKS
from inference_core.session import require_cuda
from tier_planner.measurements import Measurement, read_measurement, write_measurement
from tier_planner.tables import TableError

from loadtest.console import Console
from loadtest.machine import this_machine
from loadtest.paths import MODELS, ROOT
from tier_measure.accuracy import AccuracyRequest
from tier_measure.assemble import accuracy_key, assemble
from tier_measure.errors import MeasureError
from tier_measure.journal import Journal
from tier_measure.labelled import draw_boards
from tier_measure.laws_text import laws_document, laws_text
from tier_measure.rounds import Rounds, run_module
from tier_measure.settings import FULL, QUICK, ROWS, SCALES, Pace, Setting, chosen, quick, settings_of, thread_counts
from tier_measure.tables import markdown_table, quiet_text, terminal_table
from tier_measure.workload import Workload, board_workload, file_workload, rows_workload

OUT = ROOT / "build" / "measure"
BAR = 24


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tiers measure", description="Measure a model or a family on this machine and write one record."
    )
    parser.add_argument("name", nargs="?", metavar="MODEL_OR_FAMILY")
    parser.add_argument("--models", type=Path, default=MODELS, metavar="DIR", help="folder of model folders")
    parser.add_argument("--scales", type=float, nargs="+", default=SCALES, help="of pictures (default: 1 0.5 0.25)")
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS, help="in one request, for tables (1 100 1000)")
    parser.add_argument("--threads", type=int, nargs="+", help="thread counts (default: 1, 2, 4 … the usable cores)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="what to time (default: a 4K board)")
    parser.add_argument("--data", metavar="PATH", help="measure accuracy: COCO .json, YOLO folder, CSV, boards:N")
    parser.add_argument("--target", default="", metavar="COLUMN", help="column of the CSV that holds the answer")
    parser.add_argument("--quick", action="store_true", help="fewer settings, fewer repetitions: under 3 minutes")
    parser.add_argument("--provider", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the record (default: build/measure/NAME.json)")
    parser.add_argument("--resume", action="store_true", help="take up a measurement that broke off")
    parser.add_argument("--json", action="store_true", help="print the record and the laws as JSON")
    parser.add_argument("--laws", type=Path, metavar="RECORD", help="measure nothing: print the laws of a record")
    parser.add_argument("--table", type=Path, metavar="RECORD", help="measure nothing: print a record as Markdown")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Measure, or print what a record says. Returns 0, 2 when it could not run, 130 when it was interrupted."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not (options.name or options.table or options.laws):
        parser.error("name a model or a family, or a record for --laws or --table")
    try:
        if options.table:
            sys.stdout.write(markdown_table(read_measurement(options.table)) + "\n")
            return 0
        if options.laws:
            _print_laws(read_measurement(options.laws), as_json=options.json)
            return 0
        out = options.out or OUT / f"{options.name}.json"
        measurement = _measure(options, shlex.join(["tiers", "measure", *arguments]), out)
    except (MeasureError, InferenceError, StartupError, TableError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nBroken off; the same command with --resume takes it up again.\n")
        return 130
    if options.json:
        document = {"record": str(out), "measurement": asdict(measurement), "laws": laws_document(measurement)}
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
        return 0
    parts = [terminal_table(measurement), quiet_text(measurement), laws_text(measurement), f"record: {out}"]
    sys.stdout.write("\n\n".join(parts) + "\n")
    return 0


def _print_laws(measurement: Measurement, *, as_json: bool) -> None:
    text = json.dumps(laws_document(measurement), indent=1) if as_json else laws_text(measurement)
    sys.stdout.write(text + "\n")


def _measure(options: argparse.Namespace, command: str, out: Path) -> Measurement:
    """Every finding into the journal beside `out`, then one record out of it."""
    settings = _settings(options)
    workload = _workload(options, settings)
    machine = this_machine()
    journal = Journal(
        out.with_name(out.name + ".journal"),
        {
            "machine": asdict(machine),
            "models": {setting.manifest.name: setting.manifest.sha256 for setting in settings},
            "settings": [setting.key for setting in settings],
            "workload": workload.text,
            "data": [options.data, options.target],
            "pace": asdict(_pace(options)),
            "provider": options.provider,
        },
    )
    console = Console(sys.stderr)
    if options.resume:
        journal.resume()
        console.say(f"{len(journal.findings)} findings taken up from {journal.path}")
    else:
        if journal.path.exists():
            console.say(f"{journal.path} was broken off; --resume would have taken it up. Beginning anew.")
        journal.start()
    if options.data:  # first, as data that does not fit the models is known at once
        _measure_accuracies(settings, journal, options, console)
    rounds = Rounds(settings, workload, _pace(options), options.provider, usable_cores())
    started = monotonic()
    rounds.run(journal, Progress(console))
    console.say(f"times: measured in {monotonic() - started:.0f} s")
    measurement = assemble(
        journal, settings, options.provider, machine=machine, command=command, workload=workload.text
    )
    write_measurement(out, measurement)
    journal.remove()
    return measurement


def _pace(options: argparse.Namespace) -> Pace:
    return QUICK if options.quick else FULL


def _settings(options: argparse.Namespace) -> list[Setting]:
    if options.provider == "cuda":
        require_cuda()
    manifests = chosen(options.models, options.name)
    threads = sorted(set(options.threads or thread_counts(usable_cores())))
    if threads[0] < 1 or min(options.rows) < 1:
        raise MeasureError("threads and rows must be at least 1.")
    settings = settings_of(manifests, options.scales, options.rows, threads)
    return quick(settings) if options.quick else settings


def _workload(options: argparse.Namespace, settings: Sequence[Setting]) -> Workload:
    manifests = [setting.manifest for setting in settings]
    if manifests[0].task in TABULAR_TASKS:
        counts = sorted({setting.rows for setting in settings if setting.rows})
        return rows_workload(manifests, Path(options.data) if options.data else None, counts)
    if options.picture:
        return file_workload(options.picture)
    return board_workload()


def _measure_accuracies(
    settings: Sequence[Setting], journal: Journal, options: argparse.Namespace, console: Console
) -> None:
    """One accuracy for each variant and scale, on the data that was named."""
    distinct = {accuracy_key(setting): setting for setting in settings}
    missing = {key: setting for key, setting in distinct.items() if not journal.find(accuracy=key)}
    with tempfile.TemporaryDirectory() as folder:
        console.tick("accuracy: reading the data")
        data = (missing and draw_boards(options.data, Path(folder))) or options.data
        for number, (key, setting) in enumerate(missing.items()):
            console.tick(f"accuracy {number + 1} of {len(missing)}: {key}")
            request = AccuracyRequest(
                folder=str(setting.manifest.folder),
                data=str(data),
                target=options.target,
                scale=setting.scale or 1.0,
                threads=usable_cores(),
                provider=options.provider,
            )
            # No limit of time: a large labelled set takes as long as it takes.
            figures = run_module("tier_measure.accuracy", asdict(request), key, timeout_s=None)
            journal.add(accuracy=key, figures=figures)
    console.say(f"accuracy: measured at {len(missing)} settings")


class Progress:
    """The bar of a measurement: what is done, what comes now, how long it may still take."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = monotonic()

    def __call__(self, done: int, of: int, what: str) -> None:
        """Show the state before block `done` of `of`."""
        filled = done * BAR // of
        left_s = (monotonic() - self._started) / done * (of - done) if done else 0.0
        left = f", about {left_s:.0f} s left" if done else ""
        self._console.tick(f"[{'#' * filled}{'-' * (BAR - filled)}] {done}/{of}{left}: {what}")
