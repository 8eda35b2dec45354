"""Jobs over HTTP: a real application on tiny models, served by uvicorn, with its worker in the process."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from inference_core.settings import Settings
from inference_http.app import create_app
from inference_http.service import builders, open_service
from inference_jobs.serving import with_jobs
from inference_jobs.settings import JobSettings

from tests.models import squares_picture
from tests.shared.inference_http.conftest import served
from tests.shared.inference_jobs.services import MODEL, PICTURE, WIDE, until, without_timings

JOBS = f"/v1/jobs?model={MODEL}"
PREDICT = f"/v1/models/{MODEL}/predict"
LARGE = squares_picture(3000, 2000, [(16, 32), (2960, 1984)])
ClientOf = Callable[..., httpx.Client]


@pytest.fixture
def client_of(models_dir: Path, tmp_path: Path) -> Iterator[ClientOf]:
    """A client of a service with the settings given; those of jobs begin with `jobs_`."""
    with ExitStack() as stack:

        def make(**given: Any) -> httpx.Client:
            of_jobs: dict[str, Any] = {"jobs_dir": str(tmp_path / "jobs"), "jobs_grace_s": 20}
            of_jobs |= {key: value for key, value in given.items() if key.startswith("jobs_")}
            rest = {key: value for key, value in given.items() if not key.startswith("jobs_")}
            settings = Settings(models_dir=models_dir, threads=1, **rest)
            service = open_service(settings, "cpu", builders(settings, "cpu"))
            url = stack.enter_context(served(with_jobs(create_app(service), service, JobSettings(**of_jobs))))
            return stack.enter_context(httpx.Client(base_url=url, timeout=60))

        yield make


def ended(client: httpx.Client, path: str) -> dict[str, Any]:
    """The job's document once it is finished."""
    document: dict[str, Any] = until(
        lambda: client.get(path).json(), lambda found: found["status"] not in ("queued", "running")
    )
    return document


def test_a_job_is_accepted_at_once_and_its_result_is_the_synchronous_reply(client_of: ClientOf) -> None:
    client = client_of()
    reply = client.post(JOBS, content=WIDE)
    assert reply.status_code == 202
    assert reply.headers["retry-after"] == "1"
    path = reply.headers["location"]
    assert path == reply.json()["links"]["self"]
    assert ended(client, path)["status"] == "succeeded"
    result = client.get(f"{path}/result")
    assert (result.status_code, result.headers["content-type"]) == (200, "application/json")
    assert without_timings(result.content) == without_timings(client.post(PREDICT, content=WIDE).content)
    assert client.get(f"{path}/result").content == result.content


def test_several_pictures_make_one_job_with_a_reply_for_each(client_of: ClientOf) -> None:
    client = client_of()
    files = [("files", ("a.png", PICTURE)), ("files", ("b.png", WIDE))]
    path = client.post(JOBS, files=files).headers["location"]
    assert ended(client, path)["images"] == 2
    widths = [reply["image"]["width"] for reply in client.get(f"{path}/result").json()["replies"]]
    assert widths == [64, 640]


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        (f"{JOBS}&min_accuracy=0.5", PICTURE, "accuracy_unmet"),
        (f"{JOBS}&min_accuracy=nan", PICTURE, "invalid_request"),
        ("/v1/jobs", PICTURE, "invalid_request"),
        ("/v1/jobs?model=cats", PICTURE, "model_not_found"),
        (JOBS, b"no picture", "unsupported_media"),
        (JOBS, PICTURE[:20], "unreadable_image"),
        (JOBS + "&scale=7", PICTURE, "invalid_request"),
        (JOBS + "&scale=x", PICTURE, "invalid_request"),
        (JOBS + "&deadline_ms=-1", PICTURE, "invalid_request"),
        (JOBS + "&webhook=https://169.254.169.254/", PICTURE, "webhook_refused"),
        ("/v1/jobs?model=sizes", b'{"rows": [{"length": 1}]}', "invalid_request"),
        (JOBS, squares_picture(9000, 8000, []), "too_large"),
    ],
)
def test_what_can_never_be_answered_is_refused_now(client_of: ClientOf, path: str, body: bytes, code: str) -> None:
    client = client_of()
    reply = client.post(path, content=body)
    assert 400 <= reply.status_code < 500
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["code"] == code
    assert client.get("/v1/jobs").json()["jobs"] == []


