"""Objects anywhere on a picture of many tiles are found once and whole, by a detector that sees all that a tile shows.

The pictures say where they are: a pixel's colour is its own x and y. So the stand-in for the network knows from the
tile it is given, and from nothing else, which part of the picture it looks at, and answers with the objects as far as
that part shows them: cut where the tile cuts them.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inference_core.detection import DetectionPipeline
from inference_core.manifest import DetectionOutput, ImageInput, Manifest, read_manifest
from inference_core.session import Session
from inference_core.tiled import Run
from numpy.typing import NDArray
from PIL import Image

from tests.models import detection_model, encoded

Box = tuple[int, int, int, int]
"""Left, top, right, bottom edges in pixels of the picture."""
LABELS = ("a", "b", "c")
VISIBLE_PX = 1.0
"""The detector reports what is at least this wide and high in pixels of its tile."""


@dataclasses.dataclass(frozen=True)
class Bench:
    """A pipeline's parts, with tiles of `tile_px` that overlap by `overlap_px`."""

    manifest: Manifest
    session: Session

    def find(self, width: int, height: int, objects: list[Box], *, seed: int = 0, whole: bool = True) -> list[Any]:
        """The detections on a picture of `width` x `height` px that shows `objects`, the first with label a, then b,
        c, a and so on. `whole` says whether the detector recognises anything in the pass over the whole picture.
        """
        run = detector(width, height, self.manifest, objects, seed=seed, whole=whole)
        pipeline = DetectionPipeline(self.manifest, self.session, pixels_max=1 << 26, run=run)
        found: list[Any] = pipeline.predict(located_picture(width, height)).fields["detections"]
        return found


