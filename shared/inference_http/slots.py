"""Bounded admission: a few requests compute, a few wait, the next is refused at once.

A slot belongs to its *thread*: it is free again when the thread has ended, not when the handler has. A server that
frees it earlier (a timeout, a client that left) starts more work than the machine was sized for, exactly when it is
already late (bentoml/BentoML#5642).
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from time import perf_counter
from typing import TypeVar

from inference_core.errors import Overloaded

from inference_http.problems import ClientGone

T = TypeVar("T")
Gone = Callable[[], Awaitable[None]]
"""Returns when the client has left."""

_NEWEST_SHARE = 0.2
"""Weight of the newest service time in the moving mean."""


class Slots:
    """`count` works run at once on threads of their own, `queue_max` wait in order of arrival.

    All bookkeeping happens in one event loop, so it needs no lock.
    """

    def __init__(self, count: int, queue_max: int) -> None:
        self.count = count
        self.queue_max = queue_max
        self.running = 0
        """Slots whose thread has not ended yet."""
        self.refused = 0
        """Requests refused since the start."""
        self._places: dict[asyncio.Future[None], None] = {}  # in order of arrival, and quick to leave
        self._mean_s = 0.0
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="slot")

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._places)

    def refuse_if_full(self) -> None:
        """Raise Overloaded when one more request would find no place, for example before its body is read."""
        if self.running >= self.count and len(self._places) >= self.queue_max:
            self.refused += 1
            raise Overloaded(
                f"{self.count} at work and {self.queue_max} waiting is all this service takes.",
                retry_after_s=self.retry_after_s(),
            )

    def retry_after_s(self) -> int:
        """Whole seconds, at least 1, until the queue as it stands should be worked off."""
        return max(1, math.ceil(self._mean_s * (len(self._places) + 1) / self.count))

    async def run(self, work: Callable[[], T], gone: Gone) -> tuple[T, float]:
        """What `work` returns, run on a thread, and the milliseconds it waited for its slot.

        Raises Overloaded at once when the queue is full, ClientGone when the client leaves while it waits, and what
        `work` raises. When the caller is cancelled, a waiting place is free at once, a slot when its thread ends.
        """
        arrived = perf_counter()
        await self._enter(gone)
        started = perf_counter()
        future = self._start(work, started)
        return await asyncio.wrap_future(future), (started - arrived) * 1e3

    def close(self) -> None:
        """Take no more work; threads that run end in their own time."""
        self._pool.shutdown(wait=False)

    async def _enter(self, gone: Gone) -> None:
        self.refuse_if_full()
        if self.running < self.count:
            self.running += 1
            return
        place = asyncio.get_running_loop().create_future()
        self._places[place] = None
        watcher = asyncio.create_task(_give_up(place, gone))
        try:
            await place
        except BaseException:
            if place.done() and not place.cancelled() and place.exception() is None:
                self._pass_on()  # the slot was handed over in the moment the request gave up
            raise
        finally:
            self._places.pop(place, None)
            watcher.cancel()

    def _start(self, work: Callable[[], T], started: float) -> Future[T]:
        loop = asyncio.get_running_loop()

        def ended(_: Future[T]) -> None:
            # Runs on the thread that ended. At shutdown the loop may be gone, and nobody counts any more.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._leave, perf_counter() - started)

        try:
            future = self._pool.submit(work)
        except BaseException:
            self._pass_on()
            raise
        future.add_done_callback(ended)
        return future

    def _leave(self, spent_s: float) -> None:
        share = _NEWEST_SHARE if self._mean_s else 1.0
        self._mean_s += share * (spent_s - self._mean_s)
        self._pass_on()

    def _pass_on(self) -> None:
        """Hand a slot to whoever waits longest and still waits, or count it free."""
        while self._places:
            place = next(iter(self._places))
            del self._places[place]
            if not place.done():
                place.set_result(None)
                return
        self.running -= 1


async def _give_up(place: asyncio.Future[None], gone: Gone) -> None:
    await gone()
    if not place.done():
        place.set_exception(ClientGone)