def test_rows_can_be_a_job_too(client_of: ClientOf) -> None:
    client = client_of()
    rows = {"rows": [{"length": 1, "width": 2, "weight": 3}]}
    path = client.post("/v1/jobs?model=sizes", json=rows).headers["location"]
    assert ended(client, path)["status"] == "succeeded"
    sync = client.post("/v1/models/sizes/predict", json=rows)
    assert without_timings(client.get(f"{path}/result").content) == without_timings(sync.content)


def test_the_same_idempotency_key_gives_the_same_job_and_another_body_a_conflict(client_of: ClientOf) -> None:
    client = client_of()
    key = {"idempotency-key": "order 7"}
    first, again = (client.post(JOBS, content=PICTURE, headers=key).json()["id"] for _ in range(2))
    assert first == again
    conflict = client.post(JOBS, content=WIDE, headers=key)
    assert (conflict.status_code, conflict.json()["code"]) == (409, "idempotency_conflict")


def test_progress_is_streamed_until_the_job_is_finished(client_of: ClientOf) -> None:
    client = client_of()
    path = client.post(JOBS, content=LARGE).headers["location"]
    with client.stream("GET", f"{path}/events") as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        text = "".join(reply.iter_text())
    blocks = [block for block in text.split("\n\n") if block.startswith("event: ")]
    assert {block.split("\n")[0] for block in blocks[:-1]} <= {"event: progress"}
    kind, data = blocks[-1].split("\n")
    assert kind == "event: finished"
    assert json.loads(data.removeprefix("data: "))["status"] == "succeeded"


def test_a_cancelled_job_has_no_result_and_the_next_one_runs(client_of: ClientOf) -> None:
    client = client_of(fault_delay_s=1)
    running, waiting, last = (client.post(JOBS, content=PICTURE).headers["location"] for _ in range(3))
    assert client.get(waiting).json()["position"]
    for path in (running, waiting):
        assert client.delete(path).json()["status"] == "cancelled"
    assert ended(client, last)["status"] == "succeeded"
    for path in (running, waiting):
        reply = client.get(f"{path}/result")
        assert (reply.status_code, reply.json()["code"]) == (410, "job_cancelled")


def test_a_result_that_is_not_there_yet_says_when_to_ask_again(client_of: ClientOf) -> None:
    client = client_of(jobs_workers=0)
    path = client.post(JOBS, content=PICTURE).headers["location"]
    reply = client.get(f"{path}/result")
    assert (reply.status_code, reply.headers["retry-after"]) == (409, "1")
    assert client.get("/v1/jobs/unknown").status_code == 404


def test_jobs_are_listed_in_pages_the_newest_first(client_of: ClientOf) -> None:
    client = client_of(jobs_workers=0)
    made = []
    for _ in range(5):
        made.append(client.post(JOBS, content=PICTURE).json()["id"])
        time.sleep(0.002)
    seen, path = [], "/v1/jobs?limit=2"
    while path:
        page = client.get(path).json()
        seen += [job["id"] for job in page["jobs"]]
        path = page["next"]
    assert seen == made[::-1]
    assert client.get("/v1/jobs?after=nonsense").json()["code"] == "invalid_request"
    for limit in ("-1", "1000", "x", "inf"):
        assert client.get(f"/v1/jobs?limit={limit}").json()["code"] == "invalid_request"


