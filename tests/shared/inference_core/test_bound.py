"""A bound run answers as the session does, for any number of tiles, from several threads at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inference_core.bound import LANES, BoundRun, batch_shapes
from inference_core.device import HostMemory
from inference_core.errors import ManifestError
from inference_core.manifest import read_manifest
from inference_core.session import Session
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tests.models import TILE_PX, detection_model, tensor_model

Tiles = NDArray[np.uint8]
SHAPE = (1, TILE_PX, TILE_PX)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(read_manifest(detection_model(tmp_path)).model_bytes, threads=1)


@pytest.fixture
def bound(session: Session) -> Iterator[BoundRun]:
    run = BoundRun(
        session, HostMemory(), input_name="images", output_name="output0", tile_shape=SHAPE, shapes=batch_shapes(8)
    )
    run.warm()
    yield run
    run.close()


def noise(count: int, seed: int = 0) -> Tiles:
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), np.uint8)


def plain(session: Session, tiles: Tiles) -> NDArray[np.float32]:
    output: NDArray[np.float32] = session.run({"images": tiles}, ["output0"])[0]
    return output


@pytest.mark.parametrize("count", range(1, 9))
def test_it_answers_as_the_session_does_for_every_number_of_tiles(
    session: Session, bound: BoundRun, count: int
) -> None:
    tiles = noise(count)
    assert np.array_equal(bound([tiles]), plain(session, tiles))


def test_parts_of_several_requests_are_answered_in_their_order(session: Session, bound: BoundRun) -> None:
    tiles = noise(7)
    assert np.array_equal(bound([tiles[:2], tiles[2:3], tiles[3:]]), plain(session, tiles))


def test_answers_stay_what_they_are_when_the_memory_is_used_again(session: Session, bound: BoundRun) -> None:
    tiles = noise(3)
    outputs = bound([tiles])
    for seed in range(1, 2 * LANES + 1):
        bound([noise(8, seed)])
    assert np.array_equal(outputs, plain(session, tiles))


def test_threads_do_not_mix_their_batches_up(session: Session, bound: BoundRun) -> None:
    batches = [noise(1 + seed % 8, seed) for seed in range(40)]
    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda tiles: bound([tiles]), batches))
    for tiles, output in zip(batches, outputs, strict=True):
        assert np.array_equal(output, plain(session, tiles))


@pytest.mark.parametrize("count", [0, 9])
def test_more_tiles_than_the_largest_batch_or_none_are_refused(bound: BoundRun, count: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 8 tiles, not {count}"):
        bound([noise(count)])


def test_it_knows_the_tiles_that_its_graph_takes(bound: BoundRun) -> None:
    assert bound.takes(noise(2))
    assert not bound.takes(noise(2)[:, :, 1:])
    assert not bound.takes(noise(2).astype(np.float32))


@pytest.mark.parametrize(
    ("batch_max", "shapes"),
    [(1, (1,)), (4, (1, 2, 3, 4)), (32, (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)), (5, (1, 2, 3, 4, 5))],
)
def test_batches_are_padded_by_less_than_half(batch_max: int, shapes: tuple[int, ...]) -> None:
    assert batch_shapes(batch_max) == shapes


def test_an_output_that_is_not_one_entry_a_tile_is_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("NonZero", ["images"], ["places"])],
        "places",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", *SHAPE])],
        [helper.make_tensor_value_info("places", TensorProto.INT64, [4, "m"])],
    )
    session = Session(read_manifest(tensor_model(tmp_path, graph)).model_bytes, threads=1)
    with pytest.raises(ManifestError, match="not one entry a tile"):
        _bind(session, "places")


def test_a_type_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["same"])],
        "texts",
        [helper.make_tensor_value_info("images", TensorProto.STRING, ["n", 1])],
        [helper.make_tensor_value_info("same", TensorProto.STRING, ["n", 1])],
    )
    session = Session(read_manifest(tensor_model(tmp_path, graph)).model_bytes, threads=1)
    with pytest.raises(ManifestError, match="pictures and boxes are"):
        _bind(session, "same")


def _bind(session: Session, output: str) -> Any:
    return BoundRun(session, HostMemory(), input_name="images", output_name=output, tile_shape=SHAPE, shapes=(2,))
