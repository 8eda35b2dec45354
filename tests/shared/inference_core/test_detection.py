"""Picture bytes in, boxes out, through a real session on a tiny detector."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inference_core.detection import DetectionPipeline
from inference_core.errors import InvalidRequest, ManifestError, Stopped, TooLarge
from inference_core.manifest import ImageInput, read_manifest
from inference_core.session import Session
from inference_core.tiled import Wanted, as_tensor, tiles_in
from numpy.typing import NDArray

from tests.models import detection_model, squares_picture, tabular_model


@pytest.fixture
def pipeline(tmp_path: Path) -> DetectionPipeline:
    manifest = read_manifest(detection_model(tmp_path))
    session = Session(manifest.model_bytes, threads=1)
    pipeline = DetectionPipeline(manifest, session, pixels_max=1_000_000)
    pipeline.warm()
    return pipeline


def corners(reply: dict[str, Any]) -> set[tuple[float, ...]]:
    return {tuple(d["box"]) for d in reply["detections"]}


def test_objects_are_found_in_pixels_of_the_picture(pipeline: DetectionPipeline) -> None:
    reply = pipeline.predict(squares_picture(64, 64, [(0, 0), (32, 16)])).reply()
    assert corners(reply) == {(0, 0, 16, 16), (32, 16, 48, 32)}
    assert reply["model"] == "squares-n"
    assert reply["variant"] == "n"
    assert reply["image"] == {"width": 64, "height": 64}
    assert {d["label"] for d in reply["detections"]} == {"square"}
    assert all(d["score"] == 1.0 for d in reply["detections"])


def test_a_picture_of_many_tiles_gives_each_object_once(pipeline: DetectionPipeline) -> None:
    # 160 x 112 at 64 px tiles with 16 px overlap: starts 0, 48, 96 and 0, 48 lie on the detector's grid of 16.
    places = [(x, y) for x in range(0, 160, 32) for y in range(0, 112, 32)]
    reply = pipeline.predict(squares_picture(160, 112, places)).reply()
    assert corners(reply) == {(x, y, x + 16, y + 16) for x, y in places}
    assert len(reply["detections"]) == len(places)


def test_boxes_of_a_scaled_reading_are_in_pixels_of_the_whole_picture(pipeline: DetectionPipeline) -> None:
    # A 32 px square at half scale is one cell of the detector.
    body = squares_picture(128, 128, [(64, 32), (80, 32), (64, 48), (80, 48)])
    reply = pipeline.predict(body, scale=0.5).reply()
    assert corners(reply) == {(64, 32, 96, 64)}
    assert reply["scale"] == 0.5


@pytest.mark.parametrize(("width", "height"), [(64, 64), (65, 64), (160, 112), (640, 30), (30, 640)])
@pytest.mark.parametrize("scale", [1.0, 0.5, 0.25])
def test_the_tiles_of_a_picture_are_known_from_its_size(
    pipeline: DetectionPipeline, width: int, height: int, scale: float
) -> None:
    seen: list[int] = []
    pipeline.predict(squares_picture(width, height, []), scale=scale, watch=lambda _, of: seen.append(of))
    assert isinstance(pipeline.manifest.input, ImageInput)
    assert set(seen) == {tiles_in(width, height, scale, pipeline.manifest.input)}


def test_warming_tells_how_long_a_tile_takes(pipeline: DetectionPipeline) -> None:
    assert pipeline.tile_s > 0


def test_each_stage_is_timed(pipeline: DetectionPipeline) -> None:
    timings_ms = pipeline.predict(squares_picture(64, 64, [])).reply()["timings_ms"]
    assert set(timings_ms) == {"decode", "preprocess", "infer", "postprocess"}
    assert all(ms >= 0 for ms in timings_ms.values())


@pytest.mark.parametrize("scale", [0.0, 0.04, 1.01, float("nan")])
def test_a_scale_out_of_range_is_refused(pipeline: DetectionPipeline, scale: float) -> None:
    with pytest.raises(InvalidRequest, match="scale"):
        pipeline.predict(squares_picture(64, 64, []), scale=scale)


def test_too_many_pixels_are_refused(pipeline: DetectionPipeline) -> None:
    with pytest.raises(TooLarge):
        pipeline.predict(squares_picture(1001, 1000, []))


def test_a_tabular_model_is_no_detector(tmp_path: Path) -> None:
    manifest = read_manifest(tabular_model(tmp_path))
    with pytest.raises(ManifestError, match="takes no pictures"):
        DetectionPipeline(manifest, Session(manifest.model_bytes, threads=1), pixels_max=1)


def test_memory_is_bounded_by_the_tile_batch(tmp_path: Path) -> None:
    sizes: list[int] = []
    manifest = read_manifest(detection_model(tmp_path))

    def run(tiles: NDArray[Any], _: Wanted) -> NDArray[np.float32]:
        sizes.append(len(tiles))
        return np.zeros((len(tiles), 5, 16), np.float32)

    session = Session(manifest.model_bytes, threads=1)
    DetectionPipeline(manifest, session, pixels_max=1_000_000, run=run).predict(squares_picture(900, 700, []))
    assert max(sizes) == 4
    assert sum(sizes) > 100


def test_the_watch_is_told_before_each_batch_and_when_all_is_done(pipeline: DetectionPipeline) -> None:
    seen: list[tuple[int, int]] = []
    pipeline.predict(squares_picture(160, 112, []), watch=lambda done, of: seen.append((done, of)))
    assert seen == [(0, 7), (4, 7), (7, 7)]  # 3 x 2 tiles and the whole picture, four at a time


def test_the_watch_ends_the_work_between_two_batches(tmp_path: Path) -> None:
    manifest = read_manifest(detection_model(tmp_path))
    runs: list[int] = []

    def run(tiles: NDArray[Any], _: Wanted) -> NDArray[np.float32]:
        runs.append(len(tiles))
        return np.zeros((len(tiles), 5, 16), np.float32)

    def watch(done: int, _: int) -> None:
        if done >= 8:
            raise Stopped

    session = Session(manifest.model_bytes, threads=1)
    with pytest.raises(Stopped):
        DetectionPipeline(manifest, session, pixels_max=1_000_000, run=run).predict(
            squares_picture(900, 700, []), watch=watch
        )
    assert runs == [4, 4]


def test_tiles_take_the_layout_type_and_range_of_the_graph() -> None:
    tiles = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    nchw = ImageInput("x", "nchw", "float32", "rgb", tile_px=4, scale=1 / 255)
    np.testing.assert_allclose(as_tensor(tiles, nchw), tiles.transpose(0, 3, 1, 2) / 255, rtol=1e-6)
    assert as_tensor(tiles, nchw).dtype == np.float32
    half = as_tensor(tiles, ImageInput("x", "nchw", "float16", "rgb", tile_px=4, scale=1 / 255))
    np.testing.assert_array_equal(half, (tiles.transpose(0, 3, 1, 2) / 255).astype(np.float16))
    nhwc = ImageInput("x", "nhwc", "uint8", "rgb", tile_px=4)
    assert as_tensor(tiles, nhwc) is tiles


def test_a_picture_full_of_boxes_gives_a_bounded_number_of_them(tmp_path: Path) -> None:
    manifest = read_manifest(detection_model(tmp_path))

    def run(tiles: NDArray[Any], _: Wanted) -> NDArray[np.float32]:
        """A box of 4 px in every cell of 4 px: nothing suppresses anything."""
        cells = np.stack(np.meshgrid(np.arange(2, 64, 4), np.arange(2, 64, 4))).reshape(2, -1)
        rows = np.concatenate([cells, np.full((2, cells.shape[1]), 4), np.ones((1, cells.shape[1]))])
        return np.broadcast_to(rows.astype(np.float32), (len(tiles), *rows.shape))

    session = Session(manifest.model_bytes, threads=1)
    pipeline = DetectionPipeline(manifest, session, pixels_max=10_000_000, run=run)
    reply = pipeline.predict(squares_picture(600, 400, []))
    assert 1000 < len(reply.fields["detections"]) <= 3000


def test_a_graph_that_does_not_take_what_the_manifest_says_stops_the_start(tmp_path: Path) -> None:
    folder = detection_model(tmp_path)
    text = (folder / "model.toml").read_text()
    (folder / "model.toml").write_text(text.replace("tile_px = 64", "tile_px = 96"))
    manifest = read_manifest(folder)
    with pytest.raises(ManifestError, match="the first run failed"):
        DetectionPipeline(manifest, Session(manifest.model_bytes, threads=1), pixels_max=1).warm()
