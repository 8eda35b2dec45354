"""Admission holds what it promises, also when callers give up at the worst moment."""

import asyncio
import random
import threading
import time
from collections.abc import Callable

import pytest
from inference_core.errors import DeadlineUnmet, Overloaded, Stopped
from inference_http.problems import ClientGone
from inference_http.slots import Slots


async def stays() -> None:
    """A client that never leaves."""
    await asyncio.Event().wait()


async def until(true: Callable[[], bool]) -> None:
    """Wait for what is bound to happen; fail the test when it does not."""
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.005)


class Work:
    """Work that runs until it is let go, and knows how many of its kind run at the same time."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.running = 0
        self.most = 0
        self._lock = threading.Lock()

    def __call__(self) -> str:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        assert self.go.wait(20)
        with self._lock:
            self.running -= 1
        return "done"


def test_only_as_many_run_as_there_are_slots() -> None:
    async def scenario() -> None:
        slots, work = Slots(2, queue_max=10), Work()
        tasks = [asyncio.create_task(slots.run(work, stays)) for _ in range(6)]
        await until(lambda: work.running == 2 and slots.waiting == 4)
        work.go.set()
        assert [result for result, _ in await asyncio.gather(*tasks)] == ["done"] * 6
        assert work.most == 2
        assert (slots.running, slots.waiting) == (0, 0)

    asyncio.run(scenario())


def test_one_more_than_the_queue_holds_is_refused_before_anything_else_ends() -> None:
    async def scenario() -> None:
        slots, work = Slots(1, queue_max=1), Work()
        tasks = [asyncio.create_task(slots.run(work, stays)) for _ in range(2)]
        await until(lambda: slots.waiting == 1)
        with pytest.raises(Overloaded) as refusal:
            await slots.run(work, stays)
        assert work.running == 1
        assert refusal.value.retry_after_s == 1
        assert slots.refused == 1
        work.go.set()
        await asyncio.gather(*tasks)

    asyncio.run(scenario())


def test_retry_after_grows_with_service_time_and_queue() -> None:
    async def scenario() -> None:
        slots = Slots(1, queue_max=20)
        await slots.run(lambda: time.sleep(0.4), stays)
        alone_s, work = slots.retry_after_s(), Work()
        tasks = [asyncio.create_task(slots.run(work, stays)) for _ in range(11)]
        await until(lambda: slots.waiting == 10)
        assert slots.retry_after_s() > alone_s
        assert slots.retry_after_s() >= 4
        work.go.set()
        await asyncio.gather(*tasks)

    asyncio.run(scenario())


def test_a_slot_is_held_until_its_thread_ends_though_the_caller_was_cancelled() -> None:
    """BentoML #5642: there, the timeout frees the slot and the next request starts beside the one at work."""

    async def scenario() -> None:
        slots, abandoned, later = Slots(1, queue_max=5), Work(), Work()
        task = asyncio.create_task(slots.run(abandoned, stays))
        await until(lambda: abandoned.running == 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(task, 0.01)
        second = asyncio.create_task(slots.run(later, stays))
        await asyncio.sleep(0.1)
        assert (slots.running, slots.waiting, later.running) == (1, 1, 0)
        abandoned.go.set()
        await until(lambda: later.running == 1)
        later.go.set()
        assert (await second)[0] == "done"

    asyncio.run(scenario())


def test_a_waiting_caller_that_is_cancelled_gives_its_place_back() -> None:
    async def scenario() -> None:
        slots, work = Slots(1, queue_max=1), Work()
        first = asyncio.create_task(slots.run(work, stays))
        waiting = asyncio.create_task(slots.run(work, stays))
        await until(lambda: slots.waiting == 1)
        waiting.cancel()
        await until(lambda: slots.waiting == 0)
        third = asyncio.create_task(slots.run(work, stays))
        await until(lambda: slots.waiting == 1)
        work.go.set()
        await asyncio.gather(first, third)
        assert slots.running == 0

    asyncio.run(scenario())


def test_a_waiting_client_that_leaves_gives_its_place_back_and_is_never_worked_for() -> None:
    async def scenario() -> None:
        slots, work, unwanted, leaves = Slots(1, queue_max=1), Work(), Work(), asyncio.Event()

        async def left() -> None:
            await leaves.wait()

        first = asyncio.create_task(slots.run(work, stays))
        waiting = asyncio.create_task(slots.run(unwanted, left))
        await until(lambda: slots.waiting == 1)
        leaves.set()
        with pytest.raises(ClientGone):
            await waiting
        assert slots.waiting == 0
        work.go.set()
        await first
        assert unwanted.most == 0

    asyncio.run(scenario())


def test_a_slot_handed_to_a_caller_that_gives_up_in_that_moment_goes_to_the_next() -> None:
    async def scenario() -> None:
        slots, work = Slots(1, queue_max=2), Work()
        first = asyncio.create_task(slots.run(work, stays))
        await until(lambda: work.running == 1)
        second = asyncio.create_task(slots.run(work, stays))
        third = asyncio.create_task(slots.run(work, stays))
        await until(lambda: slots.waiting == 2)
        work.go.set()
        # Seen from the loop: the slot has just been passed on, its new owner has not run yet.
        while slots.waiting == 2:
            await asyncio.sleep(0)
        second.cancel()
        assert (await third)[0] == "done"
        await asyncio.gather(first, second, return_exceptions=True)
        await until(lambda: slots.running == 0)

    asyncio.run(scenario())


def test_those_who_wait_are_served_in_order_of_arrival() -> None:
    async def scenario() -> None:
        slots, work, served = Slots(1, queue_max=9), Work(), list[int]()
        first = asyncio.create_task(slots.run(work, stays))
        tasks = [asyncio.create_task(slots.run(lambda n=n: served.append(n), stays)) for n in range(9)]  # type: ignore[misc]
        await until(lambda: slots.waiting == 9)
        work.go.set()
        await asyncio.gather(first, *tasks)
        assert served == list(range(9))

    asyncio.run(scenario())


def test_the_time_in_the_queue_is_measured() -> None:
    async def scenario() -> None:
        slots, work = Slots(1, queue_max=1), Work()
        first = asyncio.create_task(slots.run(work, stays))
        await until(lambda: work.running == 1)
        second = asyncio.create_task(slots.run(work, stays))
        await until(lambda: slots.waiting == 1)
        await asyncio.sleep(0.2)
        work.go.set()
        assert (await second)[1] >= 200 > (await first)[1]

    asyncio.run(scenario())


def test_work_that_raises_frees_its_slot_and_tells_its_caller() -> None:
    async def scenario() -> None:
        slots = Slots(1, queue_max=0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await slots.run(lambda: 1 // 0, stays)
            await until(lambda: slots.running == 0)

    asyncio.run(scenario())


def test_a_client_that_leaves_stops_the_work_and_the_slot_is_free_when_its_thread_ends() -> None:
    async def scenario() -> None:
        slots, leaves, stopped, ended = Slots(1, queue_max=1), asyncio.Event(), threading.Event(), threading.Event()

        async def left() -> None:
            await leaves.wait()

        def work() -> None:
            assert stopped.wait(20)
            assert ended.wait(20)
            raise Stopped

        task = asyncio.create_task(slots.run(work, left, stop=stopped.set))
        await until(lambda: slots.running == 1)
        leaves.set()
        await until(stopped.is_set)
        assert slots.running == 1
        ended.set()
        with pytest.raises(ClientGone):
            await task
        await until(lambda: slots.running == 0)

    asyncio.run(scenario())


def test_a_cancelled_caller_stops_the_work() -> None:
    async def scenario() -> None:
        slots, stopped = Slots(1, queue_max=1), threading.Event()
        task = asyncio.create_task(slots.run(lambda: stopped.wait(20), stays, stop=stopped.set))
        await until(lambda: slots.running == 1)
        task.cancel()
        await until(lambda: slots.running == 0)
        assert stopped.is_set()

    asyncio.run(scenario())


async def taught(slots: Slots, seconds: float) -> None:
    """Let `slots` see how long work takes."""
    for _ in range(3):
        await slots.run(lambda: time.sleep(seconds), stays, model="m")


def test_what_cannot_be_answered_in_time_is_refused_at_once_and_told_when_to_come_again() -> None:
    async def scenario() -> None:
        slots, work = Slots(1, queue_max=9), Work()
        await taught(slots, 0.4)
        tasks = [asyncio.create_task(slots.run(work, stays, model="m")) for _ in range(4)]
        await until(lambda: slots.waiting == 3)
        with pytest.raises(DeadlineUnmet) as refusal:
            slots.admit("m", due=time.perf_counter() + 1.0)
        assert refusal.value.retry_after_s is not None
        assert 1 <= refusal.value.retry_after_s < 60
        assert slots.refused == 1
        slots.admit("m", due=time.perf_counter() + 60)
        slots.admit("m", due=None)
        work.go.set()
        await asyncio.gather(*tasks)

    asyncio.run(scenario())


def test_the_wait_counts_what_runs_already_and_each_slot() -> None:
    async def scenario() -> None:
        slots, work = Slots(2, queue_max=9), Work()
        await taught(slots, 0.4)
        assert slots.wait_s() == 0
        tasks = [asyncio.create_task(slots.run(work, stays, model="m")) for _ in range(2)]
        await until(lambda: slots.running == 2)
        first_s = slots.wait_s()
        assert first_s > 0
        tasks += [asyncio.create_task(slots.run(work, stays, model="m")) for _ in range(4)]
        await until(lambda: slots.waiting == 4)
        # Four more on two slots are two services of 0.4 s; what runs has gone on for a while since.
        assert slots.wait_s() >= 0.7
        work.go.set()
        await asyncio.gather(*tasks)

    asyncio.run(scenario())


def test_a_free_slot_is_given_whatever_was_measured() -> None:
    """A mean that one slow request has spoilt must not refuse for ever."""

    async def scenario() -> None:
        slots = Slots(1, queue_max=0)
        await taught(slots, 0.3)
        assert (await slots.run(lambda: "done", stays, model="m", due=time.perf_counter() + 0.05))[0] == "done"

    asyncio.run(scenario())


def test_a_deadline_that_went_by_in_the_queue_is_not_worked_for() -> None:
    async def scenario() -> None:
        slots, work, late = Slots(1, queue_max=2), Work(), Work()
        first = asyncio.create_task(slots.run(work, stays, model="m"))
        await until(lambda: work.running == 1)
        # Nothing is known of the service time yet: it is admitted, and then its time goes by.
        second = asyncio.create_task(slots.run(late, stays, model="m", due=time.perf_counter() + 0.1))
        await until(lambda: slots.waiting == 1)
        await asyncio.sleep(0.2)
        work.go.set()
        with pytest.raises(DeadlineUnmet):
            await second
        await first
        await until(lambda: slots.running == 0)
        assert late.most == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("seed", range(4))
def test_whatever_callers_do_no_slot_is_lost_and_none_is_doubled(seed: int) -> None:
    async def scenario() -> None:
        chance, slots = random.Random(seed), Slots(3, queue_max=8)  # noqa: S311
        lock, running, most = threading.Lock(), 0, 0

        def work(seconds: float) -> None:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(seconds)
            with lock:
                running -= 1

        async def caller() -> None:
            await asyncio.sleep(chance.uniform(0, 0.3))
            seconds, patience = chance.uniform(0, 0.01), chance.choice([0.0, 0.004, 0.01, 0.02, 5.0])
            try:
                if chance.random() < 0.5:
                    await slots.run(lambda: work(seconds), lambda: asyncio.sleep(patience))
                else:
                    await asyncio.wait_for(slots.run(lambda: work(seconds), stays), patience)
            except (Overloaded, ClientGone, TimeoutError):
                pass

        await asyncio.gather(*(caller() for _ in range(300)))
        await until(lambda: slots.running == 0)
        assert (slots.waiting, running) == (0, 0)
        assert 1 <= most <= 3

    asyncio.run(scenario())
