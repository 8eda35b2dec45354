"""The tier's own code as the benchmark calls it: one place to change when its seats move."""

import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import numpy as np
from gpu_api.engines import Engines
from gpu_api.pictures import PictureProcesses
from inference_core import images, tiling
from inference_core.detection import DetectionPipeline
from inference_core.errors import DeviceLost
from inference_core.manifest import Manifest
from inference_core.session import Provider, Session
from inference_core.settings import GpuSettings, Settings, read_as
from inference_core.tiled import as_tensor
from numpy.typing import NDArray

from gpu_bench.context import Context, parts


@dataclass(frozen=True)
class Tier:
    """One model as the tier runs it."""

    pipeline: DetectionPipeline
    batch: int
    """Tiles of one run at most."""
    engine: str
    """What the model got of what the tier can do, as its log says it."""
    processes: PictureProcesses | None = None
    """Who reads pictures for it."""

    def cpu_s(self) -> float:
        """Processor seconds so far, of this process and of those."""
        return process_time() + sum(map(_cpu_s, self.processes.pids if self.processes else ()))


@contextmanager
def opened_tier(manifest: Manifest, context: Context, settings: GpuSettings | None = None) -> Iterator[Tier]:
    """What the tier answers pictures with, warmed: callers in several threads share its batches. Without `settings`
    those of the environment, as the service reads them.
    """
    engines = Engines(settings or gpu_settings(context), lost=_lost)
    try:
        pipeline = engines.builders(Settings(slots=context.callers), context.plan.provider, {})["detection"](manifest)
        assert isinstance(pipeline, DetectionPipeline)
        engine, _ = engines.by_name[manifest.name]
        yield Tier(pipeline, engine.runs.batch_max, json.dumps(engine.describe()), engines.processes)
    finally:
        engines.close()


def _cpu_s(pid: int) -> float:
    """Processor seconds of another process: utime and stime of proc(5), the 12th and 13th field after its name."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except FileNotFoundError:  # it has ended
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def gpu_settings(context: Context) -> GpuSettings:
    """How the tier is told to use its GPU."""
    return read_as(GpuSettings, context.inherited)


def _lost(failure: DeviceLost) -> None:
    sys.stderr.write(f"the GPU is lost: {failure.detail}\n")


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
