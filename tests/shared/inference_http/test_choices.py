"""Answers mend what was thought of their times; what is refused is tried, and not promised again when it came late."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from inference_core.detection import DetectionPipeline
from inference_core.registry import Pipeline, Registry
from inference_http.app import create_app
from numpy.typing import NDArray

from tests.shared.inference_http.conftest import ClientOf, ServiceOf
from tests.shared.inference_http.family import ACCURACIES, FAMILY, PICTURE, TILE_S, N, chosen, refusal, write_families
from tests.shared.inference_http.test_overload import wait_for


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return write_families(tmp_path / "models")


@pytest.fixture
def client(client_of: ClientOf, service_of: ServiceOf) -> httpx.Client:
    return client_of(create_app(replace(service_of(), tile_s=TILE_S)))


def test_served_requests_mend_what_was_thought_at_the_start(client: httpx.Client) -> None:
    """A tile takes well under the 300 s that were made up."""
    assert chosen(client.post(f"{FAMILY}?deadline_ms=250000", content=PICTURE)) == (N, 0.5)
    for _ in range(3):
        assert client.post("/v1/models/squares-n/predict", content=PICTURE).status_code == 200
    assert chosen(client.post(f"{FAMILY}?deadline_ms=250000", content=PICTURE)) == (N, 1.0)


def test_what_was_refused_is_tried_behind_the_callers_back_and_then_answered(client: httpx.Client) -> None:
    """No answer would ever mend a forecast that refuses everything."""
    asked = f"{FAMILY}?deadline_ms=12000"
    assert refusal(client.post(asked, content=PICTURE)) == (422, "accuracy_unmet")
    deadline = time.monotonic() + 20
    # 503 while the only slot is taken by the trial itself, which is thought to take long.
    while (reply := client.post(asked, content=PICTURE)).status_code in (422, 503):
        assert time.monotonic() < deadline
    assert chosen(reply) == (N, 0.25)


def test_what_misses_its_deadline_by_far_is_not_tried(client: httpx.Client) -> None:
    asked = f"{FAMILY}?deadline_ms=2000"
    assert {client.post(asked, content=PICTURE).status_code for _ in range(20)} == {422}


# A tier that computes in batches: what waits there asks whether it is still wanted.


class Queued:
    """The runs of a detector wait in a queue, as those of a batcher do, until `go` is set."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.go, self.answers = threading.Event(), 0
        self._inner = DetectionPipeline(pipeline.manifest, pipeline.session, pixels_max=1 << 20)
        self.pipeline = DetectionPipeline(pipeline.manifest, pipeline.session, pixels_max=1 << 20, run=self)

    def __call__(self, tiles: NDArray[Any], wanted: Callable[[], None]) -> NDArray[np.float32]:
        while not self.go.wait(0.01):
            wanted()
        wanted()
        self.answers += 1
        return self._inner.session_run(tiles, wanted)


@pytest.fixture
def queued(service_of: ServiceOf) -> Iterator[Queued]:
    made = Queued(service_of().registry.find(N))
    yield made
    made.go.set()


def test_an_answer_that_came_too_late_is_not_promised_again(
    client_of: ClientOf, service_of: ServiceOf, queued: Queued
) -> None:
    """Each would hold its slot until its deadline, and the next one likewise."""
    tile_s = {(N, scale): 0.2 for scale in ACCURACIES[N]}
    service = replace(service_of(slots=2), registry=Registry([queued.pipeline]), tile_s=tile_s)
    client = client_of(create_app(service))
    ends = [refusal(client.post(f"{FAMILY}?deadline_ms=700&scale=1", content=PICTURE))]
    deadline = time.monotonic() + 20
    while ends[-1] == (503, "deadline_unmet"):
        assert time.monotonic() < deadline
        ends.append(refusal(client.post(f"{FAMILY}?deadline_ms=700&scale=1", content=PICTURE)))
    assert ends[-1] == (422, "accuracy_unmet")
    assert len(ends) > 1


def test_what_is_tried_after_a_refusal_goes_on_when_its_deadline_has_passed(
    client_of: ClientOf, service_of: ServiceOf, queued: Queued
) -> None:
    tile_s = {(N, scale): 0.1 for scale in ACCURACIES[N]}
    service = replace(service_of(), registry=Registry([queued.pipeline]), tile_s=tile_s)
    client = client_of(create_app(service))
    assert refusal(client.post(f"{FAMILY}?deadline_ms=50", content=PICTURE)) == (422, "accuracy_unmet")
    wait_for(client, "inference_in_flight", 1)
    time.sleep(0.1)
    queued.go.set()
    wait_for(client, "inference_in_flight", 0)
    assert queued.answers == 1


def test_a_deadline_that_only_the_load_prevents_is_503_and_says_when(
    client_of: ClientOf, service_of: ServiceOf
) -> None:
    service = replace(service_of(slots=1, queue_max=9, fault_delay_s=1.0), tile_s=dict.fromkeys(TILE_S, 1e-3))
    client = client_of(create_app(service))
    assert client.post("/v1/models/squares-n/predict", content=PICTURE).status_code == 200  # now it is known as slow
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.post, "/v1/models/squares-n/predict", content=PICTURE)
        wait_for(client, "inference_in_flight", 1)
        refused = client.post(f"{FAMILY}?deadline_ms=600", content=PICTURE)
        assert not answer.done()
        assert refusal(refused) == (503, "deadline_unmet")
        assert int(refused.headers["retry-after"]) >= 1
        assert answer.result().status_code == 200
