"""Measures every setting in turn, round after round, each block in a fresh process."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from inference_core.session import Provider

from tier_measure.block import BlockRequest
from tier_measure.calibration import calibrate
from tier_measure.errors import MeasureError
from tier_measure.journal import Journal
from tier_measure.settings import Pace, Setting
from tier_measure.workload import Workload

BLOCK_S_MAX = 3600.0
Tick = Callable[[int, int, str], None]
"""Told before each block how many of how many are done, and what comes now."""


@dataclass(frozen=True)
class Rounds:
    """One measurement of latency, throughput and memory."""

    settings: Sequence[Setting]
    workload: Workload
    pace: Pace
    provider: Provider
    cores: int

    def run(self, journal: Journal, tick: Tick) -> None:
        """Measure what the journal does not hold yet. Raises MeasureError when a model cannot answer."""
        total, started = self.pace.rounds * len(self.settings), perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            bodies = self._write_bodies(Path(folder))
            for turn in range(self.pace.rounds):
                if not journal.find(calibration=turn):
                    journal.add(calibration=turn, gflops=calibrate())
                for number, setting in enumerate(self.settings):
                    tick(turn * len(self.settings) + number, total, setting.key)
                    if self._wanted(setting, turn, journal, perf_counter() - started):
                        self._block(setting, turn, journal, bodies[setting])

    def callers(self, threads: int) -> int:
        """As many as keep the cores busy; a GPU is asked by one, as its session is not shared."""
        return 1 if self.provider == "cuda" else max(1, self.cores // threads)

    def _write_bodies(self, folder: Path) -> dict[Setting, Path]:
        paths = {}
        for number, setting in enumerate(self.settings):
            paths[setting] = folder / str(number)
            paths[setting].write_bytes(self.workload.body(setting.manifest, setting.rows))
        return paths

    def _wanted(self, setting: Setting, turn: int, journal: Journal, spent_s: float) -> bool:
        if journal.find(block=setting.key, round=turn):
            return False
        before = journal.find(block=setting.key)
        quick = bool(before) and before[0]["wall_s"] <= self.pace.again_s_max
        return not before or (quick and spent_s <= self.pace.again_until_s)

    def _block(self, setting: Setting, turn: int, journal: Journal, body: Path) -> None:
        before = journal.find(block=setting.key)
        # Several callers ask for at least an answer each: where one takes longer than a block, once is enough.
        slow = bool(before) and min(before[0]["latencies_ms"]) > self.pace.box_s * 1e3
        request = BlockRequest(
            folder=str(setting.manifest.folder),
            body=str(body),
            scale=setting.scale or 1.0,
            threads=setting.threads,
            provider=self.provider,
            box_s=self.pace.box_s,
            repetitions_max=self.pace.repetitions_max,
            callers=1 if slow else self.callers(setting.threads),
        )
        started = perf_counter()
        report = run_module("tier_measure.block", asdict(request), setting.key)
        wall_s, callers = round(perf_counter() - started, 3), self.callers(setting.threads)
        if request.callers != callers:
            report["throughput_per_s"] = None
        journal.add(block=setting.key, round=turn, wall_s=wall_s, callers=callers, **report)


def run_module(
    module: str, request: dict[str, Any], what: str, timeout_s: float | None = BLOCK_S_MAX
) -> dict[str, Any]:
    """The JSON that `python -m module` answers to `request`. Raises MeasureError with what it said when it failed."""
    command = [sys.executable, "-m", module]
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            command, input=json.dumps(request), capture_output=True, text=True, check=False, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        raise MeasureError(f"{what}: no answer within {timeout_s:g} s; measure a smaller model or scale.") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}, without a word"]
        raise MeasureError(f"{what}: {said[-1]}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report
