"""A family answers as well as its deadline allows. What a tile takes is made up: no test depends on the machine."""

import asyncio
import gzip
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inference_core.detection import DetectionPipeline
from inference_core.errors import AccuracyUnmet, DeadlineUnmet, InferenceError
from inference_core.manifest import read_manifest
from inference_core.registry import Pipeline, Registry, TensorPipeline
from inference_core.session import Session
from inference_http.app import create_app
from inference_http.choice import Choice, options_for
from inference_http.forecast import Forecast, Kind
from inference_http.query import Wish
from inference_http.slots import Slots
from numpy.typing import NDArray

from tests.models import detection_model, squares_picture, tabular_model
from tests.shared.inference_http.conftest import ClientOf, ServiceOf
from tests.shared.inference_http.test_overload import figure, wait_for

FAMILY = "/v1/models/squares/predict"
PICTURE = squares_picture(64, 48, [(16, 16)])
SIDES = 64, 48
"""One tile, whatever the scale."""
N, M = "squares-n", "squares-m"
ACCURACIES = {N: {1.0: 0.8, 0.5: 0.7, 0.25: 0.4}, M: {1.0: 0.95, 0.5: 0.85}}
TILE_S = {(N, 1.0): 300.0, (N, 0.5): 20.0, (N, 0.25): 10.0, (M, 1.0): 100_000.0, (M, 0.5): 10_000.0}
"""So long that whatever else takes its time on a busy machine makes no difference."""


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """A family of two detectors, and a tabular one of two."""
    folder = tmp_path / "models"
    for name, accuracies in ACCURACIES.items():
        detection_model(folder, name, accuracies=accuracies)
    tabular_model(folder, accuracy=0.9)
    tabular_model(folder, "sizes-worse", accuracy=0.5)
    return folder


@pytest.fixture
def client(client_of: ClientOf, service_of: ServiceOf) -> httpx.Client:
    return client_of(create_app(replace(service_of(), tile_s=TILE_S)))


def chosen(reply: httpx.Response) -> tuple[str, float]:
    assert reply.status_code == 200, reply.text
    document = reply.json()
    assert (document["variant"], document["scale"]) == (document["choice"]["variant"], document["choice"]["scale"])
    return document["model"], document["scale"]


