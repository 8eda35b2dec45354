"""What a worker does with jobs: compute, keep, retry, give up, hand back. On every store."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from inference_core.registry import Pipeline
from inference_jobs.claims import ClaimLost, Claims
from inference_jobs.errors import JobFailed
from inference_jobs.job import Progress
from inference_jobs.jobs import POISON, QUEUE, Jobs
from inference_jobs.poison import poison_list, requeue
from inference_jobs.store import Store
from inference_jobs.worker import OpenGate

from tests.shared.inference_jobs.services import (
    MODEL,
    PICTURE,
    WIDE,
    Queued,
    Troubled,
    encode,
    finished,
    jobs_in,
    registry_of,
    submitted,
    until,
    without_timings,
    working,
)


@pytest.fixture
def jobs(store: Store) -> Jobs:
    return jobs_in(store)


@pytest.fixture
def pipeline(models_dir: Path) -> Pipeline:
    return registry_of(models_dir).find(MODEL)


def slow() -> None:
    time.sleep(0.1)


def broken() -> None:
    raise RuntimeError("the card fell out")


def test_the_result_is_the_reply_of_the_synchronous_call(jobs: Jobs, pipeline: Pipeline) -> None:
    name = submitted(jobs, WIDE)
    with working(jobs, pipeline):
        assert finished(jobs, name) == "succeeded"
    assert without_timings(jobs.result(name)) == without_timings(encode(pipeline.predict(WIDE)))
    job = jobs.find(name)
    assert (job.attempts, job.claims, job.progress.images_done) == (1, 1, 1)
    assert jobs.store.get(job.input_keys[0]) is None, "the picture is not kept longer than needed"
    assert jobs.store.length(QUEUE) == 0


def test_a_job_of_several_pictures_has_a_reply_for_each_in_order_also_beside_a_bad_one(
    jobs: Jobs, pipeline: Pipeline
) -> None:
    name = submitted(jobs, PICTURE, b"no picture", WIDE)
    with working(jobs, pipeline):
        assert finished(jobs, name) == "succeeded"
    one, two = (encode(pipeline.predict(body))[:40] for body in (PICTURE, WIDE))
    reply = jobs.result(name)
    assert reply.startswith(b'{"replies":[' + one)
    assert reply.index(one) < reply.index(b"unsupported_media") < reply.rindex(two)


def test_progress_is_told_in_tiles(jobs: Jobs, pipeline: Pipeline) -> None:
    name = submitted(jobs, WIDE)
    with working(jobs, Troubled(pipeline, lambda: time.sleep(0.6))):
        seen = until(lambda: jobs.find(name), lambda job: 0 < job.progress.tiles_done < job.progress.tiles)
        assert seen.status == "running"
        jobs.cancel(name)


def test_a_cancelled_job_never_runs(jobs: Jobs, pipeline: Pipeline) -> None:
    first, second = submitted(jobs), submitted(jobs)
    jobs.cancel(first)
    watched = Troubled(pipeline)
    with working(jobs, watched):
        assert finished(jobs, second) == "succeeded"
    assert watched.calls == 1
    assert jobs.find(first).status == "cancelled"


def test_a_running_job_that_is_cancelled_stops_between_tiles_and_the_next_one_runs(
    jobs: Jobs, pipeline: Pipeline
) -> None:
    endless = Troubled(pipeline, slow)
    name, tiles = submitted(jobs, *[WIDE] * 50), 50 * 14
    with working(jobs, endless):
        assert endless.at_work.wait(20)
        jobs.cancel(name)
        assert finished(jobs, submitted(jobs)) == "succeeded"
    assert jobs.find(name).status == "cancelled"
    assert endless.calls < 50 < tiles


def test_a_job_that_waits_in_a_queue_does_not_rest_there(jobs: Jobs, pipeline: Pipeline) -> None:
    """The requests that it would let go first may wait behind it."""
    queued = Queued(pipeline)
    rests: list[bool] = []

    class Resting(OpenGate):
        def rest(self) -> None:
            rests.append(queued.waits.is_set())

    name = submitted(jobs, WIDE)
    with working(jobs, queued.pipeline, gate=Resting()):
        assert queued.waits.wait(20)
        time.sleep(0.1)
        queued.go.set()
        assert finished(jobs, name) == "succeeded"
    assert rests
    assert not any(rests)


def test_a_job_that_is_cancelled_while_it_waits_in_a_queue_stops_there(jobs: Jobs, pipeline: Pipeline) -> None:
    queued, name = Queued(pipeline), submitted(jobs)
    with working(jobs, queued.pipeline):
        assert queued.waits.wait(20)
        jobs.cancel(name)
        # With the queue at a stand, only a worker that left it can have taken the next one.
        queued.waits.clear()
        next_one = submitted(jobs)
        assert queued.waits.wait(20)
        queued.go.set()
        assert finished(jobs, next_one) == "succeeded"
    assert jobs.find(name).status == "cancelled"


def test_a_job_that_always_fails_is_poison_after_its_attempts_and_blocks_nobody(jobs: Jobs, pipeline: Pipeline) -> None:
    troubled = Troubled(pipeline, broken)
    name = submitted(jobs)
    with working(jobs, troubled):
        assert finished(jobs, name) == "failed"
        troubled.trouble = lambda: None
        assert finished(jobs, submitted(jobs)) == "succeeded"
    job = jobs.find(name)
    assert job.attempts == jobs.settings.jobs_attempts_max
    assert "fell out" not in str(job.document())
    (entry,) = poison_list(jobs)
    assert (entry.job, entry.attempts) == (name, 3)
    assert entry.reason["cause"] == "RuntimeError: the card fell out"


def test_a_poisoned_job_is_requeued_with_all_its_attempts(jobs: Jobs, pipeline: Pipeline) -> None:
    troubled = Troubled(pipeline, broken)
    names = [submitted(jobs), submitted(jobs)]
    with working(jobs, troubled):
        assert [finished(jobs, name) for name in names] == ["failed", "failed"]
        troubled.trouble = lambda: None
        assert requeue(jobs, names[0])
        assert finished(jobs, names[0]) == "succeeded"
    assert [entry.job for entry in poison_list(jobs)] == [names[1]]
    assert jobs.store.length(POISON) == 1
    assert requeue(jobs, names[0]) is None


def test_what_can_never_be_answered_fails_at_once_and_is_no_poison(jobs: Jobs, pipeline: Pipeline) -> None:
    name = submitted(jobs, b"no picture")
    with working(jobs, pipeline):
        assert finished(jobs, name) == "failed"
    with pytest.raises(JobFailed) as failure:
        jobs.result(name)
    assert (failure.value.code, failure.value.status) == ("unsupported_media", 415)
    assert jobs.find(name).attempts == 1
    assert poison_list(jobs) == []


def test_a_worker_that_dies_is_replaced_when_its_lease_has_run_out(jobs: Jobs, pipeline: Pipeline) -> None:
    name = submitted(jobs)
    dead = Claims(jobs, {MODEL}).take()
    assert dead
    with working(jobs, pipeline):
        assert finished(jobs, name) == "succeeded"
    assert jobs.find(name).claims == 2


def test_a_job_whose_workers_always_die_is_poison_as_well(store: Store) -> None:
    jobs = jobs_in(store, jobs_lease_s=1, jobs_attempts_max=2)
    name = submitted(jobs)
    claims = Claims(jobs, {MODEL})
    until(lambda: claims.take() or jobs.find(name).status == "failed", lambda _: jobs.find(name).status == "failed")
    assert [entry.job for entry in poison_list(jobs)] == [name]


def test_a_worker_that_was_thought_dead_changes_nothing_when_it_comes_back(jobs: Jobs, pipeline: Pipeline) -> None:
    name = submitted(jobs)
    claims = Claims(jobs, {MODEL})
    sleeper = claims.take()
    assert sleeper
    with working(jobs, pipeline):
        assert finished(jobs, name) == "succeeded"
    reply = jobs.result(name)
    late_calls: list[Callable[[], None]] = [
        lambda: claims.keep(sleeper),
        lambda: claims.report(sleeper, Progress(0, 1, 2)),
        lambda: claims.fail(sleeper, {}, may_retry=True),
        lambda: claims.succeed(sleeper, b"late"),
        lambda: claims.release(sleeper),
    ]
    for late in late_calls:
        with pytest.raises(ClaimLost):
            late()
    assert jobs.result(name) == reply
    assert jobs.store.get(sleeper.job.result_key_of(1)) is None


def test_a_lease_is_renewed_for_as_long_as_the_work_takes(store: Store, pipeline: Pipeline) -> None:
    jobs = jobs_in(store, jobs_lease_s=1)
    name = submitted(jobs, *[WIDE] * 3)
    watched = Troubled(pipeline, slow)
    with working(jobs, watched, count=2):
        assert finished(jobs, name) == "succeeded"
    assert jobs.find(name).claims == 1
    assert watched.calls == 3


def test_a_deadline_ends_a_running_job(jobs: Jobs, pipeline: Pipeline) -> None:
    name = submitted(jobs, *[WIDE] * 50, deadline_s=1.5)
    with working(jobs, Troubled(pipeline, slow)):
        assert finished(jobs, name) == "failed"
    assert (jobs.find(name).error or {})["code"] == "job_deadline"


def test_a_worker_that_is_stopped_finishes_within_the_grace_time(jobs: Jobs, pipeline: Pipeline) -> None:
    watched = Troubled(pipeline, slow)
    name, next_one = submitted(jobs, WIDE), submitted(jobs)
    with working(jobs, watched, grace_s=30):
        assert watched.at_work.wait(20)
    assert jobs.find(name).status == "succeeded"
    assert jobs.find(next_one).status == "queued"


def test_beyond_the_grace_time_the_job_is_handed_back_and_counts_as_no_attempt(jobs: Jobs, pipeline: Pipeline) -> None:
    watched = Troubled(pipeline, slow)
    name = submitted(jobs, *[WIDE] * 50)
    with working(jobs, watched, grace_s=0):
        assert watched.at_work.wait(20)
    job = jobs.find(name)
    assert (job.status, job.attempts, job.claims) == ("queued", 0, 1)
    assert jobs.position(job) == 1


def test_a_job_of_another_services_model_is_left_to_others(jobs: Jobs, models_dir: Path) -> None:
    name = submitted(jobs)
    with working(jobs, registry_of(models_dir).find("sizes-linear")):
        time.sleep(0.5)
        assert jobs.find(name).status == "queued"
    assert jobs.find(name).attempts == 0


def test_two_messages_of_one_job_are_computed_once(jobs: Jobs, pipeline: Pipeline) -> None:
    name = submitted(jobs, WIDE)
    jobs.store.send(QUEUE, name.encode())
    watched = Troubled(pipeline, slow)
    with working(jobs, watched, count=2):
        assert finished(jobs, name) == "succeeded"
        until(lambda: jobs.store.length(QUEUE), lambda length: length == 0)
    assert watched.calls == 1


def test_several_workers_share_the_work_and_no_job_is_done_twice(jobs: Jobs, pipeline: Pipeline) -> None:
    names = [submitted(jobs) for _ in range(12)]
    watched = Troubled(pipeline)
    with working(jobs, watched, count=2), working(jobs, watched, count=2):
        assert {finished(jobs, name) for name in names} == {"succeeded"}
    assert watched.calls == 12
    assert threading.active_count() < 20
