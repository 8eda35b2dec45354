"""Pictures read by processes of their own: the same answers, errors and progress as in threads, and none lost."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from gpu_api.pictures import PictureProcesses
from inference_core import images
from inference_core.detection import DetectionPipeline
from inference_core.errors import (
    DeviceLost,
    InferenceError,
    InvalidRequest,
    Stopped,
    TooLarge,
    UnreadableImage,
    UnsupportedMedia,
)
from inference_core.manifest import ImageInput, Manifest, read_manifest
from inference_core.session import Session
from inference_core.tiled import Wanted
from numpy.typing import NDArray

from tests.models import TILE_PX, detection_model, squares_picture
from tests.vm_gpu.reading import NOISE, PICTURE, PIXELS_MAX, Interrupted, is_alive, through


@pytest.fixture(scope="module")
def processes() -> Iterator[PictureProcesses]:
    opened = PictureProcesses(2)
    yield opened
    opened.close()


@pytest.fixture
def direct(manifest: Manifest, session: Session) -> DetectionPipeline:
    return DetectionPipeline(manifest, session, pixels_max=PIXELS_MAX)


@pytest.fixture
def pooled(manifest: Manifest, session: Session, processes: PictureProcesses) -> DetectionPipeline:
    return through(processes, manifest, session)


class OwnDecoder:
    """Takes what is shrunk, and JPEGs."""

    def __init__(self) -> None:
        self.decoded: list[bytes] = []

    def takes(self, body: bytes, scale: float) -> bool:
        """Whether it decodes `body`."""
        return scale < 1 or body.startswith(b"\xff\xd8")

    def __call__(self, body: bytes, **how: Any) -> images.Picture:
        """As `images.decode`."""
        self.decoded.append(body)
        return images.decode(body, **how)


def squares_of_colour(folder: Path) -> Manifest:
    """The tiny detector as if its graph took colours as floats."""
    manifest = read_manifest(detection_model(folder))
    assert isinstance(manifest.input, ImageInput)
    return replace(manifest, input=replace(manifest.input, colour="rgb", dtype="float32", scale=1 / 255))


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("size", [(30, 20), (64, 64), (160, 112), (400, 200)])
def test_the_answer_is_that_of_threads(
    direct: DetectionPipeline, pooled: DetectionPipeline, size: tuple[int, int], scale: float
) -> None:
    body = squares_picture(*size, [(x, y) for x in range(0, size[0] - 16, 48) for y in range(0, size[1] - 16, 48)])
    answer = pooled.predict(body, scale=scale)
    assert answer.fields == direct.predict(body, scale=scale).fields
    assert set(answer.timings_ms) == {"decode", "preprocess", "infer", "postprocess"}


def test_tiles_that_the_graph_takes_as_floats_of_colours_are_the_same_too(
    tmp_path: Path, processes: PictureProcesses
) -> None:
    manifest = squares_of_colour(tmp_path)
    session = Session(manifest.model_bytes, threads=1)

    def run(tiles: NDArray[Any], _wanted: Wanted) -> NDArray[np.float32]:
        assert tiles.dtype == np.float32
        assert tiles.shape[1:] == (3, TILE_PX, TILE_PX)
        output: NDArray[np.float32] = session.run({"images": (tiles[:, :1] * 255).round().astype(np.uint8)})[0]
        return output

    alone = DetectionPipeline(manifest, session, pixels_max=PIXELS_MAX, run=run)
    answer = through(processes, manifest, session, run).predict(PICTURE).fields
    assert len(answer["detections"]) == 3
    assert answer == alone.predict(PICTURE).fields


@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_a_picture_that_the_service_has_decoded_itself_is_answered_too(
    manifest: Manifest, session: Session, colour: Literal["grey", "rgb"]
) -> None:
    """As where the GPU decodes. One of rgb is a detector whose graph takes the first colour."""
    assert isinstance(manifest.input, ImageInput)
    manifest = replace(manifest, input=replace(manifest.input, colour=colour))
    decoder = OwnDecoder()
    processes = PictureProcesses(1, decoder)

    def run(tiles: NDArray[Any], _wanted: Wanted) -> NDArray[np.float32]:
        output: NDArray[np.float32] = session.run({"images": np.ascontiguousarray(tiles[:, :1])})[0]
        return output

    options: dict[str, Any] = {"pixels_max": PIXELS_MAX, "run": run, "decode": decoder}
    pipeline = DetectionPipeline(manifest, session, predict=processes.predict, **options)
    answer = pipeline.predict(PICTURE, scale=0.5)
    assert decoder.decoded == [PICTURE]
    assert answer.fields == DetectionPipeline(manifest, session, **options).predict(PICTURE, scale=0.5).fields
    assert list(answer.timings_ms) == ["decode", "preprocess", "infer", "postprocess"]
    with pytest.raises(UnreadableImage):
        pipeline.predict(NOISE[:-400])
    decoder.decoded.clear()
    assert len(pipeline.predict(PICTURE, scale=1.0).fields["detections"]) == 3
    assert not decoder.decoded, "what the decoder does not take is decoded in the process"
    processes.close()


def test_a_process_that_knows_one_model_is_told_of_the_next(tmp_path: Path, processes: PictureProcesses) -> None:
    for name in ("squares-n", "squares-l"):
        manifest = read_manifest(detection_model(tmp_path, name))
        pipeline = through(processes, manifest, Session(manifest.model_bytes, threads=1))
        for _ in range(3):
            assert pipeline.predict(PICTURE).fields["model"] == name


@pytest.mark.parametrize(
    ("body", "scale", "kind"),
    [
        (b"no picture", 1.0, UnsupportedMedia),
        (b"", 1.0, UnsupportedMedia),
        (NOISE[:-400], 1.0, UnreadableImage),
        (squares_picture(2000, 1000, []), 1.0, TooLarge),
        (PICTURE, 0.01, InvalidRequest),
    ],
)
def test_a_refusal_is_that_of_threads(
    direct: DetectionPipeline, pooled: DetectionPipeline, body: bytes, scale: float, kind: type[InferenceError]
) -> None:
    with pytest.raises(kind) as wanted:
        direct.predict(body, scale=scale)
    with pytest.raises(kind) as found:
        pooled.predict(body, scale=scale)
    assert found.value.detail == wanted.value.detail
    assert len(pooled.predict(PICTURE).fields["detections"]) == 3


def test_the_watch_is_told_the_same_progress(direct: DetectionPipeline, pooled: DetectionPipeline) -> None:
    body = squares_picture(400, 200, [(0, 0)])
    told: dict[DetectionPipeline, list[tuple[int, int]]] = {direct: [], pooled: []}
    for pipeline, steps in told.items():
        pipeline.predict(body, watch=partial(note, steps))
    assert told[direct] == told[pooled]
    assert len(told[direct]) > 3, "several batches, or nothing is shown"


def note(steps: list[tuple[int, int]], done: int, of: int) -> None:
    steps.append((done, of))


@pytest.mark.parametrize("after", [0, 4])
def test_a_watch_that_ends_the_work_leaves_the_process_good(pooled: DetectionPipeline, after: int) -> None:
    def watch(done: int, _of: int) -> None:
        if done >= after:
            raise Stopped

    for _ in range(3):
        with pytest.raises(Stopped):
            pooled.predict(squares_picture(400, 200, [(0, 0)]), watch=watch)
    assert len(pooled.predict(PICTURE).fields["detections"]) == 3


def test_a_run_that_fails_fails_its_picture_alone(
    manifest: Manifest, session: Session, processes: PictureProcesses
) -> None:
    def lost() -> None:
        raise DeviceLost("The GPU failed.")

    pipeline = through(processes, manifest, session, Interrupted(session, lost))
    with pytest.raises(DeviceLost, match=r"The GPU failed\."):
        pipeline.predict(PICTURE)
    assert len(pipeline.predict(PICTURE).fields["detections"]) == 3


def test_more_callers_than_processes_each_get_their_own_answer(
    direct: DetectionPipeline, pooled: DetectionPipeline
) -> None:
    bodies = [squares_picture(64 + 16 * number, 64, [(16 * number, 16)]) for number in range(12)]
    with ThreadPoolExecutor(len(bodies)) as pool:
        answers = list(pool.map(lambda body: pooled.predict(body).fields, bodies))
    assert answers == [direct.predict(body).fields for body in bodies]


def test_they_hold_no_runtime_and_no_server(pooled: DetectionPipeline, processes: PictureProcesses) -> None:
    pooled.predict(PICTURE)
    alive = [Path(f"/proc/{pid}/maps").read_text() for pid in processes.pids if is_alive(pid)]
    assert alive
    for mapped in alive:
        assert "PIL" in mapped
        assert not [name for name in ("onnxruntime", "pydantic_core", "orjson") if name in mapped]


def test_most_of_the_work_on_a_picture_is_not_the_services_own(
    direct: DetectionPipeline, pooled: DetectionPipeline
) -> None:
    """What its one interpreter need not do; a tenth on a real model's 4K picture."""

    def own_s(pipeline: DetectionPipeline) -> float:
        pipeline.predict(NOISE, scale=0.05)
        before = time.process_time()
        for _ in range(20):
            pipeline.predict(NOISE, scale=0.05)
        return time.process_time() - before

    assert own_s(pooled) < 0.5 * own_s(direct)
