"""Tiles of different requests share the runs of one model.

A batch leaves when it is full, or when the GPU has nothing to do and the oldest tile has waited long enough. While the
GPU computes, gathering more costs nobody anything, but for the copy: the next batch leaves for it when nearly full.

Half of each batch is the oldest request's, the other half is dealt evenly: a small one rides in the next batch however
many tiles a large one brought, and yet requests end one after the other. (Dealt evenly alone, all that wait would end
at the same moment, and the GPU would then wait for all of them to decode their next pictures.) A batch that fails is
run again request by request: only the one at fault fails.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from threading import Condition, Thread
from time import perf_counter
from typing import Protocol

from inference_core.errors import DeviceLost, InvalidRequest, Overloaded

from gpu_api.counts import BatchCounts
from gpu_api.work import Outputs, Part, Tiles, Work

_LOG = logging.getLogger("inference.gpu")
Wanted = Callable[[], None]
"""Raises when nobody wants the answer any more. Called on the thread that asked for it."""

_LOOK_S = 0.05
"""How often a caller that waits looks whether its answer is still wanted."""
_THREADS = 2
"""One batch is copied while another computes."""
_NEARLY_FULL = 0.75
"""Of a batch, from which it is copied while another computes: where it waited until it was full or the other had ended,
the device would often have nothing to do for as long as the copy takes.
"""


class Runs(Protocol):
    """What computes batches, `bound.BoundRun` for one."""

    @property
    def batch_max(self) -> int:
        """Tiles of one run."""
        ...

    def __call__(self, parts: Sequence[Tiles]) -> Outputs:
        """The outputs of all tiles of `parts`, in order."""
        ...

    def takes(self, tiles: Tiles) -> bool:
        """Whether `tiles` have the shape and type of the graph's."""
        ...

    def padded(self, count: int) -> int:
        """How many tiles are computed for `count`."""
        ...

    def check(self) -> None:
        """Raise DeviceLost when no further run can succeed."""
        ...


