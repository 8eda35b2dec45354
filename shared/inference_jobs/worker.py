"""Computes jobs: one thread for each that may run at the same time. Inside the service or in a process of its own."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

import orjson
from inference_core.errors import InferenceError, Stopped
from inference_core.registry import Registry
from inference_core.results import Prediction

from inference_jobs.claims import Claim, ClaimLost, Claims
from inference_jobs.counts import JobCounts
from inference_jobs.errors import JobDeadline, JobExpired, JobFailed, StoreFull, StoreUnavailable
from inference_jobs.heartbeat import Heartbeat
from inference_jobs.job import Job, Progress
from inference_jobs.jobs import Jobs

_LOG = logging.getLogger("inference.jobs")
_IDLE_S_MIN, _IDLE_S_MAX = 0.05, 1.0
_BACK_OFF_S_MAX = 5.0
_RELEASE_S = 10.0
Encode = Callable[[Prediction], bytes]
"""A prediction as the bytes that the synchronous route replies with."""


class Gate(Protocol):
    """Who may compute when; in the service, requests come first."""

    def enter(self, stopping: threading.Event) -> bool:
        """Wait for a place to compute; False when `stopping` was set first."""
        ...

    def leave(self) -> None:
        """Give the place back."""
        ...

    def rest(self) -> None:
        """Between two steps of a job: let those compute who come first, then go on."""
        ...


class OpenGate:
    """For a process that does nothing else: every worker may always compute."""

    def enter(self, stopping: threading.Event) -> bool:
        """See Gate."""
        return not stopping.is_set()

    def leave(self) -> None:
        """See Gate."""

    def rest(self) -> None:
        """See Gate."""


class Worker:
    """Takes jobs for the models of `registry` and computes them, until it is stopped."""

    def __init__(self, jobs: Jobs, registry: Registry, encode: Encode, gate: Gate) -> None:
        self._registry, self._encode, self._gate = registry, encode, gate
        self._store, self._settings = jobs.store, jobs.settings
        self._claims = Claims(jobs, {pipeline.manifest.name for pipeline in registry})
        self.counts = JobCounts()
        self._stopping = threading.Event()
        self._awake = threading.Event()
        self._at_work: set[Heartbeat] = set()
        self._threads: list[threading.Thread] = []

    def start(self, count: int) -> None:
        """Compute up to `count` jobs at the same time."""
        self._threads = [threading.Thread(target=self._run, name=f"job-{number}") for number in range(count)]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Look into the queue now: a job was just put there."""
        self._awake.set()

    def drain(self) -> None:
        """Compute in this thread until the queue is empty."""
        while self._work():
            pass

    def stop(self, grace_s: float) -> None:
        """Take no more jobs. Those at work may go on for `grace_s`, then are handed back. Returns when all have ended,
        or some seconds later: what then still runs does not know how to stop, and its lease will run out.
        """
        self._stopping.set()
        self._awake.set()
        give_up_at = time.monotonic() + grace_s
        for thread in self._threads:
            thread.join(max(0.0, give_up_at - time.monotonic()))
        for heartbeat in set(self._at_work):
            heartbeat.stop("stopping")
        for thread in self._threads:
            thread.join(max(0.0, give_up_at + _RELEASE_S - time.monotonic()))

    def _run(self) -> None:
        idle_s = _IDLE_S_MIN
        while not self._stopping.is_set():
            try:
                idle_s = _IDLE_S_MIN if self._work() else min(idle_s * 1.5, _IDLE_S_MAX)
            except (StoreUnavailable, StoreFull) as error:
                _LOG.warning("the store: %s", error)
                idle_s = _BACK_OFF_S_MAX
            except Exception:  # a worker outlives whatever one job does
                _LOG.exception("a worker failed")
                idle_s = _BACK_OFF_S_MAX
            if idle_s > _IDLE_S_MIN:
                self._awake.wait(idle_s)
                self._awake.clear()

    def _work(self) -> bool:
        """Take one job and compute it; whether there was one."""
        if not self._gate.enter(self._stopping):
            return False
        place = _Place(self._gate)
        try:
            if claim := self._claims.take():
                self._attempt(claim, place)
            return claim is not None
        finally:
            place.leave()

    def _attempt(self, claim: Claim, place: "_Place") -> None:
        with Heartbeat(self._claims, claim, lease_s=self._settings.jobs_lease_s) as heartbeat:
            self._at_work.add(heartbeat)
            started = time.monotonic()
            try:
                word, end = self._compute(claim, heartbeat)
                place.leave()  # what is left is writing: the next may compute
                _write(end, heartbeat)
            except ClaimLost as loss:
                word = "lost"
                _LOG.warning("job=%s: %s", claim.job.id, loss)
            finally:
                self._at_work.discard(heartbeat)
            self.counts.attempt(word, time.monotonic() - started)

    def _compute(self, claim: Claim, heartbeat: Heartbeat) -> tuple[str, Callable[[], None]]:
        """Compute the job; how that ended, and what is then to be written down."""
        claims, started = self._claims, time.monotonic()
        try:
            reply = self._reply(claim, heartbeat)
        except Stopped:
            match heartbeat.stop_reason:
                case "late":
                    problem = JobDeadline("The deadline passed while the job was computed.").problem()
                    return "failed", lambda: claims.fail(claim, problem, may_retry=False)
                case "stopping":
                    return "handed_back", lambda: claims.release(claim)
            raise ClaimLost("stopped") from None
        except (StoreUnavailable, StoreFull):
            return "handed_back", lambda: claims.release(claim)
        except InferenceError as error:
            problem, may_retry = error.problem(), _may_retry(error)
            return "failed", lambda: claims.fail(claim, problem, may_retry=may_retry)
        except Exception as error:
            _LOG.exception("job=%s attempt=%d failed", claim.job.id, claim.job.attempts)
            problem = JobFailed("The service failed on this job; its log has the cause.").problem()
            problem["cause"] = f"{type(error).__name__}: {error}"
            return "failed", lambda: claims.fail(claim, problem, may_retry=True)
        _LOG.info("job=%s computed in %.1f s", claim.job.id, time.monotonic() - started)
        return "computed", lambda: claims.succeed(claim, reply)

    def _reply(self, claim: Claim, heartbeat: Heartbeat) -> bytes:
        """What the synchronous route would have replied; for several pictures, a list of that."""
        job = claim.job
        replies = []
        for index, key in enumerate(job.input_keys):
            try:
                replies.append(self._encode(self._predict(job, index, key, heartbeat)))
            except InferenceError as error:
                if job.images == 1 or _may_retry(error):
                    raise
                # One picture that cannot be read takes none of the others' answers away.
                replies.append(orjson.dumps(error.problem()))
            heartbeat.progress = Progress(index + 1)
        return replies[0] if job.images == 1 else b'{"replies":[' + b",".join(replies) + b"]}"

    def _predict(self, job: Job, index: int, key: str, heartbeat: Heartbeat) -> Prediction:
        def begun() -> None:
            wait_s = time.time() - job.created_at
            self.counts.first_tile(wait_s)
            _LOG.info("job=%s first tile after %.3f s", job.id, wait_s)

        body = self._store.get(key)
        if body is None:
            raise JobExpired("A picture of the job is gone from the store.")
        watch = _Between(self._gate, heartbeat, index, begun if index == 0 else None)
        return self._registry.find(job.model).predict(body, scale=job.scale, watch=watch)


