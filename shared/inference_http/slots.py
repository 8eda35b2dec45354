"""Bounded admission: a few requests compute, a few wait, the next is refused at once.

A slot belongs to its *thread*: it is free again when the thread has ended, not when the handler has. A server that
frees it earlier (a timeout, a client that left) starts more work than the machine was sized for, exactly when it is
already late (bentoml/BentoML#5642). What can end is the work itself: a client that leaves stops it between two steps.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import NoReturn, TypeVar

from inference_core.errors import DeadlineUnmet, Overloaded, Stopped

from inference_http.estimates import Estimates, Seconds
from inference_http.flexible import Flexible
from inference_http.problems import ClientGone
from inference_http.second_rank import SecondRank

T = TypeVar("T")
Gone = Callable[[], Awaitable[object]]
"""Returns when the client has left."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    most_s: Seconds
    due: float | None


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
        self._places: dict[asyncio.Future[None], _Waiting] = {}  # in order of arrival, and quick to leave
        self._estimates = Estimates()
        self.second = SecondRank()
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="slot")

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._places)

    def admit(self, model: str = "", due: float | None = None) -> None:
        """Raise Overloaded when one more request would find no place, DeadlineUnmet when its answer could not be
        expected before `due` (on the clock of `perf_counter`). For before its body is read, and once more after.

        A free slot is given in any case: nobody waits for it, and an estimate that is wrong is mended by trying.
        """
        if self.running < self.count:
            return
        if len(self._places) >= self.queue_max:
            self.refused += 1
            raise Overloaded(
                f"{self.count} at work and {self.queue_max} waiting is all this service takes.",
                retry_after_s=self.retry_after_s(),
            )
        if due is not None:
            late_s = perf_counter() + self.wait_s() + self._estimates.most_s(model) - due
            if late_s > 0:
                self._refuse_late(f"The answer would come {late_s:.3f} s after its deadline.", late_s)

    def wait_s(self) -> float:
        """Seconds that a request arriving now is expected to wait for its slot."""
        if self.running < self.count:
            return 0.0
        return self._estimates.wait_s(self.running, [waiting.most_s() for waiting in self._places.values()])

    def retry_after_s(self) -> int:
        """Whole seconds, at least 1, until the queue as it stands should be worked off."""
        return max(1, math.ceil(self.wait_s()))

    async def run(
        self,
        work: Callable[[], T],
        gone: Gone,
        *,
        model: str = "",
        due: float | None = None,
        stop: Callable[[], None] | None = None,
    ) -> tuple[T, float]:
        """What `work` returns, run on a thread, and the milliseconds it waited for its slot. `stop` is called when
        nobody wants the answer any more: `work` may then raise Stopped.

        Raises what `admit` raises; DeadlineUnmet when too much of the time until `due` went by in the queue; ClientGone
        when the client leaves; and what `work` raises. When the caller is cancelled, a waiting place is free at once,
        a slot when its thread ends.
        """
        arrived = perf_counter()
        self.admit(model, due)
        most_s = partial(self._estimates.most_s, model)
        waited = await self._enter(gone, _Waiting(most_s, due))
        started = perf_counter()
        if waited and due is not None and started + self._estimates.usual_s(model) > due:
            self._pass_on()
            self._refuse_late("The deadline went by in the queue.")
        future = self._start(work, most_s, started, partial(self._estimates.learn, model))
        return await self._answer(future, gone, stop), (started - arrived) * 1e3

    async def run_flexible(
        self, work: Flexible[T], gone: Gone, *, stop: Callable[[], None] | None = None
    ) -> tuple[T, float]:
        """The same for `work` whose form is chosen when it gets its slot, by the time that is left then. It is admitted
        when its shortest form would end in time, those who wait counted with theirs.

        Raises what `run` raises, and what `work.check` raises.
        """
        arrived = perf_counter()
        self.admit()
        with self._counted():
            work.check(self.wait_s())
        await self._enter(gone, _Waiting(work.least_s, work.due))
        started = perf_counter()
        try:
            with self._counted():
                chosen, most_s = work.begin(self._spares(started))
        except BaseException:
            self._pass_on()
            raise
        future = self._start(chosen, lambda: most_s, started)
        return await self._answer(future, gone, stop), (started - arrived) * 1e3

    def _spares(self, now: float) -> Callable[[float], bool]:
        """Whether work that begins `now` and takes so many seconds leaves those who wait as much."""
        queue = [(w.most_s(), math.inf if w.due is None else w.due - now) for w in self._places.values()]
        return lambda taken_s: self._estimates.leaves_time(self.count, taken_s, queue)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        try:
            yield
        except Overloaded:
            self.refused += 1
            raise

    async def _answer(self, future: Future[T], gone: Gone, stop: Callable[[], None] | None) -> T:
        watcher = asyncio.create_task(_tell(gone, stop)) if stop else None
        try:
            return await asyncio.wrap_future(future)
        except Stopped:
            raise ClientGone from None
        except asyncio.CancelledError:
            if stop:
                stop()
            raise
        finally:
            if watcher:
                watcher.cancel()

    async def enter_second(self) -> None:
        """Take a slot in second rank (second_rank.py) for a thread of the caller's own; `leave_second` gives it
        back.
        """
        if self.running < self.count:
            self.running += 1
            return
        place = asyncio.get_running_loop().create_future()
        self.second.places[place] = None
        try:
            await place
        except BaseException:
            if place.done() and not place.cancelled():
                self._pass_on()
            raise
        finally:
            self.second.places.pop(place, None)

    def leave_second(self, spent_s: float) -> None:
        """Give back a slot of second rank that was used for `spent_s` since it was taken or last rested."""
        if self._places:
            self.second.count_second(spent_s)
        self._pass_on()

    async def rest_second(self, spent_s: float) -> None:
        """The same, and take it again: at once where no request waits, or second rank has not had its share yet."""
        if not self._places:
            return
        self.second.count_second(spent_s)
        if not self.second.is_due:
            self._pass_on()
            await self.enter_second()

    def close(self) -> None:
        """Take no more work; threads that run end in their own time."""
        self._pool.shutdown(wait=False)

    def _refuse_late(self, detail: str, late_s: float = 0.0) -> NoReturn:
        self.refused += 1
        raise DeadlineUnmet(detail, retry_after_s=max(1, math.ceil(late_s)))

    async def _enter(self, gone: Gone, waiting: _Waiting) -> bool:
        """Take a slot; whether it had to be waited for."""
        if self.running < self.count:
            self.running += 1
            return False
        place = asyncio.get_running_loop().create_future()
        self._places[place] = waiting
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
        return True

    def _start(
        self, work: Callable[[], T], most_s: Seconds, started: float, learn: Callable[[float], None] | None = None
    ) -> Future[T]:
        """`work` on its thread; `learn` is told how many seconds it took."""
        loop = asyncio.get_running_loop()
        name = object()

        def ended(_: Future[T]) -> None:
            # Runs on the thread that ended. At shutdown the loop may be gone, and nobody counts any more.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._leave, name, perf_counter() - started, learn)

        try:
            future = self._pool.submit(work)
        except BaseException:
            self._pass_on()
            raise
        self._estimates.begin(name, most_s, started)
        future.add_done_callback(ended)
        return future

    def _leave(self, work: object, spent_s: float, learn: Callable[[float], None] | None) -> None:
        self._estimates.end(work)
        if learn:
            learn(spent_s)
        self.second.count_first(spent_s)
        self._pass_on()

    def _pass_on(self) -> None:
        """Hand a slot to whoever waits longest and still waits, or count it free."""
        if self.second.next(requests_wait=bool(self._places)):
            return
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


async def _tell(gone: Gone, stop: Callable[[], None]) -> None:
    await gone()
    stop()
