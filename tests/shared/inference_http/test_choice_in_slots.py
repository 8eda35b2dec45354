"""What the slots and the choice make of each other, with times that are only foretold."""

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inference_core.errors import AccuracyUnmet, DeadlineUnmet, InferenceError
from inference_core.manifest import read_manifest
from inference_core.registry import Pipeline, Registry, TensorPipeline
from inference_core.session import Session
from inference_http.choice import Choice, options_for
from inference_http.forecast import Forecast, Kind
from inference_http.query import Wish
from inference_http.slots import Slots

from tests.models import detection_model
from tests.shared.inference_http.conftest import ServiceOf
from tests.shared.inference_http.family import ACCURACIES, PICTURE, SIDES, TILE_S, M, write_families


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return write_families(tmp_path / "models")


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
