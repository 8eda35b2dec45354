"""One run: each section in a process of its own with its share of the time, the record rewritten after each.

A process of its own, because a hang, a crash or an error that sticks to the GPU then costs one section, not the run.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from inference_core.session import runtime_version
from tier_measure.calibration import calibrate, calibration_of
from tier_planner.records import Machine
from tier_planner.tables import Table

from gpu_bench import gpu
from gpu_bench.context import Plan
from gpu_bench.pictures import make_pictures
from gpu_bench.record import CUT, FAILED, SKIPPED, Bench, Section, read_row, write_bench
from gpu_bench.rows import ROWS, Row
from gpu_bench.service import PID_FILE
from loadtest.machine import this_machine

SHARES = {
    "facts": 16,
    "loop": 36,
    "pipeline": 58,
    "service": 44,
    "equality": 14,
    "accuracy": 12,
    "cpu": 22,
    "gpu-decode": 12,
    "options": 10,
    "tensorrt": 3,
}
"""Seconds of each section in a run of 225 s, the most important first; what one leaves over goes to those after it."""
WORTH_S = 1.5
"""With less than this a section is not begun."""
GRACE_S = 4.0
"""How long a section's process may overrun before it is ended, and once more before it is killed."""
LOG_LINES = 25


@dataclass(frozen=True)
class Order:
    """What the command line asked of the whole run."""

    plan: Plan
    sections: tuple[str, ...]
    budget_s: float
    out: Path
    command: str
    commit: str


def run(order: Order, environ: Mapping[str, str]) -> Bench:
    """Make the pictures, run the sections, write the record after each."""
    ends = monotonic() + order.budget_s
    folder = Path(order.plan.folder)
    folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(
        written_at=_now(),
        commit=order.commit,
        command=order.command,
        device="cuda" if order.plan.provider == "cuda" else "cpu-stand-in",
        budget_s=order.budget_s,
        picture=make_pictures(folder, order.plan.picture_count, order.plan.picture_px),
        machine=_machine(),
        calibration=calibration_of(calibrate()),
        sections=(),
    )
    for name, share in _shares(order.sections):
        section = _section(name, order.plan, share * (ends - monotonic()), environ)
        bench = replace(bench, written_at=_now(), sections=(*bench.sections, section))
        write_bench(order.out, bench)
        _say(f"{name}: {section.state} in {section.spent_s:.1f} s, {len(section.rows)} rows. {section.reason}")
    return bench


def _shares(sections: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Each section with its share of the time that is left when it begins."""
    for index, name in enumerate(sections):
        yield name, SHARES[name] / sum(SHARES[later] for later in sections[index:])


def _section(name: str, plan: Plan, share_s: float, environ: Mapping[str, str]) -> Section:
    if share_s < WORTH_S:
        return Section(name, SKIPPED, "the time of the run was over", 0.0, ())
    _say(f"{name}: {share_s:.0f} s at most")
    folder = Path(plan.folder)
    rows_file, log = folder / f"{name}.rows", folder / f"{name}.log"
    rows_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "gpu_bench", "--section", name, json.dumps(asdict(plan)), f"{share_s:.3f}"]
    started = monotonic()
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(  # noqa: S603 - our own module
            command, stderr=output, stdin=subprocess.DEVNULL, env=dict(environ), start_new_session=True
        )
        ended_by_us = not _waited(process, share_s + GRACE_S)
    _end_service(folder)
    spent_s = monotonic() - started
    rows, end = _read(rows_file, ROWS[name])
    if end:
        return Section(name, end["state"], end["reason"], spent_s, rows)
    if ended_by_us:
        return Section(name, CUT, f"ended after {spent_s:.0f} s", spent_s, rows)
    return Section(name, FAILED, f"exit status {process.returncode}: {_last_lines(log)}", spent_s, rows)


def _waited(process: "subprocess.Popen[bytes]", limit_s: float) -> bool:
    """Whether the process ended by itself in time; it has ended in any case."""
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        try:
            process.wait(limit_s if number is None else GRACE_S)
        except subprocess.TimeoutExpired:
            continue
        return number is None
    return False


def _end_service(folder: Path) -> None:
    """End the server that a section left behind when it was killed; it leads a process group of its own."""
    file = folder / PID_FILE
    if file.is_file():
        with suppress(ProcessLookupError):
            os.killpg(int(file.read_text()), signal.SIGKILL)
        file.unlink()


def _read(rows_file: Path, kind: type[Row]) -> tuple[tuple[Row, ...], dict[str, str]]:
    """The rows that a section wrote, and how it says that it ended; empty where it was ended."""
    rows: list[Row] = []
    end: dict[str, str] = {}
    lines = rows_file.read_text(encoding="utf-8").splitlines() if rows_file.is_file() else []
    for line in lines:
        with suppress(ValueError):  # the last line of a process that was killed may be half of one
            entry = json.loads(line)
            if "row" in entry:
                rows.append(read_row(kind, Table(rows_file.name, entry["row"])))
            end = entry.get("end", end)
    return tuple(rows), end


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:])


def _machine() -> Machine:
    machine = this_machine()
    said = gpu.Question("name", "driver_version").values()
    # The runtime that is imported, which may lie in front of one that is installed.
    versions = {**machine.versions, "onnxruntime": runtime_version()}
    return replace(machine, versions=versions, gpu=", driver ".join(said.values()) or None)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _say(text: str) -> None:
    sys.stdout.write(text.rstrip() + "\n")
    sys.stdout.flush()
