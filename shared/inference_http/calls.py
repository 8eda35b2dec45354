"""How a call reaches its model: in the event loop where it is quick, else through a slot, whatever the call is."""

from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter, thread_time
from typing import TypeVar

from inference_core.compression import inflate, known_encoding
from inference_core.errors import MethodNotAllowed
from inference_core.manifest import TABULAR_TASKS
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from inference_http.body import SMALL_BYTES, Bodies, content_length, until_gone
from inference_http.edge import CALL, Call
from inference_http.flexible import Flexible
from inference_http.query import deadline_s
from inference_http.service import Service
from inference_http.slots import Gone, Slots

T = TypeVar("T")
Timings = Mapping[str, float]
Work = Callable[[bytes], tuple[T, Timings]]
"""From a body to an answer and the milliseconds of its steps; raises InferenceError."""

_INLINE_MEAN_S_MAX = 0.003
_NEWEST_SHARE = 0.1


class Calls:
    """Runs the calls to every model of `service`, and counts those that were answered."""

    def __init__(self, service: Service, slots: Slots) -> None:
        self._slots = slots
        self._bodies = Bodies(service.settings)
        self._bytes_max = service.settings.body_bytes_max
        self._deadline_ms = service.settings.deadline_ms
        self._stats = service.registry.stats
        self._paces = {p.manifest.name: _Pace(is_light=p.manifest.task in TABULAR_TASKS) for p in service.registry}
        # An injected delay sleeps; in the event loop it would stop health checks too.
        self._may_answer_inline = not service.settings.fault_delay_s

    @property
    def is_idle(self) -> bool:
        """Whether nothing computes or waits."""
        return not self._slots.running and not self._slots.waiting

    async def run(
        self, model: str, work: Work[T], scope: Scope, receive: Receive, stop: Callable[[], None] | None = None
    ) -> tuple[T, Timings]:
        """What `work` makes of the request's body, with the time in the queue among its timings. `stop` is called
        when the client leaves while a thread works. Raises what reading the body, waiting for a slot and `work` raise.
        """
        call: Call = scope[CALL]
        call.model = model
        wanted_s = deadline_s(scope["query_string"], self._deadline_ms)
        due = None if wanted_s is None else call.started + wanted_s
        pace = self._paces[model]
        if encoding := known_encoding(call.headers.get(b"content-encoding", b"").decode("latin-1")):
            # Never in the event loop: a kilobyte may hold a megabyte of zeros.
            work, pace = partial(_inflated, work, encoding, self._bytes_max), _Pace(is_light=False)
        if not self._is_inline(pace, content_length(call.headers)):
            self._slots.admit(model, due)  # before the body is read: overload must not fill the memory
        body = await self._bodies.read(scope, receive, call.headers)
        if self._is_inline(pace, len(body)):
            answer, timings_ms = pace.timed(work, body)
        else:
            gone = partial(until_gone, receive)
            thread = partial(pace.timed, work, body)
            (answer, timings_ms), queue_ms = await self._slots.run(thread, gone, model=model, due=due, stop=stop)
            timings_ms = {"queue": queue_ms, **timings_ms}
        self.count(call, model, timings_ms)
        return answer, timings_ms

    async def body(self, scope: Scope, receive: Receive, due: float | None) -> bytes:
        """The request's body, inflated, for work that looks at it before it is run flexibly. Raises what admission and
        reading raise.
        """
        call: Call = scope[CALL]
        encoding = known_encoding(call.headers.get(b"content-encoding", b"").decode("latin-1"))
        self._slots.admit(due=due)  # as above
        body = await self._bodies.read(scope, receive, call.headers)
        return await run_in_threadpool(inflate, body, encoding, bytes_max=self._bytes_max) if encoding else body

    async def run_flexible(
        self, work: Flexible[tuple[T, Timings]], gone: Gone, stop: Callable[[], None]
    ) -> tuple[T, Timings]:
        """What comes of `work`, with the time in the queue among its timings. Raises what waiting and `work` raise."""
        (answer, timings_ms), queue_ms = await self._slots.run_flexible(work, gone, stop=stop)
        return answer, {"queue": queue_ms, **timings_ms}

    def count(self, call: Call, model: str, timings_ms: Timings) -> None:
        """`call` was answered by `model`."""
        call.model, call.timings_ms = model, timings_ms
        self._stats[model].add(timings_ms)

    def _is_inline(self, pace: "_Pace", size_bytes: int | None) -> bool:
        """Whether to answer in the event loop. A few rows take microseconds: handing them to a thread and back would
        take several times longer, and they would queue behind pictures that take seconds.
        """
        return self._may_answer_inline and pace.is_quick and size_bytes is not None and size_bytes <= SMALL_BYTES


class _Pace:
    """How much processor time the calls to one model take of late."""

    def __init__(self, *, is_light: bool) -> None:
        self._is_light = is_light
        self._mean_s = 0.0

    @property
    def is_quick(self) -> bool:
        """Rows answered so quickly that the event loop does not notice (someone's own large model may not be)."""
        return self._is_light and self._mean_s <= _INLINE_MEAN_S_MAX

    def timed(self, work: Work[T], body: bytes) -> tuple[T, Timings]:
        """The answer. Time is the thread's own: waiting for a core says nothing about the model."""
        started_s = thread_time()
        try:
            return work(body)
        finally:
            self._mean_s += _NEWEST_SHARE * (thread_time() - started_s - self._mean_s)


def _inflated(work: Work[T], encoding: str, bytes_max: int, body: bytes) -> tuple[T, Timings]:
    started_s = perf_counter()
    body = inflate(body, encoding, bytes_max=bytes_max)
    spent_ms = (perf_counter() - started_s) * 1e3
    answer, timings_ms = work(body)
    return answer, {"inflate": spent_ms, **timings_ms}


def require_post(scope: Scope) -> None:
    """Raise MethodNotAllowed for any other method."""
    if scope["method"] != "POST":
        raise MethodNotAllowed(f"{scope['method']} is not taken here; POST is.", allow="POST")


async def send_answer(send: Send, kind: bytes, body: bytes, timings_ms: Timings, *more: tuple[bytes, bytes]) -> None:
    """Send `body` of the media type `kind` with its times as `Server-Timing`, and `more` headers."""
    timing = ", ".join([f"{stage};dur={spent_ms:.3f}" for stage, spent_ms in timings_ms.items()])
    headers = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        (b"server-timing", timing.encode()),
        *more,
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
