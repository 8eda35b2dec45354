"""Sections `equality` and `accuracy`: does the tier answer as the CPU does, and how well does it see."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from typing import Any

import numpy as np
from inference_core.detection import DetectionPipeline
from inference_core.manifest import Manifest
from training.seeds import EVALUATION_START

from gpu_bench.context import FLOAT32, Context, NotHere, parts, plain_variant, precision_of
from gpu_bench.rows import AccuracyRow, EqualityRow
from gpu_bench.tier import alone_pipeline, opened_tier, score_from

TOLERANCES = {FLOAT32: (0.01, 1.0), "float16": (0.03, 2.0)}
"""Score and pixels. Convolutions on a GPU add in another order, in TF32 (10 bits of mantissa) by default, or in
float16: some thousandths of a score. The plain CPU session in float32 is the reference for both."""
SCALE = 0.5
"""Of the picture: the CPU needs seconds for a whole one by the largest variant."""
PICTURES = 2
MODEL_S = 6.0
SCORE_MIN = 0.01
"""Average precision integrates over all scores."""
BOX_MARGIN = 8.0
"""Boxes whose edges differ by less than so many tolerances are the same object."""


def run(context: Context) -> None:
    """The same pictures through the tier's code and through the plain CPU session in float32."""
    references = {plain_variant(manifest): manifest for manifest in context.models((FLOAT32,))}
    for manifest in context.models():
        reference = references.get(plain_variant(manifest))
        if reference and context.fits(MODEL_S, manifest.name):
            with context.attempt(manifest.name):
                _compare(context, manifest, reference)


def _compare(context: Context, manifest: Manifest, reference: Manifest) -> None:
    batch = parts(reference)[0].tile_batch
    plain = alone_pipeline(reference, "cpu", batch=batch, threads=context.cores)
    with opened_tier(manifest, context) as tier:
        for body in context.pictures()[:PICTURES]:
            wanted = plain.predict(body, scale=SCALE).fields["detections"]
            found = tier.pipeline.predict(body, scale=SCALE).fields["detections"]
            context.add(compared(manifest, wanted, found))


def compared(manifest: Manifest, wanted: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> EqualityRow:
    """How the detections `found` here differ from those `wanted`, the CPU's."""
    precision = precision_of(manifest)
    score_tolerance, box_tolerance_px = TOLERANCES[precision]
    sure = parts(manifest)[1].score_min + score_tolerance
    pairs = _pairs(wanted, found, BOX_MARGIN * box_tolerance_px)
    of_wanted, of_found = {row for row, _ in pairs}, {row for _, row in pairs}
    return EqualityRow(
        model=manifest.name,
        variant=manifest.variant,
        precision=precision,
        scale=SCALE,
        found=len(wanted),
        missing=sum(d["score"] >= sure for row, d in enumerate(wanted) if row not in of_wanted),
        extra=sum(d["score"] >= sure for row, d in enumerate(found) if row not in of_found),
        score_difference=max((abs(wanted[a]["score"] - found[b]["score"]) for a, b in pairs), default=0.0),
        box_difference_px=max((_apart_px(wanted[a], found[b]) for a, b in pairs), default=0.0),
        score_tolerance=score_tolerance,
        box_tolerance_px=box_tolerance_px,
    )


def _pairs(
    wanted: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]], apart_max_px: float
) -> list[tuple[int, int]]:
    """Rows of both that are one object: same label, nearest box, each taken once."""
    free = set(range(len(found)))
    pairs = []
    for row, detection in enumerate(wanted):
        near = [(_apart_px(detection, found[other]), other) for other in free]
        near = [(apart, other) for apart, other in near if found[other]["label"] == detection["label"]]
        if near and min(near)[0] <= apart_max_px:
            free.remove(min(near)[1])
            pairs.append((row, min(near)[1]))
    return pairs


def _apart_px(one: dict[str, Any], other: dict[str, Any]) -> float:
    return float(np.abs(np.subtract(one["box"], other["box"])).max())


def run_accuracy(context: Context) -> None:
    """Average precision of the tier's answers on boards whose defects are known. Raises NotHere where the
    library that scores is not installed.
    """
    try:
        from training.evaluate import Sample, make_samples, score  # noqa: PLC0415 - it needs faster-coco-eval
    except ImportError as error:
        raise NotHere(f"Accuracy needs the wheel faster-coco-eval: {error}.") from None
    width, height = context.plan.picture_px
    seeds = [EVALUATION_START + number for number in range(context.plan.board_count)]
    samples: list[Sample] = []
    with ProcessPoolExecutor(context.cores) as pool:  # before the GPU is opened, which no fork survives
        for made in pool.map(make_samples, repeat(1), repeat(width), repeat(height), seeds):
            samples += made
    for manifest in context.models():
        if context.fits(MODEL_S, manifest.name):
            with context.attempt(manifest.name), opened_tier(score_from(manifest, SCORE_MIN), context) as tier:
                found = [_found(tier.pipeline, sample.body) for sample in samples]
                result = score(samples, found, parts(manifest)[1].score_min)
                context.add(_accuracy(manifest, len(samples), result.map_50, result.map_50_95))


def _accuracy(manifest: Manifest, boards: int, map_50: float, map_50_95: float) -> AccuracyRow:
    return AccuracyRow(
        model=manifest.name,
        variant=manifest.variant,
        precision=precision_of(manifest),
        boards=boards,
        map_50=map_50,
        map_50_95=map_50_95,
    )


def _found(pipeline: DetectionPipeline, body: bytes) -> list[dict[str, Any]]:
    detections: list[dict[str, Any]] = pipeline.predict(body).fields["detections"]
    return detections
