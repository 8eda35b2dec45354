"""Plain Locust against a real server: it ends by itself, counts queueing, and its exit status is the verdict."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from tier_planner.records import Record, read_record

from loadtest.targets import nearest_rank
from tests.loadtest.conftest import StartLocust, WriteSlo
from tests.loadtest.practice_tier import Behaviour, PracticeTier

pytestmark = pytest.mark.slow
END_S = 60
"""Far beyond any run here: a test that takes this long has hung."""


def finish(load: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit status and all it said."""
    try:
        said, _ = load.communicate(timeout=END_S)
    finally:
        load.kill()
    return load.returncode, said


@pytest.fixture
def measure(start_locust: StartLocust, write_slo: WriteSlo, tmp_path: Path) -> "Measure":
    return Measure(start_locust, write_slo, tmp_path / "record.json")


class Measure:
    """Loads a practice tier with one behaviour and reads what was recorded."""

    def __init__(self, start_locust: StartLocust, write_slo: WriteSlo, record: Path) -> None:
        self._start, self._write_slo, self._record = start_locust, write_slo, record

    def __call__(self, behaviour: Behaviour, **slo: float) -> tuple[int, Record]:
        with self.started(behaviour, **slo) as load:
            status, said = finish(load)
        assert self._record.is_file(), said
        return status, read_record(self._record)

    @contextmanager
    def started(self, behaviour: Behaviour, *options: str, **slo: float) -> Iterator[subprocess.Popen[str]]:
        targets = ["--slo", self._write_slo(**slo), "--record", self._record]
        with PracticeTier(behaviour) as tier, self._start("--host", tier.url, *targets, *options) as load:
            yield load

    def record(self) -> Record:
        return read_record(self._record)


def test_a_quick_tier_passes(measure: Measure) -> None:
    status, record = measure(Behaviour())
    assert (status, record.verdict.outcome) == (0, "PASS")
    assert len(record.samples) == 60
    assert all(sample.due_s >= 0 and sample.status == 200 for sample in record.samples)
    assert list(record.samples[0].stages_ms) == ["decode", "infer"]
    assert (record.ran.variant, record.ran.threads, record.ran.slots, record.ran.cores) == ("n", 2, 3, 6)
    assert record.machine is not None


def expected_latencies_ms(record: Record, served: Sequence[tuple[float, float]]) -> list[float]:
    """What one slot gives these arrivals, first come first served, with the service times that it really had."""
    services_s = [took_s for _, took_s in sorted(served)][-len(record.samples) :]
    free_s, latencies_ms = 0.0, []
    for sample, service_s in zip(record.samples, services_s, strict=True):
        free_s = max(free_s, sample.due_s) + service_s
        latencies_ms.append((free_s - sample.due_s) * 1000)
    return latencies_ms


def test_waiting_for_a_busy_tier_is_counted(measure: Measure) -> None:
    """One slot of 50 ms at 90 % utilisation: bursts queue, and latency from the due time shows it."""
    behaviour = Behaviour(service_s=0.05, slots=1)
    _, record = measure(behaviour, rate_per_s=18, duration_s=5, bound_ms=2000)
    expected_ms = expected_latencies_ms(record, behaviour.served_s)
    p95_ms = record.figures.p95_ms
    assert p95_ms is not None
    assert p95_ms > 2 * 50, "a closed loop would have measured the service time alone"
    assert 0.7 < p95_ms / nearest_rank(expected_ms, 95) < 1.5


def test_another_model_than_the_objectives_can_be_loaded(measure: Measure, models: Path) -> None:
    shutil.copytree(models / "practice", models / "larger")
    with measure.started(Behaviour(), "--model", "larger", duration_s=1) as load:
        status, said = finish(load)
    assert status == 0, said
    assert (measure.record().objective.model, measure.record().ran.model) == ("larger", "larger")


def test_a_slow_tier_fails(measure: Measure) -> None:
    status, record = measure(Behaviour(service_s=0.6))
    assert status == 1
    assert any(reason.startswith("p95 was") for reason in record.verdict.reasons)


def test_arrivals_do_not_wait_for_answers(measure: Measure) -> None:
    """Sixty arrivals are in flight at once when every answer takes longer than the window."""
    _, record = measure(Behaviour(service_s=2.2, slots=100), patience_s=6)
    assert all(sample.latency_ms is not None and sample.latency_ms < 2 * 2200 for sample in record.samples)
    assert record.figures.lag_p99_ms < 150


