"""Work of second rank shares the slots with requests."""

import asyncio
from collections.abc import Awaitable, Callable
from time import sleep
from typing import Any

from inference_http.second_rank import SecondRank
from inference_http.slots import Slots

STEP_S = 0.02


async def _never() -> None:
    await asyncio.Event().wait()


async def rounds(slots: Slots, count: int) -> None:
    """Second rank's work in so many steps, resting between them."""
    await slots.enter_second()
    for _ in range(count):
        await asyncio.to_thread(sleep, STEP_S)
        await slots.rest_second(STEP_S)
    slots.leave_second(STEP_S)


def in_loop(scene: Callable[[Slots], Awaitable[Any]], *, count: int = 1, share: float = 0.0) -> Any:
    """What `scene` gives, played with some slots."""

    async def play() -> Any:
        slots = Slots(count, 16)
        slots.second.share = share
        try:
            return await scene(slots)
        finally:
            assert slots.running == 0, "a slot was lost"
            slots.close()

    return asyncio.run(play())


def test_it_computes_where_nobody_else_does() -> None:
    async def scene(slots: Slots) -> None:
        await rounds(slots, 3)

    in_loop(scene)


def test_a_request_waits_for_one_step_of_it_not_for_its_end() -> None:
    async def scene(slots: Slots) -> bool:
        job = asyncio.create_task(rounds(slots, 50))
        await asyncio.sleep(STEP_S)
        await slots.run(lambda: sleep(STEP_S), _never)
        was_first = not job.done()
        await job
        return was_first

    assert in_loop(scene)


def test_without_a_share_it_stands_still_as_long_as_requests_wait() -> None:
    async def scene(slots: Slots) -> bool:
        job = asyncio.create_task(rounds(slots, 3))
        await asyncio.sleep(0)
        requests = [asyncio.create_task(slots.run(lambda: sleep(STEP_S), _never)) for _ in range(6)]
        await asyncio.gather(*requests[:-1])
        is_waiting = not job.done()
        await asyncio.gather(job, *requests)
        return is_waiting

    assert in_loop(scene)


def test_with_a_share_it_goes_on_while_requests_wait() -> None:
    async def scene(slots: Slots) -> int:
        order: list[str] = []

        async def request() -> None:
            await slots.run(lambda: sleep(STEP_S), _never)
            order.append("request")

        async def job() -> None:
            await rounds(slots, 4)
            order.append("job")

        first = asyncio.create_task(job())
        await asyncio.sleep(0)
        await asyncio.gather(first, *[asyncio.create_task(request()) for _ in range(12)])
        return order.index("job")

    assert in_loop(scene, share=0.5) < 12


def test_several_in_second_rank_take_turns_over_the_slots() -> None:
    async def scene(slots: Slots) -> None:
        await asyncio.gather(*[rounds(slots, 3) for _ in range(5)])

    in_loop(scene, count=2)


def test_whoever_stops_waiting_leaves_no_slot_behind() -> None:
    async def scene(slots: Slots) -> None:
        await slots.enter_second()
        waiting = asyncio.create_task(slots.enter_second())
        await asyncio.sleep(0)
        waiting.cancel()
        slots.leave_second(0)
        await asyncio.gather(waiting, return_exceptions=True)
        await rounds(slots, 1)

    in_loop(scene)


def test_its_share_of_the_time_is_what_was_stated() -> None:
    rank = SecondRank(0.2)
    second_s, first_s = 0.0, 0.0
    for _ in range(1000):
        if rank.is_due:
            rank.count_second(0.1)
            second_s += 0.1
        else:
            rank.count_first(0.1)
            first_s += 0.1
    assert abs(second_s / (first_s + second_s) - 0.2) < 0.01