class _Between:
    """The `Watch` of one picture of a job: between two steps it reports how far the job is and lets requests go first.
    `begun` is called before the first of them.
    """

    def __init__(self, gate: Gate, heartbeat: Heartbeat, index: int, begun: Callable[[], None] | None) -> None:
        self._gate, self._heartbeat, self._index, self._begun = gate, heartbeat, index, begun

    def __call__(self, done: int, of: int) -> None:
        begun, self._begun = self._begun, None
        if begun:
            begun()
        self._heartbeat.progress = Progress(self._index, done, of)
        self.wanted()
        self._gate.rest()

    def wanted(self) -> None:
        """Raise Stopped when the job should end. Asked while a step waits in a queue: it must not rest there, for those
        whom it would let go first may wait behind it in the same queue.
        """
        self._heartbeat.check()


class _Place:
    """A place behind the gate, given back once."""

    def __init__(self, gate: Gate) -> None:
        self._gate: Gate | None = gate

    def leave(self) -> None:
        gate, self._gate = self._gate, None
        if gate:
            gate.leave()


def _may_retry(error: InferenceError) -> bool:
    """Whether the fault may be ours, or pass; a picture that cannot be read never can."""
    return error.status >= 500


def _write(end: Callable[[], None], heartbeat: Heartbeat) -> None:
    """Write the end down, however often the store fails; it may be full for hours. The lease is kept meanwhile."""
    back_off_s = 0.1
    while True:
        try:
            return end()
        except (StoreUnavailable, StoreFull) as error:
            _LOG.warning("the end of a job cannot be written yet: %s", error)
            if heartbeat.stop_reason:
                raise ClaimLost("given up before its end could be written") from None
            time.sleep(back_off_s)
            back_off_s = min(back_off_s * 2, _BACK_OFF_S_MAX)