def test_a_predict_becomes_a_job_only_when_its_client_prefers_that(client_of: ClientOf) -> None:
    client = client_of()
    assert client.post(PREDICT, content=PICTURE).status_code == 200
    reply = client.post(PREDICT, content=PICTURE, headers={"prefer": "respond-async"})
    assert (reply.status_code, reply.headers["preference-applied"]) == (202, "respond-async")
    assert ended(client, reply.headers["location"])["status"] == "succeeded"
    assert client.post(PREDICT, content=PICTURE, headers={"prefer": "wait=1"}).status_code == 200


def test_a_predict_that_prefers_a_job_but_waits_gets_its_answer_if_it_is_quick(client_of: ClientOf) -> None:
    client = client_of()
    reply = client.post(PREDICT, content=WIDE, headers={"prefer": "respond-async, wait=30"})
    assert reply.status_code == 200
    assert without_timings(reply.content) == without_timings(client.post(PREDICT, content=WIDE).content)


def test_a_predict_that_takes_longer_than_its_wait_is_a_job(client_of: ClientOf) -> None:
    client = client_of(fault_delay_s=3)
    reply = client.post(PREDICT, content=PICTURE, headers={"prefer": "respond-async, wait=1"})
    assert reply.status_code == 202
    assert reply.json()["status"] in ("queued", "running")


def test_a_full_store_refuses_with_a_status_of_its_own_and_keeps_nothing(client_of: ClientOf) -> None:
    client = client_of(jobs_bytes_max=100)
    reply = client.post(JOBS, content=LARGE)
    assert (reply.status_code, reply.json()["code"]) == (507, "store_full")
    assert client.get("/v1/jobs").json()["jobs"] == []


def test_requests_come_first_and_jobs_go_on_where_requests_leave_room(client_of: ClientOf) -> None:
    client = client_of(jobs_share=0.0)
    files = [("files", (f"{number}.png", LARGE)) for number in range(12)]
    path = client.post(JOBS, files=files).headers["location"]
    until(lambda: client.get(path).json()["status"], lambda status: status == "running")
    images_done = client.get(path).json()["progress"]["images_done"]
    for _ in range(5):
        assert client.post(PREDICT, content=PICTURE).status_code == 200
    assert client.get(path).json()["progress"]["images_done"] - images_done < 12
    assert ended(client, path)["status"] == "succeeded"


def test_a_stop_lets_the_job_at_work_finish(client_of: ClientOf, models_dir: Path, tmp_path: Path) -> None:
    settings = Settings(models_dir=models_dir, threads=1, fault_delay_s=1)
    service = open_service(settings, "cpu", builders(settings, "cpu"))
    of_jobs = JobSettings(jobs_dir=str(tmp_path / "jobs"))
    with served(with_jobs(create_app(service), service, of_jobs)) as url:
        path = httpx.post(url + JOBS, content=PICTURE).headers["location"]
        until(lambda: httpx.get(url + path).json()["status"], lambda status: status == "running")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("job-")]
    assert client_of(jobs_workers=0).get(path).json()["status"] == "succeeded"


def test_without_a_store_the_routes_say_so(client_of: ClientOf) -> None:
    client = client_of(jobs_dir="")
    for reply in (client.post(JOBS, content=PICTURE), client.get("/v1/jobs"), client.delete("/v1/jobs/1")):
        assert (reply.status_code, reply.json()["code"]) == (404, "jobs_off")


def test_the_routes_are_described(client_of: ClientOf) -> None:
    paths = client_of().get("/openapi.json").json()["paths"]
    assert {"/v1/jobs", "/v1/jobs/{job_id}", "/v1/jobs/{job_id}/result", "/v1/jobs/{job_id}/events"} <= set(paths)


def test_metrics_count_attempts_by_how_they_ended(client_of: ClientOf) -> None:
    client = client_of()
    ended(client, client.post(JOBS, content=PICTURE).headers["location"])
    until(lambda: client.get("/metrics").text, lambda text: 'inference_job_attempts_total{end="computed"} 1.0' in text)
    assert "inference_jobs_in_queue 0.0" in client.get("/metrics").text
