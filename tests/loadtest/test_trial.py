"""The trial as a process with practice tiers: its verdict, its exit status, and that nothing outlives it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from tier_planner.records import read_record

from loadtest.processes import INTERRUPTS
from loadtest.trial import main
from tests.loadtest.conftest import ROOT, WriteSlo
from tests.loadtest.practice_tier import Behaviour, PracticeTier

pytestmark = pytest.mark.slow
PROGRAM = Path(__file__).with_name("practice_trial.py")
END_S = 90
"""Far beyond any trial here: one that takes this long has hung."""


class TrialRun:
    """One trial on three free ports."""

    def __init__(self, slo: Path, models: Path, folder: Path) -> None:
        self.port = three_free_ports()
        self.folder = folder
        self._paths = [slo, models, folder]
        self._process: subprocess.Popen[str] | None = None

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """Start it with these arguments and this environment besides."""
        command = [sys.executable, PROGRAM, *self._paths, *arguments]
        self._process = subprocess.Popen(
            [str(part) for part in command],
            cwd=ROOT,
            env=os.environ | {"INFERENCE_TRIAL_PORT": str(self.port)} | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self._process

    def finish(self) -> tuple[int, str, str]:
        """Exit status, standard output, standard error."""
        assert self._process
        out, err = self._process.communicate(timeout=END_S)
        return self._process.returncode, out, err

    def run(self, *arguments: str, **environ: str) -> tuple[int, str, str]:
        """Start it and wait for its end."""
        self.start(*arguments, **environ)
        return self.finish()

    def survivors(self) -> list[str]:
        """Command lines of processes that name this trial's ports or folder."""
        marks = (str(self.folder), *(f"--port\0{self.port + place}\0" for place in range(3)))
        own = self._process.pid if self._process else 0
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            line = _command_line(process)
            if int(process.name) not in (own, os.getpid()) and any(mark in line for mark in marks):
                found.append(line)
        return found


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # it ended while we looked


def three_free_ports() -> int:
    """The first of three loopback ports in a row on which nothing listens."""
    for first in range(21000 + os.getpid() % 1000 * 3, 30000, 3):
        if all(_is_free(first + place) for place in range(3)):
            return first
    raise AssertionError("no three free ports in a row")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.fixture
def trial(write_slo: WriteSlo, models: Path, tmp_path: Path) -> Iterator[TrialRun]:
    run = TrialRun(write_slo(duration_s=1), models, tmp_path / "trial")
    yield run
    assert run.survivors() == []


def wait_for(condition: Callable[[], bool]) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + END_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_every_judged_tier_meets_its_target(trial: TrialRun) -> None:
    status, out, err = trial.run()
    assert (status, err) == (0, "")
    verdicts = re.findall(r"^(function|container|gpu) .* (PASS|FAIL|NOT JUDGED)$", out, re.MULTILINE)
    assert verdicts == [("function", "PASS"), ("container", "PASS"), ("gpu", "NOT JUDGED")]
    assert "stood in for the GPU" in out
    report = Path(out.partition("Report: ")[2].strip())
    assert report.is_file()
    assert {path.name for path in trial.folder.glob("*.json")} == {"function.json", "container.json", "gpu.json"}


def test_the_fault_switch_makes_its_tier_fail(trial: TrialRun) -> None:
    status, out, _ = trial.run("function", "container", "--json", INFERENCE_TRIAL_SLOW="container")
    assert status == 1
    summary = {tier["tier"]: tier for tier in json.loads(out)["tiers"]}
    assert {tier: found["verdict"] for tier, found in summary.items()} == {
        "function": "PASS",
        "container": "FAIL",
    }
    assert summary["container"]["reasons"]
    assert read_record(Path(summary["container"]["record"])).figures.answered == 0, "patience ends before the delay"


def test_one_tier_in_the_short_form_and_nothing_judged_is_not_met(trial: TrialRun) -> None:
    status, out, _ = trial.run("gpu", INFERENCE_TRIAL_SHORT="1")
    assert status == 1
    assert "container" not in out
    assert read_record(trial.folder / "gpu.json").objective.samples_min == 1


