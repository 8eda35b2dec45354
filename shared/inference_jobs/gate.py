"""Inside the service a job computes in one of its slots, in second rank behind requests."""

import asyncio
import threading
from concurrent.futures import Future
from time import perf_counter

from inference_http.slots import Slots

_LOOK_S = 0.2


class SlotGate:
    """A `Gate` to `slots`, whose bookkeeping is done by `loop`. One for all the worker's threads."""

    def __init__(self, slots: Slots, loop: asyncio.AbstractEventLoop) -> None:
        self._slots, self._loop = slots, loop
        self._since = threading.local()

    def enter(self, stopping: threading.Event) -> bool:
        """See Gate."""
        entered = asyncio.run_coroutine_threadsafe(self._slots.enter_second(), self._loop)
        while not _is_done(entered):
            if stopping.is_set() and entered.cancel():
                return False
        entered.result()
        self._since.s = perf_counter()
        return True

    def leave(self) -> None:
        """See Gate."""
        self._loop.call_soon_threadsafe(self._slots.leave_second, perf_counter() - self._since.s)

    def rest(self) -> None:
        """See Gate. Where no request waits, nothing happens, and it costs nothing."""
        if self._slots.waiting:
            spent_s = perf_counter() - self._since.s
            asyncio.run_coroutine_threadsafe(self._slots.rest_second(spent_s), self._loop).result()
        self._since.s = perf_counter()


def _is_done(entered: "Future[None]") -> bool:
    try:
        entered.result(_LOOK_S)
    except TimeoutError:
        return entered.done()
    return True
