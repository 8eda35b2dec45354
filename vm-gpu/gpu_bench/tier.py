"""The tier's own code as the benchmark calls it: one place to change when its seats move."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from inference_core import images, tiling
from inference_core.detection import DetectionPipeline, as_tensor
from inference_core.manifest import Manifest
from inference_core.session import Provider, Session
from inference_core.settings import Settings
from numpy.typing import NDArray

from gpu_bench.context import Context, parts


@contextmanager
def shared_pipeline(manifest: Manifest, context: Context) -> Iterator[DetectionPipeline]:
    """What the tier answers pictures with, warmed: callers in several threads share its batches."""
    yield alone_pipeline(manifest, context.plan.provider, batch=batch_size(manifest, context))


def batch_size(manifest: Manifest, _: Context) -> int:
    """The largest number of tiles that the tier runs at once."""
    return parts(manifest)[0].tile_batch


def alone_pipeline(manifest: Manifest, provider: Provider, *, batch: int, threads: int = 1) -> DetectionPipeline:
    """The plain session, `batch` tiles of one picture a run, warmed: nothing is shared between callers."""
    given, _ = parts(manifest)
    manifest = dataclasses.replace(manifest, input=dataclasses.replace(given, tile_batch=batch))
    session = Session(manifest.model_bytes, threads=threads, provider=provider)
    pipeline = DetectionPipeline(manifest, session, pixels_max=Settings.pixels_max)
    pipeline.warm()
    return pipeline


def score_from(manifest: Manifest, score_min: float) -> Manifest:
    """The same model, reporting boxes from `score_min` on."""
    _, output = parts(manifest)
    return dataclasses.replace(manifest, output=dataclasses.replace(output, score_min=score_min))


def tile_count(manifest: Manifest, picture_px: tuple[int, int], scale: float) -> int:
    """Tiles of one picture of `picture_px` (width, height) at `scale`."""
    given, _ = parts(manifest)
    width, height = (max(1, round(side * scale)) for side in picture_px)
    return len(tiling.plan(width, height, tile_px=given.tile_px, overlap_px=given.overlap_px))


def real_tiles(manifest: Manifest, body: bytes, count: int) -> NDArray[np.generic]:
    """`count` tiles of the picture `body`, over again where it has fewer, as the graph takes them."""
    given, _ = parts(manifest)
    limits = {"pixels_max": Settings.pixels_max, "side_max": Settings.image_side_max}
    pixels = images.decode(body, colour=given.colour, scale=1.0, **limits).pixels
    plan = tiling.plan(pixels.shape[1], pixels.shape[0], tile_px=given.tile_px, overlap_px=given.overlap_px)
    (_, cut), *_ = tiling.batches(pixels, plan, tile_px=given.tile_px, size=len(plan), shrink=images.shrink)
    return as_tensor(np.resize(cut, (count, *cut.shape[1:])), given)