def test_a_tier_that_runs_elsewhere_is_loaded_and_left_alone(trial: TrialRun) -> None:
    with PracticeTier(Behaviour()) as elsewhere:
        status, out, err = trial.run("--running", f"function={elsewhere.url}/")
        assert (status, err) == (0, "")
        assert httpx.get(f"{elsewhere.url}/v2/health/ready").status_code == 200
    assert {path.name for path in trial.folder.glob("*.json")} == {"function.json"}
    assert "container" not in out


def test_a_tier_that_runs_elsewhere_must_be_ready_after_its_load(trial: TrialRun) -> None:
    with PracticeTier(Behaviour(ready=False)) as elsewhere:
        status, out, _ = trial.run("container", "--running", f"function={elsewhere.url}")
        assert f"The tier at {elsewhere.url} is not ready any more after its load." in out
    assert status == 1
    assert read_record(trial.folder / "container.json").verdict.outcome == "PASS", "named besides, so it was started"


@pytest.fixture
def _signals_restored() -> Iterator[None]:
    """`main` handles signals for the rest of its process, which here is the tests' own."""
    handlers = {number: signal.getsignal(number) for number in INTERRUPTS}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_signals_restored")
def test_a_port_in_use_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    first = three_free_ports()
    with socket.create_server(("127.0.0.1", first + 1)):
        assert main([], {"INFERENCE_TRIAL_PORT": str(first)}) == 2
    said = capsys.readouterr().err
    assert f"Port {first + 1} for the container tier cannot be used" in said
    assert f"INFERENCE_TRIAL_PORT={first + 100}" in said


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("container-dies", "The container tier ended with status 1 at its start:\n    practice tier: no model found"),
        ("gpu-unready", "The gpu tier was not ready after 4 s"),
    ],
)
def test_a_tier_that_does_not_start_is_said(trial: TrialRun, fault: str, said: str) -> None:
    status, _, err = trial.run(PRACTICE_FAULT=fault)
    assert status == 2
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "environ", "said"),
    [
        ((), {"INFERENCE_TRIAL_SLOW": "containr"}, "INFERENCE_TRIAL_SLOW='containr' is no tier of this trial"),
        (("function",), {"INFERENCE_TRIAL_SLOW": "gpu"}, "INFERENCE_TRIAL_SLOW='gpu' is no tier of this trial"),
        ((), {"INFERENCE_TRIAL_SHORT": "yes"}, "INFERENCE_TRIAL_SHORT='yes' is neither 1 nor 0"),
        ((), {"INFERENCE_TRIAL_PORT": "99999"}, "INFERENCE_TRIAL_PORT='99999'"),
        (("functions",), {}, "'functions' is no tier; there are function, container, gpu"),
        (("--running", "functions=http://127.0.0.1:1"), {}, "'functions' is no tier"),
        (("--running", "function"), {}, "--running 'function' is not TIER=URL"),
        (
            ("--running", "function=http://127.0.0.1:1"),
            {"INFERENCE_TRIAL_SLOW": "function"},
            "INFERENCE_TRIAL_SLOW='function' is no tier of this trial",
        ),
    ],
)
@pytest.mark.usefixtures("_signals_restored")
def test_a_bad_setting_is_named(
    capsys: pytest.CaptureFixture[str], arguments: list[str], environ: dict[str, str], said: str
) -> None:
    assert main(arguments, environ) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_trial_leaves_nothing(trial: TrialRun, number: signal.Signals) -> None:
    process = trial.start()
    wait_for(lambda: (trial.folder / "function-load.log").is_file() or process.poll() is not None)
    process.send_signal(number)
    status, _, err = trial.finish()
    assert status == 130
    assert "interrupted" in err
    assert trial.survivors() == []


def test_a_tier_that_clings_is_killed(trial: TrialRun) -> None:
    status, _, _ = trial.run("function", PRACTICE_FAULT="function-clings")
    assert status == 0
    assert trial.survivors() == []


def test_a_tier_that_dies_under_load_fails(trial: TrialRun) -> None:
    trial.start("function", "container")
    wait_for((trial.folder / "function-load.log").is_file)
    time.sleep(1)
    (tier,) = [pid for pid in Path("/proc").glob("[0-9]*") if f"--port\0{trial.port}\0" in _command_line(pid)]
    os.kill(int(tier.name), signal.SIGKILL)
    status, out, _ = trial.finish()
    assert status == 1
    assert "The tier ended with status -9 under load" in out
    assert read_record(trial.folder / "container.json").verdict.outcome == "PASS"