def test_too_few_samples_fail(measure: Measure) -> None:
    status, record = measure(Behaviour(), rate_per_s=30, duration_s=1, samples_min=30)
    assert status == 0, record.verdict
    status, record = measure(Behaviour(wrong_every=20), rate_per_s=30, duration_s=1, samples_min=30)
    assert status == 1
    assert any(reason.startswith("Too few samples: ") for reason in record.verdict.reasons)


@pytest.mark.parametrize(
    ("behaviour", "cause"),
    [
        (Behaviour(status=500), "status 500"),
        (Behaviour(status=503), "status 503"),
        (Behaviour(status=307), "status 307"),
        (Behaviour(prediction=False), "status 200 without predictions"),
        (Behaviour(service_s=5), "no answer within 0.5 s"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_anything_but_a_prediction_is_an_error(measure: Measure, behaviour: Behaviour, cause: str) -> None:
    status, record = measure(behaviour, duration_s=1, patience_s=0.5)
    assert status == 1
    assert record.figures.error_share == 1
    assert {sample.error for sample in record.samples} == {cause}


def test_a_stand_in_is_not_judged(measure: Measure) -> None:
    status, record = measure(Behaviour(service_s=0.6, hosting="cpu-stand-in"), duration_s=1)
    assert (status, record.verdict.outcome) == (3, "NOT JUDGED")
    assert record.ran.hosting.endswith("(CPU stand-in)")


def test_a_stalled_generator_is_said(measure: Measure) -> None:
    with measure.started(Behaviour(), "--progress", duration_s=3) as load:
        assert load.stdout
        while not load.stdout.readline().startswith("progress "):
            assert load.poll() is None
        time.sleep(1)
        os.kill(load.pid, signal.SIGSTOP)
        time.sleep(0.8)
        os.kill(load.pid, signal.SIGCONT)
        status, _ = finish(load)
    record = measure.record()
    assert status == 1
    assert record.figures.lag_p99_ms > 400
    assert any("generator was saturated" in reason for reason in record.verdict.reasons)


def test_a_run_that_is_stopped_early_fails(measure: Measure) -> None:
    with measure.started(Behaviour(), "--progress", duration_s=20) as load:
        assert load.stdout
        while not load.stdout.readline().startswith("progress "):
            assert load.poll() is None
        load.send_signal(signal.SIGINT)
        status, said = finish(load)
    assert status == 1
    assert "stopped before the schedule ended" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "http://127.0.0.1:9"], "Nothing answers at http://127.0.0.1:9/v2"),
        (["--host", "127.0.0.1:9"], "must start with http://"),
        ([], "Say which tier to load"),
        (["--host", "http://127.0.0.1:9", "--objective", "none"], "'none' is not known; there are function-row"),
        (["--host", "http://127.0.0.1:9", "--run-time", "5s"], "give --duration-s instead"),
        (["--host", "http://127.0.0.1:9", "--slo", "no-such.toml"], "no-such.toml: No such file"),
    ],
)
def test_what_cannot_run_says_why(
    start_locust: StartLocust, write_slo: WriteSlo, options: list[str], said: str
) -> None:
    status, output = finish(start_locust("--slo", write_slo(), *options))
    assert status == 2
    assert said in output
    assert "Traceback" not in output


def test_the_key_is_sent_with_every_request(measure: Measure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOADTEST_KEY", "a secret")
    status, record = measure(Behaviour(key="a secret"))
    assert status == 0
    assert record.figures.answered == record.figures.arrivals


def test_a_tier_that_refuses_the_key_is_said_and_the_key_is_not(
    measure: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOADTEST_KEY", "an old secret")
    with measure.started(Behaviour(key="a secret")) as load:
        status, said = finish(load)
    assert status == 2
    assert "401 (the environment variable LOADTEST_KEY holds the key to send)" in said
    assert "secret" not in said


def test_several_users_send_one_schedule(measure: Measure) -> None:
    with measure.started(Behaviour(), "--users", "5", duration_s=1) as load:
        status, _ = finish(load)
    assert status == 0
    assert len(measure.record().samples) == 30
