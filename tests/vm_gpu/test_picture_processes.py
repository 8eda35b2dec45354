"""Processes that read pictures end, hang, do not start and are closed: no picture but theirs is lost, none hangs."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from gpu_api.pictures import PictureProcesses
from inference_core.detection import DetectionPipeline
from inference_core.errors import (
    OutOfMemory,
    Overloaded,
    StartupError,
    UnreadableImage,
)
from inference_core.manifest import Manifest
from inference_core.session import Session

from tests.models import squares_picture
from tests.vm_gpu.reading import (
    PICTURE,
    WAIT_S,
    Interrupted,
    are_alive,
    held,
    is_alive,
    killed,
    through,
    until,
)


@pytest.fixture
def processes() -> Iterator[PictureProcesses]:
    opened = PictureProcesses(2)
    yield opened
    opened.close()


@pytest.fixture
def pooled(manifest: Manifest, session: Session, processes: PictureProcesses) -> DetectionPipeline:
    return through(processes, manifest, session)


def test_a_process_that_ended_between_two_pictures_is_replaced_and_nobody_notices(
    pooled: DetectionPipeline, processes: PictureProcesses, caplog: pytest.LogCaptureFixture
) -> None:
    before = set(processes.pids)
    killed(processes, signal.SIGKILL)
    assert len(pooled.predict(PICTURE).fields["detections"]) == 3
    assert "ended with status -9" in caplog.text
    assert set(processes.pids) - before


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (signal.SIGKILL, OutOfMemory, "memory is short"),
        (signal.SIGSEGV, UnreadableImage, "signal 11"),
        (signal.SIGUSR1, RuntimeError, "status -10"),
    ],
)
def test_a_picture_whose_process_ends_is_refused_and_the_next_one_answered(
    manifest: Manifest,
    session: Session,
    processes: PictureProcesses,
    number: signal.Signals,
    kind: type[Exception],
    words: str,
) -> None:
    pipeline = through(processes, manifest, session, Interrupted(session, lambda: killed(processes, number)))
    with pytest.raises(kind, match=words):
        pipeline.predict(PICTURE)
    for _ in range(2):
        assert len(pipeline.predict(PICTURE).fields["detections"]) == 3


def test_where_no_process_can_be_started_any_more_pictures_are_refused_until_one_can(
    pooled: DetectionPipeline, processes: PictureProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(processes, signal.SIGKILL)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/bin/false")
        for _ in range(3):
            with pytest.raises(OutOfMemory, match="No process that reads pictures starts"):
                pooled.predict(PICTURE)
            with pytest.raises(OutOfMemory):
                processes.check()
    processes.check()
    assert len(pooled.predict(PICTURE).fields["detections"]) == 3


def test_one_that_ended_does_not_stand_in_the_way_of_those_that_live(
    manifest: Manifest, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = PictureProcesses(3)
    pipeline = through(processes, manifest, session)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    for alive in (2, 1):
        os.kill(next(iter(filter(is_alive, processes.pids))), signal.SIGKILL)
        until(partial(are_alive, processes, alive))
        for _ in range(4):
            assert len(pipeline.predict(PICTURE).fields["detections"]) == 3
        processes.check()
    processes.close()


def test_a_picture_that_rests_for_another_does_not_hold_it_up(manifest: Manifest, session: Session) -> None:
    """A background job lets requests go first between two batches, and has its process meanwhile."""
    processes = PictureProcesses(1)
    pipeline = through(processes, manifest, session)
    found: list[int] = []

    def rest(done: int, of: int) -> None:
        if 0 < done < of:
            found.append(len(pipeline.predict(PICTURE).fields["detections"]))

    pipeline.predict(squares_picture(400, 200, [(0, 0)]), watch=rest)
    assert len(found) > 1
    assert set(found) == {3}
    assert len(processes.pids) == 2
    processes.close()


def test_a_talk_that_was_broken_off_is_not_taken_up_again(
    pooled: DetectionPipeline, processes: PictureProcesses
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with held(processes):
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(KeyboardInterrupt):
                pooled.predict(PICTURE)
    finally:
        signal.signal(signal.SIGALRM, before)
    for _ in range(3):
        assert len(pooled.predict(PICTURE).fields["detections"]) == 3


def test_a_picture_that_takes_for_ever_is_refused(
    pooled: DetectionPipeline, processes: PictureProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    pooled.predict(PICTURE)
    with monkeypatch.context() as patch, held(processes):
        patch.setattr("gpu_api.picture_process._PATIENCE_S", 0.1)
        with pytest.raises(UnreadableImage, match=r"longer than 0\.1 s"):
            pooled.predict(PICTURE)
    assert len(pooled.predict(PICTURE).fields["detections"]) == 3


@pytest.mark.parametrize("error", [EOFError("all read"), ConnectionResetError("the GPU's machine")])
def test_what_a_run_or_a_watch_raises_is_not_taken_for_the_end_of_the_process(
    manifest: Manifest, session: Session, processes: PictureProcesses, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    pipeline, before = through(processes, manifest, session, Interrupted(session, fail)), processes.pids
    with pytest.raises(type(error), match=str(error)):
        pipeline.predict(PICTURE)
    with pytest.raises(type(error), match=str(error)):
        pipeline.predict(PICTURE, watch=fail)
    assert processes.pids == before
    assert len(pipeline.predict(PICTURE).fields["detections"]) == 3


def test_a_service_whose_processes_do_not_start_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(StartupError, match="do not start"):
        PictureProcesses(2)


def test_too_many_open_files_are_said_in_a_sentence(
    manifest: Manifest, session: Session, processes: PictureProcesses
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    killed(processes, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(StartupError, match="Too many open files"):
            PictureProcesses(2)
        with pytest.raises(OutOfMemory, match="Too many open files"):
            through(processes, manifest, session).predict(PICTURE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_they_know_no_settings_and_start_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manifest: Manifest, session: Session
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INFERENCE_API_KEYS", "a-key-of-the-service")
    processes = PictureProcesses(1)
    assert len(through(processes, manifest, session).predict(PICTURE).fields["detections"]) == 3
    assert b"a-key-of" not in Path(f"/proc/{processes.pids[0]}/environ").read_bytes()
    processes.close()


def test_once_closed_pictures_are_refused_and_no_process_is_started(manifest: Manifest, session: Session) -> None:
    processes = PictureProcesses(1)
    pipeline = through(processes, manifest, session)
    pipeline.predict(PICTURE)
    pids = processes.pids
    processes.close()
    with pytest.raises(Overloaded, match="stopping"):
        pipeline.predict(PICTURE)
    assert not any(map(is_alive, pids + processes.pids))


def test_closing_ends_those_that_are_at_work_all_at_once(
    manifest: Manifest, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpu_api.pictures._FAREWELL_S", 1.0)
    processes = PictureProcesses(5)
    pipeline, pids = through(processes, manifest, session), processes.pids
    with ThreadPoolExecutor(5) as pool:
        with held(processes):
            answers = [pool.submit(pipeline.predict, PICTURE) for _ in range(5)]
            until(lambda: not processes._free)
            started = time.monotonic()
            processes.close()
            took_s = time.monotonic() - started
        errors = [answer.exception(WAIT_S) for answer in answers]
    assert took_s < 3, "each has a second, all at the same time"
    assert {type(error) for error in errors} == {Overloaded}
    assert not any(map(is_alive, pids + processes.pids))


def test_signals_to_the_whole_service_leave_it_time_to_finish(
    pooled: DetectionPipeline, processes: PictureProcesses
) -> None:
    before = processes.pids
    for pid in before:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
    assert len(pooled.predict(PICTURE).fields["detections"]) == 3
    assert processes.pids == before


def test_they_end_with_their_service_even_when_that_is_killed() -> None:
    program = (
        "import time; from gpu_api.pictures import PictureProcesses; "
        "print(*PictureProcesses(2).pids, flush=True); time.sleep(60)"
    )
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, "-c", program], env=environ, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout
        pids = service.stdout.readline().split()
        assert len(pids) == 2
        service.kill()
    until(lambda: not any(is_alive(int(pid)) for pid in pids))