class Batcher:
    """Takes the place of a session's run. Callers block: they are as many as there are slots."""

    def __init__(
        self, runs: Runs, *, wait_ms: float, tiles_max: int, lost: Callable[[DeviceLost], None] | None = None
    ) -> None:
        """Callers are held while `tiles_max` tiles wait. `lost` is told, once, when the device is lost."""
        self.counts = BatchCounts()
        self.ended = perf_counter()
        """When a batch last ended well, on the clock of `perf_counter`."""
        self._runs, self._wait_s, self._tiles_max, self._lost = runs, wait_ms / 1e3, tiles_max, lost
        self._changed = Condition()
        self._works: deque[Work] = deque()
        self._doors: deque[object] = deque()
        self._tiles = 0
        """Tiles in `_works` that no batch has taken."""
        self._running = 0
        self._is_closed = False
        self._failure: DeviceLost | None = None
        # Daemons: a start that fails half-way must be able to end.
        self._threads = [Thread(target=self._serve, name=f"batch-{n}", daemon=True) for n in range(_THREADS)]
        for thread in self._threads:
            thread.start()

    def __call__(self, tiles: Tiles, wanted: Wanted | None = None) -> Outputs:
        """The outputs for `tiles`, in order. `tiles` must not change until it returns.

        Raises what the run of these tiles raised, what `wanted` raises (it is asked while tiles wait for a run; they
        are dropped then), InvalidRequest for tiles that are not the model's, Overloaded once closed and DeviceLost.
        """
        if not self._runs.takes(tiles):
            raise InvalidRequest(f"Tiles of shape {tiles.shape[1:]} and type {tiles.dtype} are not this model's.")
        work = Work(tiles)
        try:
            self._enter(work, wanted)
            while not work.ended.wait(_LOOK_S):
                if wanted and work.left:  # the last run will answer in a moment: its work is not thrown away
                    wanted()
        except BaseException:
            self._withdraw(work)
            raise
        if work.error:
            raise work.error
        return work.outputs()

    def close(self) -> None:
        """Take no more, finish what waits, then end."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _enter(self, work: "Work", wanted: Wanted | None) -> None:
        """Queue `work` as soon as there is room, first come first served. `wanted` is asked without the lock: it may
        itself wait for others.
        """
        door = object()
        with self._changed:
            self._doors.append(door)
        try:
            while not self._is_let_in(work, door):
                if wanted:
                    wanted()
        finally:
            with self._changed:
                self._doors.remove(door)
                self._changed.notify_all()

    def _is_let_in(self, work: "Work", door: object) -> bool:
        """Queue `work` if there is room and nobody is before it; else wait a moment for that."""
        with self._changed:
            self._require_open()
            if not self._has_room(work) or self._doors[0] is not door:
                self._changed.wait(_LOOK_S)
                return False
            work.arrived = perf_counter()
            self._works.append(work)
            self._tiles += work.left
            return True

    def _has_room(self, work: "Work") -> bool:
        return not self._tiles or self._tiles + work.left <= self._tiles_max

    def _require_open(self) -> None:
        if self._failure:
            raise DeviceLost(self._failure.detail)
        if self._is_closed:
            raise Overloaded("The service is stopping.", retry_after_s=15)

    def _withdraw(self, work: "Work") -> None:
        with self._changed:
            if work in self._works:
                self._works.remove(work)
                self._tiles -= work.left
                self.counts.dropped += work.left
                self._changed.notify_all()

    def _serve(self) -> None:
        while parts := self._gathered():
            try:
                self._answer(parts)
            except Exception as error:  # nobody else would: the callers would wait for ever
                _LOG.exception("a batch was given up")
                for part in parts:
                    self._withdraw(part.work)
                    part.work.fail(error)
            finally:
                with self._changed:
                    self._running -= 1
                    self._changed.notify_all()

    def _gathered(self) -> "list[Part]":
        """The next batch, once it is due; nothing when closed and empty."""
        with self._changed:
            while not self._is_due():
                if self._is_closed and not self._tiles:
                    return []
                self._changed.wait(self._due_s())
            self._running += 1
            parts = self._dealt()
            self._changed.notify_all()  # there is room for those at the door
            return parts

    def _is_due(self) -> bool:
        if self._running:
            return self._tiles >= _NEARLY_FULL * self._runs.batch_max
        return self._tiles >= self._runs.batch_max or (bool(self._tiles) and (self._is_closed or self._due_s() == 0))

    def _due_s(self) -> float | None:
        """Seconds until the oldest tile has waited long enough; None while that does not matter."""
        if not self._tiles or self._running:
            return None
        return max(0.0, min(work.arrived for work in self._works) + self._wait_s - perf_counter())

    def _dealt(self) -> "list[Part]":
        """Up to a full batch: half for the oldest work, the rest dealt evenly among the others, and what they leave is
        the oldest's again. Who had their turn goes to the end of the line.
        """
        room = self._runs.batch_max
        shares: dict[Work, int] = {}
        oldest = min(self._works, key=lambda work: work.arrived)
        if half := min(oldest.left, room // 2):
            shares[oldest] = half
            room -= half
            self._works.remove(oldest)
        room = self._deal_evenly(room, shares)
        if half:
            shares[oldest] += min(room, oldest.left - half)
            if shares[oldest] < oldest.left:
                self._works.append(oldest)
        now = perf_counter()
        self._tiles -= sum(shares.values())
        for work in shares:
            self.counts.waited(now - work.arrived)
        return [work.take(share) for work, share in shares.items()]

    def _deal_evenly(self, room: int, shares: dict[Work, int]) -> int:
        """Add the shares of those in line to `shares`; the room that is left."""
        while room and self._works:
            fair = max(1, room // len(self._works))
            for _ in range(min(len(self._works), room)):
                work = self._works.popleft()
                taken = min(fair, work.left - shares.get(work, 0), room)
                shares[work] = shares.get(work, 0) + taken
                room -= taken
                if shares[work] < work.left:
                    self._works.append(work)
        return room

    def _answer(self, parts: "list[Part]") -> None:
        try:
            self._run(parts)
        except Exception as error:  # onnxruntime raises a dozen unrelated classes here
            if self._is_lost(error):
                return self._give_up(parts)
            if len(parts) == 1:
                _LOG.warning("a run of %d tiles failed: %s", parts[0].count, error)
                self._withdraw(parts[0].work)
                return parts[0].work.fail(error)
            for part in parts:
                self._answer([part])

    def _run(self, parts: "list[Part]") -> None:
        count = sum(part.count for part in parts)
        outputs = self._runs([part.tiles for part in parts])
        with self._changed:
            self.ended = perf_counter()
            self.counts.ran(count, self._runs.padded(count))
            first = 0
            for part in parts:
                part.give(outputs[first : first + part.count])
                first += part.count

    def _is_lost(self, error: Exception) -> bool:
        try:
            self._runs.check()
        except DeviceLost as lost:
            with self._changed:
                is_news = not self._failure
                self._failure = lost
            if is_news and self._lost:
                self._lost(DeviceLost(f"{lost.detail} It came to light by: {error}"))
            return True
        return False

    def _give_up(self, parts: "list[Part]") -> None:
        with self._changed:
            failure = self._failure
            waiting, self._tiles = list(self._works), 0
            self._works.clear()
            self._is_closed = True
            self._changed.notify_all()
        assert failure is not None
        for work in {*waiting, *(part.work for part in parts)}:
            work.fail(DeviceLost(failure.detail))
