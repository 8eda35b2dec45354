"""What a client may rely on: submit, look, page, cancel, expire. On every store."""

import time

import pytest
from inference_jobs.errors import (
    IdempotencyConflict,
    JobCancelled,
    JobDeadline,
    JobExpired,
    JobFailed,
    JobNotFinished,
    JobNotFound,
    TooManyJobs,
)
from inference_jobs.jobs import QUEUE, Jobs
from inference_jobs.store import Store
from inference_jobs.sweep import sweep

from tests.shared.inference_jobs.services import PICTURE, WIDE, jobs_in, submitted


@pytest.fixture
def jobs(store: Store) -> Jobs:
    return jobs_in(store)


def test_a_new_job_waits_in_the_queue_in_its_place(jobs: Jobs) -> None:
    names = [submitted(jobs) for _ in range(3)]
    found = [jobs.find(name) for name in names]
    assert {job.status for job in found} == {"queued"}
    assert [jobs.position(job) for job in found] == [1, 2, 3]
    document = found[0].document(1)
    assert document["links"]["result"] == f"/v1/jobs/{names[0]}/result"
    assert document["created_at"].endswith("Z")


def test_a_job_without_an_answer_yet_has_no_result(jobs: Jobs) -> None:
    with pytest.raises(JobNotFinished, match="queued"):
        jobs.result(submitted(jobs))


@pytest.mark.parametrize("name", ["", "nothing", "0" * 31, "../../etc/passwd", "é" * 31])
def test_an_unknown_id_is_not_found(jobs: Jobs, name: str) -> None:
    with pytest.raises(JobNotFound):
        jobs.find(name)


def test_the_same_key_and_content_give_the_same_job_and_one_place_in_the_queue(jobs: Jobs) -> None:
    first = submitted(jobs, idempotency_key="order 7")
    assert submitted(jobs, idempotency_key="order 7") == first
    assert submitted(jobs, idempotency_key="order 8") != first
    assert jobs.store.length(QUEUE) == 2


def test_the_same_key_with_other_content_is_a_conflict(jobs: Jobs) -> None:
    submitted(jobs, idempotency_key="order 7")
    with pytest.raises(IdempotencyConflict):
        submitted(jobs, WIDE, idempotency_key="order 7")
    with pytest.raises(IdempotencyConflict):
        submitted(jobs, idempotency_key="order 7", scale=0.5)


def test_a_submission_that_was_cut_short_is_completed_by_the_same_one_again(jobs: Jobs, store: Store) -> None:
    class Cut(Exception):
        pass

    class Cutting:
        """The store of a process that ends when it is about to enqueue."""

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def send(self, *_: object, **__: object) -> None:
            raise Cut

    with pytest.raises(Cut):
        submitted(Jobs(Cutting(), jobs.settings), idempotency_key="order 9")  # type: ignore[arg-type]
    assert store.length(QUEUE) == 0
    name = submitted(jobs, idempotency_key="order 9")
    assert submitted(jobs, idempotency_key="order 9") == name
    assert store.length(QUEUE) == 1
    assert len(jobs.page(limit=9, token=None)[0]) == 1


def test_only_so_many_jobs_may_wait(store: Store) -> None:
    jobs = jobs_in(store, jobs_queue_max=2)
    submitted(jobs)
    submitted(jobs)
    with pytest.raises(TooManyJobs) as refusal:
        submitted(jobs)
    assert refusal.value.retry_after_s


def test_jobs_are_listed_in_pages_the_newest_first(jobs: Jobs) -> None:
    names = []
    for _ in range(5):
        names.append(submitted(jobs))
        time.sleep(0.002)
    first, token = jobs.page(limit=3, token=None)
    rest, end = jobs.page(limit=3, token=token)
    assert [job.id for job in first + rest] == names[::-1]
    assert end is None


def test_a_cancelled_job_has_no_result_and_its_picture_is_gone(jobs: Jobs) -> None:
    name = submitted(jobs)
    job = jobs.cancel(name)
    assert job.status == "cancelled"
    assert jobs.store.get(job.input_keys[0]) is None
    with pytest.raises(JobCancelled):
        jobs.result(name)
    assert jobs.cancel(name) == job


def test_a_job_whose_deadline_passes_in_the_queue_has_failed(jobs: Jobs) -> None:
    name = submitted(jobs, deadline_s=0.01)
    time.sleep(0.02)
    with pytest.raises(JobFailed) as failure:
        jobs.result(name)
    assert (failure.value.code, failure.value.status) == (JobDeadline.code, JobDeadline.status)
    assert jobs.find(name).status == "failed"


def test_what_is_finished_expires_and_is_forgotten_later(store: Store) -> None:
    jobs = jobs_in(store, jobs_keep_s=1)
    name, waiting = submitted(jobs, idempotency_key="order 1"), submitted(jobs)
    jobs.cancel(name)
    time.sleep(1.1)
    with pytest.raises(JobExpired):
        jobs.result(name)
    assert sweep(jobs) == 0
    time.sleep(1.0)
    assert sweep(jobs) == 1
    with pytest.raises(JobNotFound):
        jobs.find(name)
    assert jobs.find(waiting).status == "queued"
    assert store.get(jobs.find(waiting).input_keys[0]) == PICTURE
    assert submitted(jobs, idempotency_key="order 1") != name
