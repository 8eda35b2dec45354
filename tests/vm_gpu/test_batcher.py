"""Tiles of many requests share batches: full, fair, bounded, and each request fails or leaves alone."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from gpu_api.batcher import Batcher
from gpu_api.engine import Engine
from inference_core.errors import DeadlineUnmet, DeviceLost, InvalidRequest, Overloaded, Stopped

from tests.vm_gpu.runs import SLOW_MS, WAIT_S, Caller, GatedRuns, batching, numbered, read, squares_engine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    opened = squares_engine(tmp_path_factory.mktemp("models"))
    yield opened
    opened.close()


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def queued(batcher: Batcher) -> int:
    return batcher._tiles


def test_every_tile_gets_its_own_answer_whatever_batches_it_shares(engine: Engine) -> None:
    numbers = [[10 * caller + tile + 1 for tile in range(1 + caller % 6)] for caller in range(20)]
    with batching(GatedRuns(engine)) as batcher:
        callers = [Caller(batcher, *each) for each in numbers]
        assert [caller.end().answer for caller in callers] == numbers


def test_tiles_of_several_requests_share_one_run(engine: Engine) -> None:
    runs = GatedRuns(engine)
    with batching(runs, wait_ms=SLOW_MS) as batcher:
        one, other = Caller(batcher, 1, 2), Caller(batcher, 3, 4)
        assert sorted([one.end().answer, other.end().answer], key=str) == [[1, 2], [3, 4]]
    assert len(runs.batches) == 1
    assert sorted(runs.batches[0]) == [[1, 2], [3, 4]]


def test_a_batch_that_is_not_full_leaves_when_the_oldest_has_waited(engine: Engine) -> None:
    with batching(GatedRuns(engine), wait_ms=1) as batcher:
        assert read(batcher(numbered(7))) == [7]


def test_while_a_batch_computes_the_next_one_gathers(engine: Engine) -> None:
    runs = GatedRuns(engine, is_open=False)
    with batching(runs) as batcher:
        first = Caller(batcher, 1)
        assert runs.started.acquire(timeout=WAIT_S)
        others = []
        for number in (2, 3):
            others.append(Caller(batcher, number))
            until(lambda: queued(batcher) == len(others))
        runs.gate.set()
        assert [caller.end().answer for caller in (first, *others)] == [[1], [2], [3]]
    assert runs.batches == [[[1]], [[2], [3]]]


def test_a_batch_that_is_nearly_full_is_copied_while_another_computes(engine: Engine) -> None:
    """The device need not wait for the copy then."""
    runs = GatedRuns(engine, is_open=False)
    with batching(runs) as batcher:
        first = Caller(batcher, 1)
        assert runs.started.acquire(timeout=WAIT_S)
        second = Caller(batcher, 2, 3, 4)
        assert runs.started.acquire(timeout=WAIT_S)
        runs.gate.set()
        assert [caller.end().answer for caller in (first, second)] == [[1], [2, 3, 4]]
    assert runs.batches == [[[1]], [[2, 3, 4]]]


def test_a_batch_that_is_nearly_full_waits_for_more_where_nothing_computes(engine: Engine) -> None:
    runs = GatedRuns(engine)
    with batching(runs, wait_ms=SLOW_MS) as batcher:
        callers = [Caller(batcher, 1, 2, 3)]
        until(lambda: queued(batcher) == 3)
        callers.append(Caller(batcher, 4))
        assert [caller.end().answer for caller in callers] == [[1, 2, 3], [4]]
    assert runs.batches == [[[1, 2, 3], [4]]]


def test_a_full_batch_does_not_wait_for_the_one_that_computes(engine: Engine) -> None:
    """Its upload overlaps with the run before it."""
    runs = GatedRuns(engine, is_open=False)
    with batching(runs) as batcher:
        callers = [Caller(batcher, 1, 2, 3, 4), Caller(batcher, 5, 6, 7, 8)]
        for _ in callers:
            assert runs.started.acquire(timeout=WAIT_S)
        runs.gate.set()
        assert [caller.end().answer for caller in callers] == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_a_small_request_rides_in_the_next_batch_beside_a_large_one(engine: Engine) -> None:
    runs = GatedRuns(engine, is_open=False)
    with batching(runs) as batcher:
        large = Caller(batcher, *range(1, 101))
        for _ in range(2):
            assert runs.started.acquire(timeout=WAIT_S)
        small = Caller(batcher, 200)
        until(lambda: queued(batcher) == 93)
        runs.gate.set()
        assert small.end().answer == [200]
        assert large.end().answer == list(range(1, 101))
    assert [200] in runs.batches[2]


def test_half_a_batch_is_the_oldest_requests_and_the_rest_is_shared(tmp_path: Path) -> None:
    runs = GatedRuns(squares_engine(tmp_path, batch_max=16), is_open=False)
    with batching(runs) as batcher:
        callers = [Caller(batcher, 99)]
        assert runs.started.acquire(timeout=WAIT_S)
        for first, count in ((100, 10), (200, 1), (120, 10)):  # too few for a batch until the last has come
            callers.append(Caller(batcher, *range(first, first + count)))
            until(
                lambda: queued(batcher) == sum(len(caller.numbers) for caller in callers[1:]) or runs.batches[1:] != []
            )
        runs.gate.set()
        assert [caller.end().answer for caller in callers] == [list(caller.numbers) for caller in callers]
    assert [sorted(part) for part in sorted(runs.batches[1])] == [[*range(100, 108)], [*range(120, 127)], [200]]


def test_equal_requests_end_one_after_the_other(engine: Engine) -> None:
    """Whoever has an answer decodes the next picture while the GPU computes for the others."""
    runs = GatedRuns(engine, is_open=False)
    with batching(runs) as batcher:
        first = Caller(batcher, 99)
        assert runs.started.acquire(timeout=WAIT_S)
        callers = []
        for number in (10, 20, 30):
            callers.append(Caller(batcher, *range(number, number + 8)))
            until(lambda: queued(batcher) + 4 * (len(runs.batches) - 1) == 8 * len(callers))
        runs.gate.set()
        assert [caller.end().answer for caller in (first, *callers)] == [[99], *(list(c.numbers) for c in callers)]
    last = [max(i for i, batch in enumerate(runs.batches) if [n] in [p[-1:] for p in batch]) for n in (17, 27, 37)]
    assert last[0] + 2 <= last[2]


def test_with_batches_of_one_tile_requests_take_turns(tmp_path: Path) -> None:
    runs = GatedRuns(squares_engine(tmp_path, batch_max=1), is_open=False)
    with batching(runs) as batcher:
        large = Caller(batcher, *range(100, 120))
        for _ in range(2):
            assert runs.started.acquire(timeout=WAIT_S)
        small = Caller(batcher, 7)
        until(lambda: queued(batcher) == 19)
        runs.gate.set()
        assert small.end().answer == [7]
        assert large.end().answer == list(range(100, 120))
    assert [[7]] in runs.batches[:5]


def test_a_run_that_fails_fails_only_the_request_at_fault(engine: Engine) -> None:
    runs = GatedRuns(engine)
    runs.bad = 13
    with batching(runs, wait_ms=SLOW_MS) as batcher:
        good, bad, fine = Caller(batcher, 1), Caller(batcher, 13, 14), Caller(batcher, 2)
        assert [good.end().answer, fine.end().answer] == [[1], [2]]
        assert isinstance(bad.end().error, RuntimeError)
        assert read(batcher(numbered(5, 6, 7, 8))) == [5, 6, 7, 8]


def test_a_fault_of_ours_ends_in_an_error_not_in_a_wait_for_ever(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = GatedRuns(engine)
    runs.bad = 13

    def broken() -> None:
        raise ValueError("a check that cannot check")

    with batching(runs) as batcher:
        monkeypatch.setattr(runs, "check", broken)
        assert isinstance(Caller(batcher, *range(10, 20)).end().error, ValueError)
        assert read(batcher(numbered(5))) == [5]


def test_what_is_left_of_a_failed_request_is_not_computed(engine: Engine) -> None:
    runs = GatedRuns(engine)
    runs.bad = 1
    with batching(runs) as batcher:
        assert isinstance(Caller(batcher, *range(1, 41)).end().error, RuntimeError)
        assert queued(batcher) == 0
    assert len(runs.batches) < 10


def test_tiles_of_another_shape_or_type_are_refused_before_they_meet_others(engine: Engine) -> None:
    runs = GatedRuns(engine)
    with batching(runs) as batcher:
        for tiles in (np.zeros((1, 1, 32, 32), np.uint8), numbered(1).astype(np.float32)):
            with pytest.raises(InvalidRequest, match="not this model's"):
                batcher(tiles)
    assert runs.batches == []


def test_tiles_that_nobody_wants_any_more_are_dropped_before_their_run(engine: Engine) -> None:
    """A client that left and a deadline that passed both look so: `wanted` raises."""
    runs = GatedRuns(engine, is_open=False)
    is_wanted = threading.Event()
    is_wanted.set()

    def wanted() -> None:
        if not is_wanted.is_set():
            raise Stopped

    with batching(runs) as batcher:
        first = Caller(batcher, 1)
        assert runs.started.acquire(timeout=WAIT_S)
        left, stays = Caller(batcher, 2, wanted=wanted), Caller(batcher, 3)
        until(lambda: queued(batcher) == 2)
        is_wanted.clear()
        assert isinstance(left.end().error, Stopped)
        runs.gate.set()
        assert [first.end().answer, stays.end().answer] == [[1], [3]]
        assert batcher.counts.dropped == 1
    assert runs.batches == [[[1]], [[3]]]


def test_tiles_that_are_all_in_a_run_are_answered_even_when_the_deadline_passes_meanwhile(engine: Engine) -> None:
    runs, is_late = GatedRuns(engine, is_open=False), threading.Event()

    def wanted() -> None:
        if is_late.is_set():
            raise DeadlineUnmet("The deadline went by in the queue.", retry_after_s=1)

    with batching(runs) as batcher:
        first = Caller(batcher, 1, wanted=wanted)
        assert runs.started.acquire(timeout=WAIT_S)
        second = Caller(batcher, 2, wanted=wanted)
        until(lambda: queued(batcher) == 1)
        is_late.set()
        assert isinstance(second.end().error, DeadlineUnmet)
        assert first.is_waiting
        runs.gate.set()
        assert first.end().answer == [1]


def test_callers_are_held_while_too_many_tiles_wait_and_enter_in_their_order(tmp_path: Path) -> None:
    runs = GatedRuns(squares_engine(tmp_path, batch_max=8), is_open=False)
    with batching(runs, tiles_max=5) as batcher:
        callers = [Caller(batcher, 1)]
        assert runs.started.acquire(timeout=WAIT_S)
        for number in (11, 21, 31, 41):
            callers.append(Caller(batcher, number, number + 1, number + 2))
            until(lambda: queued(batcher) == 3 and len(batcher._doors) == len(callers) - 2)
        runs.gate.set()
        assert [caller.end().answer for caller in callers[1:]] == [[n, n + 1, n + 2] for n in (11, 21, 31, 41)]
    firsts = [part[0] for batch in runs.batches[1:] for part in batch if part[0] % 10 == 1]
    assert firsts == [11, 21, 31, 41]


def test_a_caller_who_leaves_at_the_door_lets_the_next_one_in(tmp_path: Path) -> None:
    runs = GatedRuns(squares_engine(tmp_path, batch_max=8), is_open=False)

    def wanted() -> None:
        raise Stopped

    with batching(runs, tiles_max=3) as batcher:
        first = Caller(batcher, 1)
        assert runs.started.acquire(timeout=WAIT_S)
        second = Caller(batcher, 2, 3, 4)
        until(lambda: queued(batcher) == 3)
        assert isinstance(Caller(batcher, 5, wanted=wanted).end().error, Stopped)
        last = Caller(batcher, 6)
        runs.gate.set()
        assert [caller.end().answer for caller in (first, second, last)] == [[1], [2, 3, 4], [6]]


def test_a_caller_at_the_door_who_waits_for_another_holds_up_nobody(tmp_path: Path) -> None:
    """A job that lets requests go first may wait for one that is in the queue already."""
    runs = GatedRuns(squares_engine(tmp_path, batch_max=8), is_open=False)
    with batching(runs, tiles_max=3) as batcher:
        first = Caller(batcher, 1)
        assert runs.started.acquire(timeout=WAIT_S)
        second = Caller(batcher, 2, 3, 4)
        until(lambda: queued(batcher) == 3)

        def wanted() -> None:
            runs.gate.set()
            second.end()

        last = Caller(batcher, 5, wanted=wanted)
        assert [caller.end().answer for caller in (last, first, second)] == [[5], [1], [2, 3, 4]]


def test_closing_finishes_what_waits_and_takes_no_more(engine: Engine) -> None:
    runs = GatedRuns(engine, is_open=False)
    batcher = Batcher(runs, wait_ms=SLOW_MS, tiles_max=1000)
    callers = [Caller(batcher, *range(1, 10))]
    assert runs.started.acquire(timeout=WAIT_S)
    callers.append(Caller(batcher, 50))
    until(lambda: queued(batcher) == 2)
    closer = threading.Thread(target=batcher.close)
    closer.start()
    runs.gate.set()
    assert [caller.end().answer for caller in callers] == [list(range(1, 10)), [50]]
    closer.join(WAIT_S)
    assert not closer.is_alive()
    with pytest.raises(Overloaded, match="stopping"):
        batcher(numbered(1))


def test_a_lost_device_fails_all_who_wait_is_told_once_and_takes_no_more(engine: Engine) -> None:
    runs = GatedRuns(engine, is_open=False)
    told: list[DeviceLost] = []
    with batching(runs, lost=told.append) as batcher:
        callers = [Caller(batcher, 1, 2, 3, 4), Caller(batcher, 5, 6, 7, 8), Caller(batcher, 9)]
        for _ in range(2):
            assert runs.started.acquire(timeout=WAIT_S)
        until(lambda: queued(batcher) == 1)
        runs.is_lost = True
        runs.gate.set()
        assert all(isinstance(caller.end().error, DeviceLost) for caller in callers)
        with pytest.raises(DeviceLost):
            batcher(numbered(1))
    assert len(told) == 1
    assert "illegal memory access" in told[0].detail


def test_it_counts_batches_by_size_their_padding_and_the_waits(tmp_path: Path) -> None:
    with batching(GatedRuns(squares_engine(tmp_path, batch_max=8))) as batcher:
        batcher(numbered(1, 2, 3, 4, 5))
        batcher(numbered(1))
        counts = batcher.counts
    assert (counts.tiles, counts.padding, sum(counts.sizes)) == (6, 1, 2)
    assert sum(counts.waits) == 2
    assert counts.waited_s > 0