def refusal(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["code"]


def test_without_a_deadline_the_most_accurate_answers_and_nothing_is_chosen(client: httpx.Client) -> None:
    for query, scale in (("", 1.0), ("?scale=0.5", 0.5)):
        reply = client.post(FAMILY + query, content=PICTURE).json()
        assert (reply["model"], reply["scale"]) == (M, scale)
        assert "choice" not in reply


@pytest.mark.parametrize(
    ("deadline_s", "kind"),
    [(999_999, (M, 1.0)), (90_000, (M, 0.5)), (5000, (N, 1.0)), (250, (N, 0.5)), (25, (N, 0.25))],
)
def test_the_most_accurate_that_ends_in_time_answers(client: httpx.Client, deadline_s: float, kind: Kind) -> None:
    reply = client.post(f"{FAMILY}?deadline_ms={deadline_s * 1e3}", content=PICTURE)
    assert chosen(reply) == kind
    choice = reply.json()["choice"]
    assert choice["expected_accuracy"] == ACCURACIES[kind[0]][kind[1]]
    # Both count from the arrival; what was foretold was made up, what came was real.
    assert choice["predicted_ms"] >= TILE_S[kind] * 1e3
    assert 0 < choice["actual_ms"] < deadline_s * 1e3
    assert choice["actual_ms"] >= sum(reply.json()["timings_ms"].values()) * 0.5
    assert len(reply.json()["detections"]) == 1 or kind[1] < 1


def test_a_scale_that_is_given_is_kept(client: httpx.Client) -> None:
    assert chosen(client.post(f"{FAMILY}?deadline_ms=90000000&scale=0.25", content=PICTURE)) == (N, 0.25)
    # No accuracy is known there: the order of the variants is kept.
    reply = client.post(f"{FAMILY}?deadline_ms=999999000&scale=0.75", content=PICTURE)
    assert chosen(reply) == (M, 0.75)
    assert reply.json()["choice"]["expected_accuracy"] is None
    assert refusal(client.post(f"{FAMILY}?deadline_ms=900&scale=7", content=PICTURE)) == (422, "invalid_request")


def test_the_deadline_of_the_settings_is_one_too(client_of: ClientOf, service_of: ServiceOf) -> None:
    client = client_of(create_app(replace(service_of(deadline_ms=5_000_000), tile_s=TILE_S)))
    assert chosen(client.post(FAMILY, content=PICTURE)) == (N, 1.0)


def test_larger_pictures_are_known_to_take_longer_from_their_header(client: httpx.Client) -> None:
    assert chosen(client.post(f"{FAMILY}?deadline_ms=5000000", content=PICTURE)) == (N, 1.0)
    large = squares_picture(640, 480, [(16, 16)])
    assert chosen(client.post(f"{FAMILY}?deadline_ms=5000000", content=large))[1] < 1


def test_an_accuracy_that_is_not_to_be_had_is_refused_with_the_nearest(client: httpx.Client) -> None:
    reply = client.post(f"{FAMILY}?min_accuracy=0.99", content=PICTURE)
    assert refusal(reply) == (422, "accuracy_unmet")
    assert "squares-m at scale 1 with accuracy 0.95" in reply.json()["detail"]
    assert "retry-after" not in reply.headers


def test_an_accuracy_that_is_not_to_be_had_in_time_names_the_nearest_on_either_side(client: httpx.Client) -> None:
    reply = client.post(f"{FAMILY}?min_accuracy=0.82&deadline_ms=250000", content=PICTURE)
    assert refusal(reply) == (422, "accuracy_unmet")
    assert "squares-n at scale 0.5 with accuracy 0.7" in reply.json()["detail"]
    assert "squares-m at scale 0.5 with accuracy 0.85 in 15000.0 s" in reply.json()["detail"]


def test_a_deadline_that_nothing_can_meet_is_refused_with_the_fastest(client: httpx.Client) -> None:
    reply = client.post(f"{FAMILY}?deadline_ms=20", content=PICTURE)
    assert refusal(reply) == (422, "accuracy_unmet")
    assert "An answer within 20 ms" in reply.json()["detail"]
    assert "squares-n at scale 0.25" in reply.json()["detail"]


@pytest.mark.parametrize(("query", "scale"), [("", 1.0), ("&deadline_ms=90000000", 0.5)])
def test_an_accuracy_that_can_be_had_is_kept(client: httpx.Client, query: str, scale: float) -> None:
    assert chosen(client.post(f"{FAMILY}?min_accuracy=0.82{query}", content=PICTURE)) == (M, scale)


def test_a_model_that_is_named_is_used_or_refused(client: httpx.Client) -> None:
    reply = client.post("/v1/models/squares-n/predict?min_accuracy=0.75&deadline_ms=5000", content=PICTURE)
    assert reply.status_code == 200
    assert "choice" not in reply.json()
    for query in ("min_accuracy=0.85", "min_accuracy=0.75&scale=0.5", "min_accuracy=0.1&scale=0.3"):
        reply = client.post(f"/v1/models/squares-n/predict?{query}", content=PICTURE)
        assert refusal(reply) == (422, "accuracy_unmet")


def test_rows_are_answered_by_the_most_accurate_or_refused(client: httpx.Client) -> None:
    rows = {"rows": [{"length": 1, "width": 1, "weight": 1}]}
    reply = client.post("/v1/models/sizes/predict?min_accuracy=0.9&deadline_ms=5000", json=rows)
    assert (reply.status_code, reply.json()["model"]) == (200, "sizes-linear")
    assert refusal(client.post("/v1/models/sizes/predict?min_accuracy=0.91", json=rows)) == (422, "accuracy_unmet")


@pytest.mark.parametrize("value", ["nan", "inf", "good", ""])
def test_an_accuracy_that_is_no_number_is_refused(client: httpx.Client, value: str) -> None:
    reply = client.post(f"{FAMILY}?min_accuracy={value}", content=PICTURE)
    assert refusal(reply) == (422, "invalid_request")
    assert "min_accuracy" in reply.json()["detail"]


def test_what_is_no_picture_is_refused_as_ever_also_when_compressed(client: httpx.Client) -> None:
    assert refusal(client.post(f"{FAMILY}?deadline_ms=5000", content=b"no picture")) == (415, "unsupported_media")
    packed = {"content-encoding": "gzip"}
    reply = client.post(f"{FAMILY}?deadline_ms=5000000", content=gzip.compress(PICTURE), headers=packed)
    assert chosen(reply)[0] == N
    broken = client.post(f"{FAMILY}?deadline_ms=5000", content=b"no gzip", headers=packed)
    assert refusal(broken) == (422, "invalid_request")


def test_choices_are_counted_by_model_and_scale(client: httpx.Client) -> None:
    for query in ("deadline_ms=5000000", "deadline_ms=5000000&scale=0.3", "deadline_ms=5000000&scale=0.31"):
        assert client.post(f"{FAMILY}?{query}", content=PICTURE).status_code == 200
    assert figure(client, f'inference_choices_total{{model="{N}",scale="1"}}') == 1
    # Callers may send any scale: it must not become a series of its own.
    assert figure(client, f'inference_choices_total{{model="{N}",scale="other"}}') == 2
    assert figure(client, f'inference_requests_total{{model="{N}",status="200"}}') == 3


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


# What the slots and the choice make of each other, with times that are only foretold.


async def stays() -> None:
    """A client that never leaves."""
    await asyncio.Event().wait()


@pytest.fixture
def variants(service_of: ServiceOf) -> list[Pipeline]:
    return service_of().registry.variants("squares")


def choice(
    variants: list[Pipeline], tile_s: Mapping[Kind, float], deadline_s: float | None, min_accuracy: float | None = None
) -> Choice:
    wish = Wish(perf_counter(), deadline_s, min_accuracy, None)

    def work(pipeline: Pipeline, scale: float) -> tuple[Any, dict[str, float]]:
        return pipeline.predict(PICTURE, scale=scale), {}

    return Choice(options_for(variants, None, *SIDES), wish, Forecast(tile_s), work)


async def held(slots: Slots, go: threading.Event) -> "asyncio.Task[tuple[bool, float]]":
    """The slot's owner until `go` is set."""
    task = asyncio.create_task(slots.run(lambda: go.wait(20), stays))
    async with asyncio.timeout(20):
        while not slots.running:
            await asyncio.sleep(0.005)
    return task


def test_what_is_left_when_the_slot_comes_decides(variants: list[Pipeline]) -> None:
    async def scenario() -> None:
        slots, go = Slots(1, queue_max=9), threading.Event()
        owner = await held(slots, go)
        late = choice(variants, dict.fromkeys(TILE_S, 1e-3) | {(M, 1.0): 13.0}, deadline_s=20.0)
        waiting = asyncio.create_task(slots.run_flexible(late, stays))
        await asyncio.sleep(0.6)  # 13 s and their margin of a half would just have fitted into 20
        go.set()
        await asyncio.gather(owner, waiting)
        assert late.option.kind == (M, 0.5)

    asyncio.run(scenario())


def test_who_waits_behind_is_left_as_much_time_as_is_taken(variants: list[Pipeline]) -> None:
    async def scenario() -> None:
        slots, go = Slots(1, queue_max=9), threading.Event()
        owner = await held(slots, go)
        tile_s = dict.fromkeys(TILE_S, 1.0) | {(M, 1.0): 100.0, (M, 0.5): 10.0}
        patient, urgent = choice(variants, tile_s, deadline_s=5000.0), choice(variants, tile_s, deadline_s=200.0)
        tasks = [asyncio.create_task(slots.run_flexible(one, stays)) for one in (patient, urgent)]
        await asyncio.sleep(0)
        assert slots.waiting == 2
        go.set()
        await asyncio.gather(owner, *tasks)
        # 100 s and their margin would fit twice into 5000 s, but not into the 200 s of the other.
        assert patient.option.kind == (M, 0.5)
        assert urgent.option.kind == (M, 1.0)

    asyncio.run(scenario())


def test_a_deadline_that_went_by_in_the_queue_is_not_worked_for(variants: list[Pipeline]) -> None:
    async def scenario() -> None:
        slots, go = Slots(1, queue_max=9), threading.Event()
        owner = await held(slots, go)
        hopeless = choice(variants, dict.fromkeys(TILE_S, 1e-3), deadline_s=0.2)
        waiting = asyncio.create_task(slots.run_flexible(hopeless, stays))
        await asyncio.sleep(0.4)
        go.set()
        with pytest.raises(DeadlineUnmet):
            await waiting
        await owner
        assert slots.refused == 1
        async with asyncio.timeout(20):
            while slots.running:
                await asyncio.sleep(0.005)

    asyncio.run(scenario())


def test_a_full_queue_refuses_choices_too(variants: list[Pipeline]) -> None:
    async def scenario() -> None:
        slots, go = Slots(1, queue_max=0), threading.Event()
        owner = await held(slots, go)
        with pytest.raises(InferenceError, match="all this service takes"):
            await slots.run_flexible(choice(variants, TILE_S, deadline_s=None, min_accuracy=0.1), stays)
        go.set()
        await owner

    asyncio.run(scenario())


@pytest.fixture(scope="module")
def two_variants(tmp_path_factory: pytest.TempPathFactory) -> list[Pipeline]:
    """The family's models for many examples: a choice looks at their manifests alone."""
    folder = tmp_path_factory.mktemp("models")
    manifests = [read_manifest(detection_model(folder, name, accuracies=ACCURACIES[name])) for name in ACCURACIES]
    return Registry([TensorPipeline(m, Session(m.model_bytes, threads=1)) for m in manifests]).variants("squares")


@given(
    st.lists(st.integers(1_000, 1_000_000), min_size=5, max_size=5),
    st.integers(1_000, 10_000_000),
    st.integers(1, 10),
    st.floats(0, 0.9),
)
def test_more_time_never_lowers_the_accuracy_and_a_higher_demand_never_raises_the_chances(
    two_variants: list[Pipeline], tile_s: list[float], deadline_s: int, times: int, demand: float
) -> None:
    known = dict(zip(TILE_S, tile_s, strict=True))

    def accuracy(deadline_s: float, demand: float) -> float:
        """Of the option that is taken, -1 where there is none."""
        one = choice(two_variants, known, deadline_s, demand)
        try:
            one.check(0.0)
        except AccuracyUnmet:
            return -1.0
        one.begin(lambda _: True)
        assert one.option.accuracy is not None
        assert one.option.accuracy >= demand
        return one.option.accuracy

    assert accuracy(deadline_s * times, demand) >= accuracy(deadline_s, demand)
    if accuracy(deadline_s, demand) >= 0:
        assert accuracy(deadline_s, 0.0) == accuracy(deadline_s, demand)