@pytest.fixture(scope="module", params=[(64, 16), (96, 32)], ids=["64px", "96px"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    tile_px, overlap_px = request.param
    manifest = read_manifest(detection_model(tmp_path_factory.mktemp("models")))
    assert isinstance(manifest.input, ImageInput)
    assert isinstance(manifest.output, DetectionOutput)
    settings = dataclasses.replace(manifest.input, colour="rgb", tile_px=tile_px, overlap_px=overlap_px)
    output = dataclasses.replace(manifest.output, labels=LABELS, score_min=0.25)
    session = Session(manifest.model_bytes, threads=1)
    return Bench(dataclasses.replace(manifest, input=settings, output=output), session)


@lru_cache(maxsize=4)
def located_picture(width: int, height: int) -> bytes:
    """A PNG whose pixels hold their own place: 12 bits of x, then 12 bits of y."""
    y, x = np.mgrid[:height, :width]
    place = (x << 12 | y)[:, :, np.newaxis] >> np.array([16, 8, 0])
    return encoded(Image.fromarray(place.astype(np.uint8)), compress_level=1)


def place_of(pixel: NDArray[np.uint8]) -> tuple[int, int]:
    code = int(pixel[0]) << 16 | int(pixel[1]) << 8 | int(pixel[2])
    return code >> 12, code & 0xFFF


def detector(width: int, height: int, manifest: Manifest, objects: list[Box], *, seed: int, whole: bool) -> Run:
    """What takes the network's place: tiles uint8 [n, 3, side, side] to a YOLOv8 head's rows. Scores are drawn anew for
    each tile and object: nothing says that the best view has the best score.
    """
    rng = np.random.default_rng(seed)
    side = manifest.input.tile_px  # type: ignore[union-attr]
    boxes = np.array(objects, np.float64).reshape(-1, 4)

    def look(tile: NDArray[np.uint8]) -> NDArray[np.float64]:
        x, y = place_of(tile[:, 0, 0])
        right, bottom = min(side, width) - 1, min(side, height) - 1
        exact = place_of(tile[:, bottom, right]) == (x + right, y + bottom)
        shrink = 1.0 if exact else max(width, height) / side
        origin = np.array([x, y, x, y]) if exact else np.zeros(4)
        shown = np.array([width, height] * 2) / shrink if not exact else np.array([right + 1, bottom + 1] * 2)
        seen = np.clip((boxes - origin) / shrink, 0, shown)
        sides = seen[:, 2:] - seen[:, :2]
        scores = rng.uniform(0.3, 1, len(boxes)) * (sides >= VISIBLE_PX).all(axis=1) * (whole or exact)
        rows = np.zeros((4 + len(LABELS), max(1, len(boxes))))
        rows[:2, : len(boxes)] = (seen[:, :2] + seen[:, 2:]).T / 2
        rows[2:4, : len(boxes)] = sides.T
        rows[4 + np.arange(len(boxes)) % len(LABELS), np.arange(len(boxes))] = scores
        return rows

    return lambda tiles, _: np.stack([look(tile) for tile in tiles]).astype(np.float32)


def assert_each_once(found: list[Any], objects: list[Box]) -> None:
    wanted = sorted((LABELS[i % len(LABELS)], *map(float, box)) for i, box in enumerate(objects))
    answers = sorted((d["label"], *d["box"]) for d in found)
    assert len(answers) == len(wanted), f"{answers} for {wanted}"
    for answer, want in zip(answers, wanted, strict=True):
        assert answer[0] == want[0]
        assert answer[1:] == pytest.approx(want[1:], abs=0.02)


def around_borders(length: int, tile_px: int, overlap_px: int, side: int) -> Iterator[int]:
    """Starts of an object of `side` px around every inner border of the tiles along `length` px, and at both ends."""
    count = 1 + -(-(length - tile_px) // (tile_px - overlap_px))
    starts = [round(i * (length - tile_px) / (count - 1)) for i in range(count)]
    borders = sorted({border for start in starts for border in (start, start + tile_px)})
    places = {border + step for border in borders for step in (-side - 3, -side, -side // 2, -1, 2)}
    return iter(sorted(place for place in places if 0 <= place <= length - side))


@pytest.mark.parametrize("side", [2, 8, 14, 17, 30, 64, 130])
def test_an_object_at_every_border_and_corner_is_found_once(bench: Bench, side: int) -> None:
    settings = bench.manifest.input
    assert isinstance(settings, ImageInput)
    width, height = 2 * settings.tile_px + 37, 2 * settings.tile_px - settings.overlap_px
    for x, y in itertools.product(
        around_borders(width, settings.tile_px, settings.overlap_px, side),
        around_borders(height, settings.tile_px, settings.overlap_px, side),
    ):
        objects = [(x, y, x + side, y + side)]
        assert_each_once(bench.find(width, height, objects), objects)


SIDES = st.integers(2, 12) | st.integers(12, 40) | st.integers(40, 260)


@st.composite
def pictures(draw: st.DrawFn) -> tuple[int, int, list[Box]]:
    """A picture of any size and up to eight objects on it that do not touch each other."""
    width, height = draw(st.integers(20, 300)), draw(st.integers(20, 300))
    objects: list[Box] = []
    for _ in range(draw(st.integers(0, 8))):
        wide, high = min(width, draw(SIDES)), min(height, draw(SIDES))
        x, y = draw(st.integers(0, width - wide)), draw(st.integers(0, height - high))
        box = (x, y, x + wide, y + high)
        if all(box[2] <= o[0] or box[0] >= o[2] or box[3] <= o[1] or box[1] >= o[3] for o in objects):
            objects.append(box)
    return width, height, objects


@given(pictures(), st.integers(0, 99))
def test_every_object_is_found_once_wherever_it_lies(bench: Bench, picture: Any, seed: int) -> None:
    width, height, objects = picture
    assert_each_once(bench.find(width, height, objects, seed=seed), objects)


@given(pictures(), st.integers(0, 99))
def test_it_is_found_once_even_where_the_pass_over_the_whole_picture_misses_it(
    bench: Bench, picture: Any, seed: int
) -> None:
    width, height, objects = picture
    assert_each_once(bench.find(width, height, objects, seed=seed, whole=False), objects)
