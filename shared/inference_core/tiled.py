"""A picture in batches of fixed tiles, whatever runs them: bytes in, boxes out. Nothing here opens a session, so that a
process which only reads pictures and merges boxes stays small.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core import heads, images, tiling
from inference_core.errors import InvalidRequest
from inference_core.manifest import DetectionOutput, ImageInput
from inference_core.results import Detection, Prediction, StageClock, Watch, still_wanted, unwatched
from inference_core.tiling import Boxes

Wanted = Callable[[], None]
"""Raises when the answer is wanted no longer."""
Run = Callable[[NDArray[Any], Wanted], NDArray[np.float32]]
"""Tiles as the graph takes them -> its output as of `heads.packed`: a session's run, or a batcher of the same shape,
which may ask `Wanted` now and then while the tiles wait. It may keep the tiles until it returns.
"""

SCALE_MIN = 0.05
_BOXES_MAX = 3000
"""Boxes of the whole picture that are merged, best first: one of noise may hold a box in every cell of every tile."""


@dataclass(frozen=True)
class PictureModel:
    """What a detection model is to those who read pictures for it: nothing that another process could not be sent."""

    name: str
    variant: str
    input: ImageInput
    output: DetectionOutput
    pixels_max: int
    side_max: int


@dataclass(frozen=True)
class TiledDetection:
    """Finds the objects of a picture with `run`, which runs the tiles of `model`."""

    model: PictureModel
    run: Run
    decode: images.Decode = images.decode
    """`images.decode`, or what takes its place."""
    empty: tiling.Empty = np.empty
    """Where tiles are cut; where the graph takes them as they are cut, `run` gets that very memory."""

    def predict(self, body: bytes, *, scale: float = 1.0, watch: Watch = unwatched) -> Prediction:
        """The objects in `body`, an encoded picture read with its sides times `scale`. `watch` is told before each
        batch of tiles how many are done.

        Raises InvalidRequest for a scale outside 0.05..1, what `images.decode` raises and what `watch` raises.
        """
        clock = StageClock()
        picture = self.decoded(body, scale, clock)
        return self.found(picture, scale=scale, clock=clock, watch=watch)

    def decoded(self, body: bytes, scale: float, clock: StageClock) -> images.Picture:
        """`body` decoded; raises what `predict` raises before there are tiles."""
        check_scale(scale)
        with clock.stage("decode"):
            return self.decode(
                body,
                colour=self.model.input.colour,
                scale=scale,
                pixels_max=self.model.pixels_max,
                side_max=self.model.side_max,
            )

    def found(self, picture: images.Picture, *, scale: float, clock: StageClock, watch: Watch) -> Prediction:
        """The objects in `picture`, which was decoded at `scale`; `clock` has the time of that."""
        boxes = self._detect(picture.pixels, clock, watch)
        with clock.stage("postprocess"):
            detections = self._in_picture(boxes, picture)
        fields = {
            "model": self.model.name,
            "variant": self.model.variant,
            "scale": scale,
            "image": {"width": picture.width, "height": picture.height},
            "detections": [{"label": d.label, "score": d.score, "box": list(d.box)} for d in detections],
        }
        return Prediction(fields, clock.timings_ms)

    def _detect(self, pixels: images.Pixels, clock: StageClock, watch: Watch) -> Boxes:
        """All objects in `pixels`, in its pixels. The tiles' outputs are reduced to boxes batch by batch."""
        height, width = pixels.shape[:2]
        settings = self.model.input
        tiles = tiling.plan(width, height, tile_px=settings.tile_px, overlap_px=settings.overlap_px)
        cuts = tiling.batches(
            pixels,
            tiles,
            tile_px=settings.tile_px,
            size=settings.tile_batch,
            shrink=images.shrink,
            empty=self.empty,
        )
        found: list[Boxes] = []
        cut: list[NDArray[np.bool_]] = []
        while True:
            watch(len(found), len(tiles))
            with clock.stage("preprocess"):
                if (batch := next(cuts, None)) is None:
                    break
                tensor = as_tensor(batch[1], settings)
            with clock.stage("infer"):
                output = self.run(tensor, still_wanted(watch, len(found), len(tiles)))
            with clock.stage("postprocess"):
                of_picture = {"width": width, "height": height, "overlap_px": settings.overlap_px}
                boxes_by_tile = heads.candidates(output, self.model.output, settings)
                for moved, border in tiling.each_to_picture(boxes_by_tile, batch[0], **of_picture):
                    found.append(moved)
                    cut.append(border)
        with clock.stage("postprocess"):
            boxes, borders = tiling.join(found), np.concatenate(cut)
            best = np.argsort(-boxes.scores, kind="stable")[:_BOXES_MAX]
            windows = np.repeat(tiling.windows_of(tiles), [len(part) for part in found], axis=0)
            boxes, borders, windows = boxes.take(best), borders[best], windows[best]
            is_final = heads.is_final(self.model.output)
            return tiling.merge(boxes, borders, windows, iou_max=self.model.output.iou_max, is_each_final=is_final)

    def _in_picture(self, boxes: Boxes, picture: images.Picture) -> list[Detection]:
        """Boxes of the scaled pixels as detections in pixels of the whole picture, to a hundredth."""
        height, width = picture.pixels.shape[:2]
        ratio = np.array([picture.width / width, picture.height / height] * 2)
        corners = np.round(boxes.xyxy.astype(np.float64) * ratio, 2)
        labels = self.model.output.labels
        return [
            Detection(labels[label], round(score, 4), (x1, y1, x2, y2))
            for (x1, y1, x2, y2), score, label in zip(
                corners.tolist(), boxes.scores.tolist(), boxes.labels.tolist(), strict=True
            )
        ]


def check_scale(scale: float) -> None:
    """Raise InvalidRequest for a scale that no picture is read with."""
    if not SCALE_MIN <= scale <= 1.0:
        raise InvalidRequest(f"scale = {scale:g} is outside {SCALE_MIN} to 1.")


def tiles_in(width: int, height: int, scale: float, settings: ImageInput) -> int:
    """How many tiles a picture of `width` x `height` pixels becomes when it is read at `scale`."""
    width, height = images.scaled(width, height, scale)
    return len(tiling.plan(width, height, tile_px=settings.tile_px, overlap_px=settings.overlap_px))


def black_tiles(settings: ImageInput, count: int) -> NDArray[Any]:
    """`count` black tiles as the graph takes them."""
    side, channels = settings.tile_px, 1 if settings.colour == "grey" else 3
    return as_tensor(np.zeros((count, side, side, channels), np.uint8), settings)


def as_tensor(tiles: NDArray[np.uint8], settings: ImageInput) -> NDArray[Any]:
    """Tiles uint8 [n, side, side, C] in the layout, type, range and, at the right and the bottom, size that the graph
    takes.
    """
    tensor: NDArray[Any] = tiles
    if tiles.shape[1:3] != settings.graph_px:
        high, wide = (graph - tile for graph, tile in zip(settings.graph_px, tiles.shape[1:3], strict=True))
        tensor = np.pad(tiles, ((0, 0), (0, high), (0, wide), (0, 0)), constant_values=tiling.PADDING)
    if settings.layout == "nchw":
        # For one channel this is a view; for three the copy is made in uint8, a quarter of the float's bytes.
        tensor = np.ascontiguousarray(tensor.transpose(0, 3, 1, 2))
    if settings.dtype != "uint8":
        tensor = tensor.astype(np.float32)
    if settings.scale != 1.0:
        tensor = tensor * np.float32(settings.scale)
    return tensor.astype(np.float16) if settings.dtype == "float16" else tensor
